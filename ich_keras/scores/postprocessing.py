"""What validation decides and other splits are judged by: temperature, smoothing, thresholds."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunError, RunFolder, read_input, read_position, write_json
from ich_keras.scores.calibration import fit_temperature
from ich_keras.scores.metrics import by_label
from ich_keras.scores.operating_points import choose_thresholds
from ich_keras.scores.smoothing import Smoothing, fit_smoothing, smoothed
from ich_keras.scores.study_level import Scorable, of_slices, of_studies

Thresholds = dict[str, dict[str, dict[str, float | None]]]  # level, rule, label


@dataclass(frozen=True)
class Source:
    """What it was fitted on; what is fitted on anything else does not hold.

    Attributes:
        checkpoint_step: of the network.
        size: edge of the validation slices in pixels.
        data_fingerprint: of their shards.
    """

    checkpoint_step: int
    size: int
    data_fingerprint: str


@dataclass(frozen=True)
class Fitted:
    """What the validation slices of a run decide.

    Attributes:
        source: what it was fitted on.
        temperature: of the probabilities of slices.
        smoothing: over the slices of a study.
        thresholds: by level (`slice`, `study`, `study_smoothed`), rule and label; None where
            validation holds no positive or no negative.
    """

    source: Source
    temperature: float
    smoothing: Smoothing
    thresholds: Thresholds


def fit_on_validation(predictions: Predictions, source: Source) -> Fitted:
    """Everything that is chosen by looking at labels, on the validation slices."""
    slices, smoothing = of_slices(predictions), fit_smoothing(predictions)
    after = predictions.with_probabilities(smoothed(predictions, smoothing))
    levels = {
        "slice": slices,
        "study": of_studies(predictions),
        "study_smoothed": of_studies(after),
    }
    return Fitted(
        source,
        fit_temperature(slices.labels, slices.probabilities),
        smoothing,
        {level: _thresholds(rows) for level, rows in levels.items()},
    )


def _thresholds(rows: Scorable) -> dict[str, dict[str, float | None]]:
    chosen = choose_thresholds(rows.labels, rows.probabilities)
    return {rule: by_label(values) for rule, values in chosen.items()}


def write_fitted(run: RunFolder, fitted: Fitted) -> None:
    """Writes `fitted/<size>.json`."""
    write_json(run.fitted(fitted.source.size), asdict(fitted))


def source_of(run: RunFolder, size: int) -> Source:
    """What is fitted on now: the run's best checkpoint, and its own validation slices."""
    return Source(read_position(run)["best_step"], size, read_input(run).fingerprint)


def read_fitted(run: RunFolder, size: int) -> Fitted | None:
    """What was fitted at a size; None if nothing was yet, or to what no longer is the run's best.

    Raises:
        RunError: if the file is damaged.
    """
    found = _read(run, size)
    return found if found is not None and found.source == source_of(run, size) else None


def _read(run: RunFolder, size: int) -> Fitted | None:
    path = run.fitted(size)
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content["thresholds"]["study_smoothed"]  # the level that was added last
        return Fitted(
            Source(**content.pop("source")),
            smoothing=Smoothing(**content.pop("smoothing")),
            **content,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged ({error}); remove it, `ich-keras evaluate` writes it anew"
        ) from error

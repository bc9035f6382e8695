"""What is fitted on validation slices and applied elsewhere: smoothing and thresholds."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunError, RunFolder, read_input, write_json
from ich_keras.run.state import read_position
from ich_keras.scores.cases import Cases
from ich_keras.scores.metrics import by_label
from ich_keras.scores.ranking import operating_curve
from ich_keras.scores.smoothing import Smoothing, cases_by_level, fit_smoothing
from tfrecords_tools.classes import ANY, LABELS

TARGET_SENSITIVITY = 0.95

Thresholds = dict[str, dict[str, float | None]]  # by rule and label


@dataclass(frozen=True)
class Source:
    """What a postprocessing was fitted on; it is valid for nothing else."""

    checkpoint_step: int  # of the network
    size: int  # edge of the validation slices in pixels
    data_fingerprint: str  # of their shards


@dataclass(frozen=True)
class Postprocessing:
    """Everything that is chosen by looking at the labels of validation slices."""

    source: Source
    smoothing: Smoothing
    # by level (`slice`, `study`, `study_smoothed`), rule and label; None where validation has no
    # positive or no negative
    thresholds: dict[str, Thresholds]


def fit_postprocessing(predictions: Predictions, source: Source) -> Postprocessing:
    """Fits smoothing and thresholds on the predictions of validation slices."""
    smoothing = fit_smoothing(predictions)
    levels = cases_by_level(predictions, smoothing)
    thresholds = {level: choose_thresholds(cases) for level, cases in levels.items()}
    return Postprocessing(source, smoothing, thresholds)


def youden_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the highest sensitivity + specificity; NaN without both classes.

    Youden, "Index for rating diagnostic tests", 1950. Of equal ones the highest.
    """
    thresholds, sensitivity, specificity = operating_curve(labels, scores)
    index = np.round(sensitivity + specificity, 12)  # equal ones differ in their last digits
    return float(thresholds[np.argmax(index)]) if not np.isnan(index).any() else np.nan


def sensitivity_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The highest threshold with a sensitivity of at least 95 %; NaN without both classes."""
    thresholds, sensitivity, specificity = operating_curve(labels, scores)
    if np.isnan(sensitivity + specificity).any():
        return np.nan
    return float(thresholds[np.argmax(sensitivity >= TARGET_SENSITIVITY)])


RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "youden": youden_threshold,
    "sensitivity_95": sensitivity_threshold,
}


def choose_thresholds(cases: Cases) -> Thresholds:
    """The threshold of each label by each rule; None without both classes."""
    columns = list(zip(cases.labels.T, cases.probabilities.T, strict=True))
    return {name: by_label(np.array([rule(*x) for x in columns])) for name, rule in RULES.items()}


def answer_thresholds(thresholds: Thresholds) -> dict[str, float | None]:
    """Those by which an answer names labels: sensitive for `any`, balanced for the kinds.

    `any` decides whether there is a hemorrhage, and must not miss one. Kinds say which it is; a
    threshold that finds 95 % of a kind that is hard to see would name it in almost every answer.
    """
    return thresholds["youden"] | {LABELS[ANY]: thresholds["sensitivity_95"][LABELS[ANY]]}


def write_postprocessing(run: RunFolder, postprocessing: Postprocessing) -> None:
    """Writes `fitted/<size>.json` to the results of the run."""
    path = RunFolder(run.results).fitted(postprocessing.source.size)
    write_json(path, asdict(postprocessing))


def current_source(run: RunFolder, size: int) -> Source:
    """The run's best checkpoint and its own validation slices."""
    return Source(read_position(run).best_step, size, read_input(run).fingerprint)


def read_postprocessing(run: RunFolder, size: int) -> Postprocessing | None:
    """What was fitted at a size for the best checkpoint, or None; RunError if it is damaged."""
    path = run.fitted(size)
    if not path.is_file():
        return None
    try:
        postprocessing = postprocessing_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged ({error}); remove it, `ich-keras evaluate` writes it again"
        ) from error
    return postprocessing if postprocessing.source == current_source(run, size) else None


def postprocessing_from_json(content: dict[str, Any]) -> Postprocessing:
    """What `asdict` made into JSON; KeyError or TypeError if it has another form."""
    content["thresholds"]["study_smoothed"]  # the level that was added last
    source, smoothing = Source(**content["source"]), Smoothing(**content["smoothing"])
    return Postprocessing(source, smoothing, content["thresholds"])

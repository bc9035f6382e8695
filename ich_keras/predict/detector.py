"""A network with its thresholds, which answers one series of slices after the other."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject
from ich_keras.data.studies import ReadSeries, Study, read_series
from ich_keras.model.forward import Forward, compile_forward, predict_images
from ich_keras.model.network import PROBABILITIES, load_model, with_class_maps
from ich_keras.predict.tables import series_row, slice_rows
from ich_keras.run.folder import RunError, RunFolder, read_input
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.scores.smoothing import Smoothing, smooth_series
from tfrecords_tools.classes import ANY
from tfrecords_tools.errors import InputError

log = logging.getLogger(__name__)

BATCH_SIZE = 16
LOOK_SLICES = 3  # per study that are most worth a look


@dataclass(frozen=True, eq=False)
class SeriesAnswer:
    """What the network says about a series."""

    key: dict[str, Any]  # `study`, `study_id`, `patient`, `series`; numbers from 1
    series: ReadSeries
    outputs: dict[str, np.ndarray]  # those of `with_class_maps`; probabilities may be smoothed
    look: np.ndarray  # indices of the slices most worth a look
    smoothed: bool

    def slice_rows(self) -> pd.DataFrame:
        """The rows of `slices.csv`."""
        return slice_rows(self.key, self.series, self.outputs[PROBABILITIES])

    def series_row(self) -> dict[str, Any]:
        """The row of `studies.csv`, without probabilities."""
        return self.key | series_row(self.series, self.look, smoothed=self.smoothed)


@dataclass(frozen=True, eq=False)
class Detector:
    """A network, and what was fitted for it on validation."""

    network_input: NetworkInput
    with_maps: Forward
    thresholds: dict[str, float | None] | None  # of studies; None if validation gave none
    smoothing: Smoothing | None  # None if probabilities are not to be smoothed
    notice: str  # what every answer has to say, or ""

    def answers(self, studies: Iterable[Study], rejects: list[Reject]) -> Iterator[SeriesAnswer]:
        """Reads and answers one series after the other; `read_series` adds to the rejects.

        Studies of which nothing can be read get no number.
        """
        patients: dict[str, int] = {}
        answered = 0
        for study in studies:
            patient = patients.setdefault(study.patient_id, len(patients) + 1)
            reading = read_series(study.series, self.network_input, rejects)
            for place, series in enumerate(reading, start=1):
                answered += place == 1
                key = {"study": answered, "study_id": study.study_id}
                yield self.answer(key | {"patient": patient, "series": place}, series)

    def answer(self, key: dict[str, Any], series: ReadSeries) -> SeriesAnswer:
        outputs = predict_images(self.with_maps, series.images, BATCH_SIZE)
        if self.smoothing is not None:
            one, raw = np.zeros(len(series.slices)), outputs[PROBABILITIES]
            outputs[PROBABILITIES] = smooth_series(raw, one, series.position_mm, self.smoothing)
        look = worth_a_look(outputs[PROBABILITIES])
        return SeriesAnswer(key, series, outputs, look, self.smoothing is not None)


def load_detector(run: RunFolder, *, size: int | None, smooth: bool) -> Detector:
    """The network of a run at a size, by default that of the training.

    Raises:
        RunError: for `smooth`, if no smoothing was fitted on validation.
    """
    trained = read_input(run).network
    network_input = trained.at(size or trained.size)
    postprocessing = _postprocessing(run, network_input.size, smooth)
    return Detector(
        network_input,
        compile_forward(with_class_maps(load_model(run.best))),
        _thresholds(postprocessing, smooth),
        postprocessing.smoothing if postprocessing is not None and smooth else None,
        run.notice,
    )


def nothing_to_predict(
    paths: Sequence[Path], rejects: Sequence[Reject], listed: str = ""
) -> InputError:
    """Each reason with its number of files and the first of them; `listed` says where all are."""
    counts = Counter(x["reason"] for x in rejects)
    first = {x["reason"]: x for x in reversed(rejects)}
    reasons = [
        f"{reason} ({n}), as {first[reason]['path']}: {first[reason]['detail']}"
        for reason, n in counts.most_common()
    ]
    return InputError(
        f"nothing to predict in {', '.join(map(str, paths))}: {'; '.join(reasons) or 'no file'};"
        f" {listed if rejects else ''}give files, folders or zip archives with CT slices"
    )


def _thresholds(
    postprocessing: Postprocessing | None, smooth: bool
) -> dict[str, float | None] | None:
    """Those of studies; None if validation gave none."""
    if postprocessing is None:
        return None
    level = "study_smoothed" if smooth else "study"
    thresholds = postprocessing.thresholds[level]["sensitivity_95"]
    if all(value is None for value in thresholds.values()):
        log.info("no column `found`: validation had no studies both with and without a hemorrhage")
        return None
    return thresholds


def _postprocessing(run: RunFolder, size: int, smooth: bool) -> Postprocessing | None:
    """What was fitted on validation at this size; None if the run was not evaluated."""
    postprocessing = read_postprocessing(run, size)
    if postprocessing is not None:
        return postprocessing
    advice = f"`ich-keras evaluate {run.path} --size {size}` fits it on validation"
    if read_input(run).shards is None:
        advice = "the network came without the slices to fit it on"
    if smooth:
        raise RunError(f"{run.path}: no smoothing is fitted for {size} pixels; {advice}")
    log.info("no threshold is fitted for %d pixels; %s", size, advice)
    return None


def worth_a_look(probabilities: np.ndarray) -> np.ndarray:
    """The slices where `any` is most probable: at most three indices, the highest first."""
    return np.argsort(-probabilities[:, ANY], kind="stable")[:LOOK_SLICES]

"""A network with its thresholds, which answers one series of slices after the other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.given import check_exist, nothing_usable
from ich_keras.data.head_ct import HeadCT, reject_table
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject
from ich_keras.data.studies import ReadSeries, Study, find_studies, read_series
from ich_keras.model.forward import Forward, predict_images
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from ich_keras.predict.tables import series_row, slice_rows, study_rows
from ich_keras.scores.smoothing import Smoothing, smooth_series
from tfrecords_tools.classes import ANY
from tfrecords_tools.errors import UsageError

Given = str | Path | HeadCT

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
    raw: np.ndarray  # the probabilities before smoothing

    def slice_rows(self) -> pd.DataFrame:
        """The rows of `slices.csv`."""
        return slice_rows(self.key, self.series, self.outputs[PROBABILITIES])

    def series_row(self) -> dict[str, Any]:
        """The row of `studies.csv`, without probabilities."""
        return self.key | series_row(self.series, self.look, smoothed=self.smoothed)


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answers to all series."""

    slices: pd.DataFrame  # one row per slice, as in `slices.csv`
    studies: pd.DataFrame  # one row per series, as in `studies.csv`
    rejects: pd.DataFrame  # one row per rejected file, as in `rejects.csv`
    class_maps: tuple[np.ndarray, ...]  # on request, one per row of `studies`: float32, 0..1,
    # (slices, map height, map width, 6), over the slice in the usual view padded to a square
    notice: str  # what every answer has to say, or ""


@dataclass(frozen=True, eq=False)
class Detector:
    """A network, and what was fitted for it on validation."""

    network_input: NetworkInput
    with_maps: Forward
    thresholds: dict[str, float | None] | None  # of studies; None if there are none
    smoothing: Smoothing | None  # None if probabilities are not to be smoothed
    notice: str  # what every answer has to say, or ""
    own_threshold: float | None = None  # of `any`, given instead of the fitted one

    def predict(self, given: Given | Sequence[Given], *, class_maps: bool = False) -> Prediction:
        """Answers DICOM files, folders and zip archives, or slices in memory.

        Raises:
            UsageError: if a path does not exist, or what is given is of another kind.
            InputError: if no file can be used.
        """
        several = [given] if isinstance(given, str | Path | HeadCT) else list(given)
        rejects: list[Reject] = []
        slices, rows, maps = [], [], []
        for answer in self._answers_to(several, rejects):
            slices.append(answer.slice_rows())
            rows.append(answer.series_row())
            maps += [answer.outputs[CLASS_MAPS]] * class_maps
        if not rows:
            raise nothing_usable("predict", [Path(str(x)) for x in several], rejects)
        table = pd.concat(slices, ignore_index=True)
        studies = study_rows(table, rows, self.thresholds, self.own_threshold)
        return Prediction(table, studies, reject_table(rejects), tuple(maps), self.notice)

    def _answers_to(self, given: Sequence[Given], rejects: list[Reject]) -> Iterator[SeriesAnswer]:
        heads = [x for x in given if isinstance(x, HeadCT)]
        paths = [Path(x) for x in given if isinstance(x, str | Path)]
        if not given or len(given) not in (len(heads), len(paths)):
            raise UsageError(
                "give paths of DICOM files, folders or zip archives, or HeadCT(hu, position_mm,"
                " spacing_mm) for arrays; not both, and at least one"
            )
        if heads:
            return self._answers_to_heads(heads)
        check_exist(paths)
        studies, others = find_studies(paths)
        rejects += others
        return self.answers(studies, rejects)

    def _answers_to_heads(self, heads: Sequence[HeadCT]) -> Iterator[SeriesAnswer]:
        """Each is a study of its own."""
        for number, head in enumerate(heads, start=1):
            key = {"study": number, "study_id": head.study_id, "patient": number, "series": 1}
            yield self.answer(key, head.seen(self.network_input))

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
        raw = outputs[PROBABILITIES]
        if self.smoothing is not None:
            one = np.zeros(len(series.slices))
            outputs[PROBABILITIES] = smooth_series(raw, one, series.position_mm, self.smoothing)
        look = worth_a_look(outputs[PROBABILITIES])
        return SeriesAnswer(key, series, outputs, look, self.smoothing is not None, raw)


def worth_a_look(probabilities: np.ndarray) -> np.ndarray:
    """The slices where `any` is most probable: at most three indices, the highest first."""
    return np.argsort(-probabilities[:, ANY], kind="stable")[:LOOK_SLICES]

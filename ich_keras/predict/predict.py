"""Applies a run to DICOM files: probabilities per slice and study, and figures of class maps."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject, write_rejects
from ich_keras.data.studies import ReadSeries, Study, find_studies, read_series
from ich_keras.model.forward import Forward, compile_forward, predict_images
from ich_keras.model.network import PROBABILITIES, load_model, with_class_maps
from ich_keras.predict.output import REJECTS_NAME, check_unused
from ich_keras.predict.pictures import costing_no_answer, draw_study, write_objects
from ich_keras.predict.tables import append_answers, series_row, slice_rows
from ich_keras.run.folder import NOTICE_NAME, RunError, RunFolder, read_input
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.scores.smoothing import Smoothing, smooth_series
from tfrecords_tools.classes import ANY
from tfrecords_tools.errors import InputError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.atomic import write_text

log = logging.getLogger(__name__)

BATCH_SIZE = 16
LOOK_SLICES = 3  # per study that are most worth a look


@dataclass(frozen=True)
class PredictResult:
    """The folder of the tables and figures, with what was counted."""

    out: Path
    counts: Counter[str]  # of `slices`, `series`, `studies`, and pictures that failed, `not_drawn`
    rejected: int

    def sentence(self) -> str:
        counts = self.counts
        not_drawn = f", {counts['not_drawn']:,} not drawn" if counts["not_drawn"] else ""
        return (
            f"{counts['slices']:,} slices of {counts['studies']:,} studies in"
            f" {counts['series']:,} series, {self.rejected:,} files rejected{not_drawn}: {self.out}"
            " (for research, not for diagnosis)"
        )


def predict(
    run: RunFolder,
    paths: Sequence[Path],
    out: Path,
    *,
    size: int | None = None,
    smooth: bool = False,
    dicom: bool = False,
) -> PredictResult:
    """Writes the probabilities of every CT slice in the files, and two figures per study.

    `slices.csv` has one row per slice, ordered along the slice normal. `studies.csv` has one per
    series: the maximum over its slices, the three slices most worth a look, remarks and, if the run
    was evaluated, the labels at or above the threshold `sensitivity_95` of validation. The series
    numbered 1 is judged: its answer is that of the study (`ich_keras.data.series`), and it alone
    has figures: `study_<n>.png` is a contact sheet, `study_<n>_look.png` shows the three slices.
    `submission.csv` has the format of the challenge, `rejects.csv` one row per rejected file. The
    notice of the run, if it has one, is in `notice.txt`, on the figures and in the DICOM objects.

    The tables grow by each series before it is drawn, so that what fails or is interrupted later
    costs no answer. A figure or DICOM object that cannot be made is logged and counted.

    Folders and zip archives are searched to any depth. Without `size` it is that of the training.
    `smooth` smooths over the slices of each series, as fitted on validation; `dicom` writes the
    class maps as DICOM objects too, to `dicom/study_<n>/`.

    Raises:
        InputError: if no file can be used.
        RunError: for `smooth`, if no smoothing was fitted on validation.
        UsageError: if `out` is in use.
        KeyboardInterrupt: with a message that says what is answered.
    """
    check_unused(out)
    trained = read_input(run).network
    network_input = trained.at(size or trained.size)
    postprocessing = _postprocessing(run, network_input.size, smooth)
    answering = _Answering(
        out,
        network_input,
        compile_forward(with_class_maps(load_model(run.best))),
        postprocessing.smoothing if postprocessing is not None and smooth else None,
        _thresholds(postprocessing, smooth),
        dicom,
        run.notice,
    )
    studies: list[Study] = []
    rejects: list[Reject] = []
    try:
        studies, rejects = find_studies(paths)
        numbered = list(zip(studies, _patients(studies), strict=True))
        for study, patient in progress(numbered, desc="predict", unit="study"):
            answering.answer(study, patient, rejects)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(answering.interrupted(len(studies))) from interrupt
    finally:
        if studies or rejects:
            write_rejects(out / REJECTS_NAME, rejects)
    if not answering.counts:
        raise _nothing_to_predict(paths, rejects, out)
    return PredictResult(out, answering.counts, len(rejects))


@dataclass(frozen=True)
class _Answering:
    """What answers one study after the other, and what it has answered."""

    out: Path
    network_input: NetworkInput
    with_maps: Forward
    smoothing: Smoothing | None
    thresholds: dict[str, float | None] | None
    dicom: bool
    notice: str  # of the run, on everything that is written
    counts: Counter[str] = field(default_factory=Counter)  # as in PredictResult

    def answer(self, study: Study, patient: int, rejects: list[Reject]) -> None:
        reading = read_series(study.series, self.network_input, rejects)
        for place, series in enumerate(reading, start=1):
            key = {
                "study": self.counts["studies"] + (place == 1),
                "study_id": study.study_id,
                "patient": patient,
                "series": place,
            }
            outputs = predict_images(self.with_maps, series.images, BATCH_SIZE)
            if self.smoothing is not None:
                raw = outputs[PROBABILITIES]
                outputs[PROBABILITIES] = _smoothed(raw, series.position_mm, self.smoothing)
            look = worth_a_look(outputs[PROBABILITIES])
            self._append(key, series, outputs[PROBABILITIES], look)
            self._draw(key, series, outputs, look)

    def interrupted(self, studies: int) -> str:
        """What is said about an interruption."""
        if not self.counts:
            return "nothing was answered"
        return (
            f"{self.counts['studies']:,} of {studies:,} studies are answered in {self.out}; to"
            " begin again, give another --out"
        )

    def _append(
        self, key: dict[str, Any], series: ReadSeries, probabilities: np.ndarray, look: np.ndarray
    ) -> None:
        slices = slice_rows(key, series, probabilities)
        row = key | series_row(series, look, smoothed=self.smoothing is not None)
        with uninterrupted():
            append_answers(self.out, slices, [row], self.thresholds)
            if self.notice:
                write_text(self.out / NOTICE_NAME, f"{self.notice}\n")
            self.counts.update(studies=key["series"] == 1, series=1, slices=len(slices))

    def _draw(
        self,
        key: dict[str, Any],
        series: ReadSeries,
        outputs: dict[str, np.ndarray],
        look: np.ndarray,
    ) -> None:
        name, place = f"study_{key['study']:03d}", key["series"]
        if place == 1:
            with costing_no_answer(name, self.counts):
                shown = series.images[..., self.network_input.shown_channel]
                draw_study(self.out / name, shown, outputs, series.slices, look, self.notice)
        if self.dicom:
            with costing_no_answer(f"dicom/{name}, series {place}", self.counts):
                folder = self.out / "dicom" / name
                missing = write_objects(folder, place, series, outputs, self.notice)
                self.counts["not_drawn"] += missing


def _patients(studies: Sequence[Study]) -> list[int]:
    """The number of each study's patient, in the order of the studies."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(x.patient_id, len(numbers) + 1) for x in studies]


def _nothing_to_predict(paths: Sequence[Path], rejects: Sequence[Reject], out: Path) -> InputError:
    """Each reason with its number of files and the first of them."""
    counts = Counter(x["reason"] for x in rejects)
    first = {x["reason"]: x for x in reversed(rejects)}
    reasons = [
        f"{reason} ({n}), as {first[reason]['path']}: {first[reason]['detail']}"
        for reason, n in counts.most_common()
    ]
    listed = f"all are in {out / REJECTS_NAME}; " if rejects else ""
    return InputError(
        f"nothing to predict in {', '.join(map(str, paths))}: {'; '.join(reasons) or 'no file'};"
        f" {listed}give files, folders or zip archives with CT slices"
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


def _smoothed(
    probabilities: np.ndarray, position_mm: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    return smooth_series(probabilities, np.zeros(len(position_mm)), position_mm, smoothing)


def worth_a_look(probabilities: np.ndarray) -> np.ndarray:
    """The slices where `any` is most probable: at most three indices, the highest first."""
    return np.argsort(-probabilities[:, ANY], kind="stable")[:LOOK_SLICES]

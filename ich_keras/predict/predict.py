"""Applies a run to DICOM files: probabilities per slice and study, and figures of class maps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ich_keras.data.given import nothing_usable
from ich_keras.data.sources import Reject, write_rejects
from ich_keras.data.studies import Study, find_studies
from ich_keras.model.network import CLASS_MAPS
from ich_keras.predict.detector import Detector, SeriesAnswer
from ich_keras.predict.dicom.algorithm import Algorithm, network_identity
from ich_keras.predict.loading import load_detector
from ich_keras.predict.output import REJECTS_NAME, check_unused
from ich_keras.predict.pictures import costing_no_answer, draw_study, write_objects
from ich_keras.predict.tables import append_answers
from ich_keras.run.folder import NOTICE_NAME, RunFolder
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.view.html import write_page
from ich_keras.view.study_page import StudyPage, study_page
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.wording import counted


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
            f"{counted(counts['slices'], 'slice')} of"
            f" {counted(counts['studies'], 'study', 'studies')} in {counts['series']:,} series,"
            f" {counted(self.rejected, 'file')} rejected{not_drawn}: {self.out}"
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
    view: bool = False,
    masks: Path | None = None,
    threshold: float | None = None,
) -> PredictResult:
    """Writes the probabilities of every CT slice in the files, and two figures per study.

    `slices.csv` has one row per slice, ordered along the slice normal. `studies.csv` has one per
    series: the maximum over its slices, the three slices most worth a look, remarks and, if the run
    was evaluated, the labels at or above their thresholds (`answer_thresholds`). The series
    numbered 1 is judged: its answer is that of the study (`ich_keras.data.series`), and it alone
    has figures: `study_<n>.png` is a contact sheet, `study_<n>_look.png` shows the three slices.
    `submission.csv` has the format of the challenge, `rejects.csv` one row per rejected file. The
    notice of the run, if it has one, is in `notice.txt`, on the figures and in the DICOM objects.

    The tables grow by each series before it is drawn, so that what fails or is interrupted later
    costs no answer. A figure or DICOM object that cannot be made is logged and counted.

    Folders and zip archives are searched to any depth. Without `size` it is that of the training.
    `smooth` smooths over the slices of each series, as fitted on validation; `dicom` writes the
    answers as DICOM objects too, to `dicom/study_<n>/`, and `view` a page per study to look at,
    `study_<n>.html`. On it are the true masks of the folder `masks`, named after their slices. With
    a `threshold`, that of `any` is not the fitted one, and tables, pages and objects say so.

    Raises:
        InputError: if no file can be used.
        RunError: for `smooth`, if no smoothing was fitted on validation.
        UsageError: if `out` is in use.
        KeyboardInterrupt: with a message that says what is answered.
    """
    check_unused(out)
    detector = load_detector(run, size=size, smooth=smooth, threshold=threshold)
    fitted = read_postprocessing(run, detector.network_input.size)
    true_masks = None if masks is None else {x.stem: x for x in masks.glob("*.png")}
    algorithm = _algorithm(run, detector, fitted) if dicom else None
    writer = _Writer(out, detector, algorithm, view, fitted, true_masks)
    studies: list[Study] = []
    rejects: list[Reject] = []
    try:
        studies, rejects = find_studies(paths)
        shown = progress(studies, desc="predict", unit="study")
        for answer in writer.detector.answers(shown, rejects):
            writer.write(answer, rejects)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(writer.interrupted(len(studies))) from interrupt
    finally:
        if studies or rejects:
            write_rejects(out / REJECTS_NAME, rejects)
    if not writer.counts:
        raise nothing_usable("predict", paths, rejects, f"all are in {out / REJECTS_NAME}; ")
    return PredictResult(out, writer.counts, len(rejects))


def _algorithm(run: RunFolder, detector: Detector, fitted: Postprocessing | None) -> Algorithm:
    return Algorithm(
        network_identity(run.path.name, run.best),
        smoothed=detector.smoothing is not None,
        study_thresholds=detector.thresholds,
        own_threshold=detector.own_threshold,
        slice_thresholds=fitted.thresholds["slice"]["sensitivity_95"] if fitted else None,
        notice=detector.notice,
    )


@dataclass(frozen=True)
class _Writer:
    """Writes one answer after the other, and counts them."""

    out: Path
    detector: Detector
    algorithm: Algorithm | None  # if DICOM objects are written
    view: bool
    fitted: Postprocessing | None
    masks: dict[str, Path] | None  # by slice id
    counts: Counter[str] = field(default_factory=Counter)  # as in PredictResult

    def write(self, answer: SeriesAnswer, rejects: Sequence[Reject]) -> None:
        self._append(answer)
        self._draw(answer)
        if self.view and answer.key["series"] == 1:
            name = f"study_{answer.key['study']:03d}.html"
            with costing_no_answer(name, self.counts):
                write_page(self.out / name, self._page(answer, rejects))

    def interrupted(self, studies: int) -> str:
        """What is said about an interruption."""
        if not self.counts:
            return "nothing was answered"
        return (
            f"{self.counts['studies']:,} of {studies:,} studies are answered in {self.out}; to"
            " begin again, give another --out"
        )

    def _append(self, answer: SeriesAnswer) -> None:
        slices, row = answer.slice_rows(), answer.series_row()
        thresholds, own = self.detector.thresholds, self.detector.own_threshold
        notice = self.detector.notice
        with uninterrupted():
            append_answers(self.out, slices, [row], thresholds, own)
            if notice:
                write_text(self.out / NOTICE_NAME, f"{notice}\n")
            self.counts.update(studies=row["series"] == 1, series=1, slices=len(slices))

    def _page(self, answer: SeriesAnswer, rejects: Sequence[Reject]) -> StudyPage:
        return study_page(
            answer.key["study"],
            answer.series,
            self.detector.network_input,
            answer.raw,
            answer.outputs[CLASS_MAPS],
            self.fitted,
            smooth=answer.smoothed,
            rejects=rejects,
            notice=self.detector.notice,
            masks=self.masks,
            own_threshold=self.detector.own_threshold,
        )

    def _draw(self, answer: SeriesAnswer) -> None:
        series, outputs, notice = answer.series, answer.outputs, self.detector.notice
        name, place = f"study_{answer.key['study']:03d}", answer.key["series"]
        if place == 1:
            with costing_no_answer(name, self.counts):
                shown = series.images[..., self.detector.network_input.shown_channel]
                draw_study(self.out / name, shown, outputs, series.slices, answer.look, notice)
        if self.algorithm:
            with costing_no_answer(f"dicom/{name}, series {place}", self.counts):
                folder = self.out / "dicom" / name
                missing = write_objects(folder, place, series, outputs, self.algorithm)
                self.counts["not_drawn"] += missing

"""DICOM files to probabilities and class maps: a run applied to somebody's own study."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich_keras.data.studies import ReadStudy, Reject, find_studies, read_studies, write_rejects
from ich_keras.figures import curves as figures
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES, load_model, with_class_maps
from ich_keras.run.folder import RunError, RunFolder, read_input, write_json
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.scores.smoothing import smooth_series
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.atomic import whole_file

log = logging.getLogger(__name__)

BATCH_SIZE = 16
LOOK_SLICES = 3  # most worth a look
SHEET_SLICES = 24  # on a contact sheet; more become too small to see


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes:
        out: the folder of the tables and pictures.
        slices: slices with an answer.
        studies: studies with an answer.
        rejected: files left out, with their reasons in `rejects.csv`.
    """

    out: Path
    slices: int
    studies: int
    rejected: int

    def sentence(self) -> str:
        """What was made, and where."""
        return (
            f"{self.slices:,} slices of {self.studies:,} studies, {self.rejected:,} files left out:"
            f" {self.out} (for research, not for diagnosis)"
        )


@dataclass(frozen=True)
class _Answered:
    """A study with its rows of `slices.csv` and the slices most worth a look."""

    rows: list[dict[str, object]]
    look: list[str]


def predict(
    run: RunFolder,
    paths: Sequence[Path],
    out: Path,
    *,
    size: int | None = None,
    smooth: bool = False,
    dicom: bool = False,
) -> PredictResult:
    """Writes the probabilities of every CT slice found, and two pictures a study.

    `slices.csv` and `slices.json` have a row a slice, ordered along the slice normal; `studies.csv`
    and `studies.json` hold the maximum over each study's slices, the three slices most worth a
    look, and, once the run was evaluated, the labels that the threshold `sensitivity_95` of
    validation finds; `submission.csv` is what the challenge wants; `rejects.csv` has a row a file
    left out.
    `study_<n>.png` is a contact sheet, `study_<n>_look.png` shows the three.

    Args:
        run: a trained run.
        paths: DICOM files, folders (searched to any depth) or zip archives.
        out: where to write; made if missing.
        size: edge of a slice in pixels; None means the size of the training.
        smooth: smooth the answers over the slices of each series, as fitted on validation.
        dicom: write the class maps as DICOM objects too, to `dicom/study_<n>/`.

    Raises:
        InputError: if no file can be used.
        RunError: if the run is to smooth, and validation has not fitted how.
    """
    trained = read_input(run).network
    network_input = trained.at(size or trained.size)
    postprocessing = _postprocessing(run, network_input.size, smooth)
    forward = with_class_maps(load_model(run.best))
    studies, rejects = find_studies(paths)
    answered: list[_Answered] = []
    reading = read_studies(studies, network_input, rejects, desc="predict")
    for number, study in enumerate(reading, start=1):
        answer = forward.predict(study.images, batch_size=BATCH_SIZE, verbose=0)
        if postprocessing is not None and smooth:
            answer[PROBABILITIES] = _smoothed(answer[PROBABILITIES], study.slices, postprocessing)
        look = worth_a_look(answer[PROBABILITIES])
        shown = study.images[..., [network_input.shown_channel]]
        _draw_sheet(out / f"study_{number:03d}.png", shown, answer)
        _draw_look(out / f"study_{number:03d}_look.png", shown, answer, study.slices, look)
        if dicom:
            _write_dicom(out / "dicom" / f"study_{number:03d}", study, answer)
        rows = _rows(study.study_id, number, study.slices, answer[PROBABILITIES])
        answered.append(_Answered(rows, [study.slices[i].header.slice_id for i in look]))
    if not answered:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in _count(rejects).items()) or "no file"
        raise InputError(f"nothing to predict in {', '.join(map(str, paths))}: {reasons}")
    slices = pd.DataFrame([row for x in answered for row in x.rows])
    looks = [" ".join(x.look) for x in answered]
    level = "study_smoothed" if smooth else "study"
    thresholds = postprocessing.thresholds[level]["sensitivity_95"] if postprocessing else None
    _write_tables(out, slices, looks, thresholds, rejects)
    return PredictResult(out, len(slices), len(answered), len(rejects))


def _postprocessing(run: RunFolder, edge: int, smooth: bool) -> Postprocessing | None:
    """What validation decided at this size, if the run was evaluated."""
    postprocessing = read_postprocessing(run, edge)
    advice = f"`ich-keras evaluate {run.path} --size {edge}`"
    if postprocessing is None and smooth:
        raise RunError(f"{run.path}: no smoothing is fitted for {edge} pixels; {advice} fits it")
    if postprocessing is None:
        log.info("no thresholds for %d pixels: %s finds them on validation", edge, advice)
    return postprocessing


def _smoothed(
    probabilities: np.ndarray, members: Sequence[CTSlice], postprocessing: Postprocessing
) -> np.ndarray:
    position_mm = np.array([ct.header.position_mm for ct in members])
    series = np.array([ct.header.series_id for ct in members])
    return smooth_series(probabilities, series, position_mm, postprocessing.smoothing)


def _write_dicom(folder: Path, study: ReadStudy, answer: dict[str, np.ndarray]) -> None:
    from ich_keras.predict.dicom_objects import AnsweredSlice, write_dicom

    answers = (study.files, study.slices, answer[CLASS_MAPS], answer[PROBABILITIES])
    write_dicom(folder, [AnsweredSlice(*one) for one in zip(*answers, strict=True)])


def _rows(
    study_id: str, number: int, members: Sequence[CTSlice], probabilities: np.ndarray
) -> list[dict[str, object]]:
    return [
        {
            "study": number,
            "study_id": study_id,
            "slice_id": ct.header.slice_id,
            "position_mm": ct.header.position_mm,
            **{label: float(p) for label, p in zip(LABELS, row, strict=True)},
        }
        for ct, row in zip(members, probabilities, strict=True)
    ]


def _draw_sheet(path: Path, images: np.ndarray, answer: dict[str, np.ndarray]) -> None:
    """A contact sheet of slices spread evenly over the study, each with its strongest map."""
    count = min(len(images), SHEET_SLICES)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    figure = figures.class_map_overlay(
        images[chosen], answer[CLASS_MAPS][chosen], answer[PROBABILITIES][chosen]
    )
    figures.save_png(figure, path)


def worth_a_look(probabilities: np.ndarray) -> np.ndarray:
    """The slices that bleed most probably, at most three, the most probable first.

    Args:
        probabilities: float (N, 6), of a study.

    Returns:
        int, places of slices.
    """
    return np.argsort(-probabilities[:, ANY], kind="stable")[:LOOK_SLICES]


def _draw_look(
    path: Path,
    images: np.ndarray,
    answer: dict[str, np.ndarray],
    members: Sequence[CTSlice],
    look: np.ndarray,
) -> None:
    """The slices most worth a look, large."""
    titles = [
        f"slice {i + 1} of {len(members)}, {members[i].header.position_mm:.1f} mm" for i in look
    ]
    figure = figures.class_map_overlay(
        images[look], answer[CLASS_MAPS][look], answer[PROBABILITIES][look], titles=titles, inches=4
    )
    figures.save_png(figure, path)


def found_labels(studies: pd.DataFrame, thresholds: dict[str, float | None]) -> list[str]:
    """The labels of each study from their thresholds on, with spaces between.

    Args:
        studies: a column a label.
        thresholds: of the labels; None where validation gave none.
    """
    chosen = {label: value for label, value in thresholds.items() if value is not None}
    said = studies[list(chosen)] >= pd.Series(chosen)
    return [" ".join(row.index[row]) for _, row in said.iterrows()]


def submission(slices: pd.DataFrame) -> pd.DataFrame:
    """The challenge's format: `ID`, a slice and a label, and `Label`, its probability.

    Args:
        slices: columns `slice_id` and the six labels.
    """
    long = slices.melt("slice_id", list(LABELS), var_name="label", value_name="Label")
    place = pd.Categorical(long["label"], LABELS).codes
    order = np.lexsort((place, np.tile(np.arange(len(slices)), len(LABELS))))
    long["ID"] = long["slice_id"] + "_" + long["label"]
    return long.iloc[order][["ID", "Label"]].reset_index(drop=True)


def _write_tables(
    out: Path,
    slices: pd.DataFrame,
    looks: list[str],
    thresholds: dict[str, float | None] | None,
    rejects: list[Reject],
) -> None:
    columns = list(LABELS)
    studies = slices.groupby(["study", "study_id"], as_index=False)[columns].max()
    studies.insert(2, "slices", slices.groupby("study").size().to_numpy())
    studies["worth_a_look"] = looks
    if thresholds is not None:
        studies["found"] = found_labels(studies, thresholds)
    for name, table in (
        ("slices.csv", slices),
        ("studies.csv", studies),
        ("submission.csv", submission(slices)),
    ):
        with whole_file(out / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_rejects(out / "rejects.csv", rejects)
    write_json(out / "slices.json", slices.to_dict(orient="records"))
    write_json(out / "studies.json", studies.to_dict(orient="records"))


def _count(rejects: list[Reject]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject["reason"]] = counts.get(reject["reason"], 0) + 1
    return counts

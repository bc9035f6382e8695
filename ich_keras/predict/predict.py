"""Applies a run to DICOM files: probabilities per slice and study, and figures of class maps."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.data.sources import write_rejects
from ich_keras.data.studies import ReadStudy, find_studies, read_studies
from ich_keras.figures.class_maps import class_map_sheet
from ich_keras.figures.curves import save_png
from ich_keras.model.forward import compile_forward, predict_images
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES, load_model, with_class_maps
from ich_keras.run.folder import RunError, RunFolder, read_input
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.scores.smoothing import Smoothing, smooth_series
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.atomic import whole_file

log = logging.getLogger(__name__)

BATCH_SIZE = 16
LOOK_SLICES = 3  # per study that are most worth a look
SHEET_SLICES = 24  # on a contact sheet; more would be too small to see


@dataclass(frozen=True)
class PredictResult:
    """The folder of the tables and figures, with the numbers of slices, studies and rejects."""

    out: Path
    slices: int
    studies: int
    rejected: int

    def sentence(self) -> str:
        return (
            f"{self.slices:,} slices of {self.studies:,} studies, {self.rejected:,} files rejected:"
            f" {self.out} (for research, not for diagnosis)"
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

    `slices.csv` has one row per slice, ordered along the slice normal. `studies.csv` has the
    maximum over each study's slices, the three slices most worth a look and, if the run was
    evaluated, the labels at or above the threshold `sensitivity_95` of validation.
    `submission.csv` has the format of the challenge, `rejects.csv` one row per rejected file.
    `study_<n>.png` is a contact sheet, `study_<n>_look.png` shows the three slices.

    Folders and zip archives are searched to any depth. Without `size` it is that of the training.
    `smooth` smooths over the slices of each series, as fitted on validation; `dicom` writes the
    class maps as DICOM objects too, to `dicom/study_<n>/`.

    Raises:
        InputError: if no file can be used.
        RunError: for `smooth`, if no smoothing was fitted on validation.
    """
    trained = read_input(run).network
    network_input = trained.at(size or trained.size)
    postprocessing = _postprocessing(run, network_input.size, smooth)
    with_maps = compile_forward(with_class_maps(load_model(run.best)))
    studies, rejects = find_studies(paths)
    tables: list[pd.DataFrame] = []
    looks: list[str] = []
    reading = read_studies(studies, network_input, rejects, desc="predict")
    for number, study in enumerate(reading, start=1):
        outputs = predict_images(with_maps, study.images, BATCH_SIZE)
        if postprocessing is not None and smooth:
            smoothing = postprocessing.smoothing
            outputs[PROBABILITIES] = _smoothed(outputs[PROBABILITIES], study.slices, smoothing)
        look = worth_a_look(outputs[PROBABILITIES])
        name = f"study_{number:03d}"
        shown = study.images[..., network_input.shown_channel]
        save_png(_contact_sheet(shown, outputs), out / f"{name}.png")
        save_png(_close_look(shown, outputs, study.slices, look), out / f"{name}_look.png")
        if dicom:
            _write_dicom(out / "dicom" / name, study, outputs)
        tables.append(_slice_rows(study, number, outputs[PROBABILITIES]))
        looks.append(" ".join(study.slices[i].header.slice_id for i in look))
    if not tables:
        raise _nothing_to_predict(paths, rejects)
    slices = pd.concat(tables, ignore_index=True)
    level = "study_smoothed" if smooth else "study"
    thresholds = postprocessing.thresholds[level]["sensitivity_95"] if postprocessing else None
    _write_table(out / "slices.csv", slices)
    _write_table(out / "studies.csv", study_rows(slices, looks, thresholds))
    _write_table(out / "submission.csv", submission(slices))
    write_rejects(out / "rejects.csv", rejects)
    return PredictResult(out, len(slices), len(tables), len(rejects))


def _nothing_to_predict(paths: Sequence[Path], rejects: Sequence[dict[str, str]]) -> InputError:
    counts = Counter(x["reason"] for x in rejects)
    reasons = ", ".join(f"{reason} ({n})" for reason, n in counts.items()) or "no file"
    return InputError(
        f"nothing to predict in {', '.join(map(str, paths))}: {reasons}; give files, folders or zip"
        " archives with CT slices"
    )


def _postprocessing(run: RunFolder, size: int, smooth: bool) -> Postprocessing | None:
    """What was fitted on validation at this size; None if the run was not evaluated."""
    postprocessing = read_postprocessing(run, size)
    advice = f"`ich-keras evaluate {run.path} --size {size}`"
    if postprocessing is None and smooth:
        raise RunError(f"{run.path}: no smoothing is fitted for {size} pixels; {advice} fits it")
    if postprocessing is None:
        log.info("no thresholds for %d pixels: %s fits them on validation", size, advice)
    return postprocessing


def _smoothed(
    probabilities: np.ndarray, slices: Sequence[CTSlice], smoothing: Smoothing
) -> np.ndarray:
    position_mm = np.array([ct.header.position_mm for ct in slices])
    series = np.array([ct.header.series_id for ct in slices])
    return smooth_series(probabilities, series, position_mm, smoothing)


def _write_dicom(folder: Path, study: ReadStudy, outputs: dict[str, np.ndarray]) -> None:
    from ich_keras.predict.dicom_objects import PredictedSlice, write_dicom

    columns = (study.files, study.slices, outputs[CLASS_MAPS], outputs[PROBABILITIES])
    write_dicom(folder, [PredictedSlice(*row) for row in zip(*columns, strict=True)])


def _slice_rows(study: ReadStudy, number: int, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows of `slices.csv` of a study."""
    headers = [ct.header for ct in study.slices]
    columns = {
        "study": number,
        "study_id": study.study_id,
        "slice_id": [header.slice_id for header in headers],
        "position_mm": [header.position_mm for header in headers],
    }
    return pd.DataFrame(columns | dict(zip(LABELS, probabilities.T.astype(float), strict=True)))


def _contact_sheet(images: np.ndarray, outputs: dict[str, np.ndarray]) -> Figure:
    """Slices at equal distances in the study, each under the map of its most probable subtype."""
    count = min(len(images), SHEET_SLICES)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    maps, probabilities = outputs[CLASS_MAPS][chosen], outputs[PROBABILITIES][chosen]
    return class_map_sheet(images[chosen], maps, probabilities)


def worth_a_look(probabilities: np.ndarray) -> np.ndarray:
    """The slices where `any` is most probable: at most three indices, the highest first."""
    return np.argsort(-probabilities[:, ANY], kind="stable")[:LOOK_SLICES]


def _close_look(
    images: np.ndarray, outputs: dict[str, np.ndarray], slices: Sequence[CTSlice], look: np.ndarray
) -> Figure:
    """The slices most worth a look, large."""
    titles = [
        f"slice {i + 1} of {len(slices)}, {slices[i].header.position_mm:.1f} mm" for i in look
    ]
    maps, probabilities = outputs[CLASS_MAPS][look], outputs[PROBABILITIES][look]
    return class_map_sheet(images[look], maps, probabilities, titles=titles, inches=4)


def study_rows(
    slices: pd.DataFrame, looks: Sequence[str], thresholds: dict[str, float | None] | None
) -> pd.DataFrame:
    """The rows of `studies.csv`.

    `looks` are the slices of each study most worth a look. Without thresholds there is no column
    `found`.
    """
    studies = slices.groupby(["study", "study_id"], as_index=False)[list(LABELS)].max()
    studies.insert(2, "slices", slices.groupby("study").size().to_numpy())
    studies["worth_a_look"] = list(looks)
    if thresholds is not None:
        studies["found"] = labels_at_thresholds(studies, thresholds)
    return studies


def labels_at_thresholds(studies: pd.DataFrame, thresholds: dict[str, float | None]) -> list[str]:
    """The labels of each study at or above their thresholds, separated by spaces.

    A threshold is None where validation gave none.
    """
    chosen = {label: value for label, value in thresholds.items() if value is not None}
    predicted = studies[list(chosen)] >= pd.Series(chosen)
    return [" ".join(row.index[row]) for _, row in predicted.iterrows()]


def submission(slices: pd.DataFrame) -> pd.DataFrame:
    """The challenge's format: `ID` names a slice and a label, `Label` is the probability."""
    long = slices.melt("slice_id", list(LABELS), var_name="label", value_name="Label")
    column = pd.Categorical(long["label"], LABELS).codes
    order = np.lexsort((column, np.tile(np.arange(len(slices)), len(LABELS))))
    long["ID"] = long["slice_id"] + "_" + long["label"]
    return long.iloc[order][["ID", "Label"]].reset_index(drop=True)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")

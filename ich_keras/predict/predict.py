"""Applies a run to DICOM files: probabilities per slice and study, and figures of class maps."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.data.sources import write_rejects
from ich_keras.data.studies import ReadSeries, find_studies, read_series
from ich_keras.figures.class_maps import class_map_sheet
from ich_keras.figures.curves import save_png
from ich_keras.model.forward import compile_forward, predict_images
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES, load_model, with_class_maps
from ich_keras.run.folder import RunError, RunFolder, read_input
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.scores.smoothing import Smoothing, smooth_series
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.dicom.orientation import turn_of
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.tables.csv_cells import path_cell

log = logging.getLogger(__name__)

BATCH_SIZE = 16
LOOK_SLICES = 3  # per study that are most worth a look
SHEET_SLICES = 24  # on a contact sheet; more would be too small to see


@dataclass(frozen=True)
class PredictResult:
    """The folder of the tables and figures, with what was counted."""

    out: Path
    slices: int
    series: int
    studies: int
    rejected: int

    def sentence(self) -> str:
        return (
            f"{self.slices:,} slices of {self.studies:,} studies in {self.series:,} series,"
            f" {self.rejected:,} files rejected: {self.out} (for research, not for diagnosis)"
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
    numbered 1, which is judged, stands for the study (`ich_keras.data.series`); of it alone there
    are figures: `study_<n>.png` is a contact sheet, `study_<n>_look.png` shows the three slices.
    `submission.csv` has the format of the challenge, `rejects.csv` one row per rejected file.

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
    smoothing = postprocessing.smoothing if postprocessing is not None and smooth else None
    patients = {x: n for n, x in enumerate(dict.fromkeys(s.patient_id for s in studies), start=1)}
    tables: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    number = 0
    for study in progress(studies, desc="predict", unit="study"):
        reading = read_series(study.series, network_input, rejects)
        for place, series in enumerate(reading, start=1):
            number += place == 1
            outputs = predict_images(with_maps, series.images, BATCH_SIZE)
            if smoothing is not None:
                raw = outputs[PROBABILITIES]
                outputs[PROBABILITIES] = _smoothed(raw, series.position_mm, smoothing)
            look = worth_a_look(outputs[PROBABILITIES])
            name = f"study_{number:03d}"
            if place == 1:
                shown = series.images[..., network_input.shown_channel]
                save_png(_contact_sheet(shown, outputs), out / f"{name}.png")
                save_png(_close_look(shown, outputs, series.slices, look), out / f"{name}_look.png")
            if dicom:
                _write_dicom(out / "dicom" / name, place, series, outputs)
            key = {
                "study": number,
                "study_id": study.study_id,
                "patient": patients[study.patient_id],
                "series": place,
            }
            tables.append(_slice_rows(key, series, outputs[PROBABILITIES]))
            rows.append(key | _series_row(series, look, smoothed=smoothing is not None))
    if not tables:
        raise _nothing_to_predict(paths, rejects)
    slices = pd.concat(tables, ignore_index=True)
    level = "study_smoothed" if smooth else "study"
    thresholds = postprocessing.thresholds[level]["sensitivity_95"] if postprocessing else None
    _write_table(out / "slices.csv", slices)
    _write_table(out / "studies.csv", study_rows(slices, rows, thresholds))
    _write_table(out / "submission.csv", submission(slices))
    write_rejects(out / "rejects.csv", rejects)
    return PredictResult(out, len(slices), len(rows), number, len(rejects))


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
    probabilities: np.ndarray, position_mm: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    return smooth_series(probabilities, np.zeros(len(position_mm)), position_mm, smoothing)


def _write_dicom(
    folder: Path, number: int, series: ReadSeries, outputs: dict[str, np.ndarray]
) -> None:
    from ich_keras.predict.dicom_objects import PredictedSlice, write_dicom

    if series.series.facts.resampled:
        log.warning("%s: series %d: no DICOM objects, its pixels are not square", folder, number)
        return
    turns = (turn_of(ct.header) for ct in series.slices)
    maps = [turn.undo(x) for turn, x in zip(turns, outputs[CLASS_MAPS], strict=True)]
    columns = (series.files, series.slices, maps, outputs[PROBABILITIES])
    slices = [PredictedSlice(*row) for row in zip(*columns, strict=True)]
    write_dicom(folder, number, slices)


def _slice_rows(key: dict[str, Any], series: ReadSeries, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows of `slices.csv` of a series; its position is empty where only an order is known."""
    columns = key | {
        "slice_id": [file.slice_id for file in series.files],
        "file": [path_cell(file.source.name) for file in series.files],
        "position_mm": series.position_mm,
    }
    return pd.DataFrame(columns | dict(zip(LABELS, probabilities.T.astype(float), strict=True)))


def _series_row(series: ReadSeries, look: np.ndarray, *, smoothed: bool) -> dict[str, Any]:
    """What `studies.csv` says about a series besides probabilities."""
    remarks = series.series.facts.remarks()
    if smoothed and np.isnan(series.position_mm).any():
        remarks.append("not smoothed")
    return {
        "slices": len(series.files),
        "worth_a_look": " ".join(series.files[i].slice_id for i in look),
        "remarks": "; ".join(remarks),
    }


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
    titles = [_title(slices, i) for i in look]
    maps, probabilities = outputs[CLASS_MAPS][look], outputs[PROBABILITIES][look]
    return class_map_sheet(images[look], maps, probabilities, titles=titles, inches=4)


def _title(slices: Sequence[CTSlice], i: int) -> str:
    header = slices[i].header
    place = f", {header.position_mm:.1f} mm" if header.placed else ""
    return f"slice {i + 1} of {len(slices)}{place}"


def study_rows(
    slices: pd.DataFrame, rows: Sequence[dict[str, Any]], thresholds: dict[str, float | None] | None
) -> pd.DataFrame:
    """The rows of `studies.csv`, one per series; those numbered 1 are judged.

    `rows` describe the series, in the order of `slices`. Without thresholds there is no column
    `found`.
    """
    table = pd.DataFrame(rows)
    table.insert(4, "judged", table["series"] == 1)
    maxima = slices.groupby(["study", "series"], sort=False)[list(LABELS)].max()
    for place, label in enumerate(LABELS, start=6):
        table.insert(place, label, maxima[label].to_numpy())
    if thresholds is not None:
        table.insert(12, "found", labels_at_thresholds(table, thresholds))
    return table


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

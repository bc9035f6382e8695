"""The tables of `predict`. They grow series by series, so that no later failure costs an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.studies import ReadSeries
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.tables.csv_cells import path_cell


def append_answers(
    out: Path,
    slices: pd.DataFrame,
    rows: Sequence[dict[str, Any]],
    thresholds: dict[str, float | None] | None,
    own_threshold: float | None,
) -> None:
    """Appends to `slices.csv`, `studies.csv` and `submission.csv`; see `study_rows`."""
    out.mkdir(parents=True, exist_ok=True)
    _append(out / "slices.csv", slices)
    _append(out / "studies.csv", study_rows(slices, rows, thresholds, own_threshold))
    _append(out / "submission.csv", submission(slices))


def slice_rows(key: dict[str, Any], series: ReadSeries, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows of `slices.csv` of a series.

    The file is empty for arrays, the frame unless the file is an enhanced CT, and the position
    where only an order is known.
    """
    files = series.files or [None] * len(series.slices)
    columns = key | {
        "slice_id": series.slice_ids,
        "file": [path_cell(file.source.name) if file else "" for file in files],
        "frame": pd.array([file.frame if file else None for file in files], dtype="Int64"),
        "position_mm": series.position_mm,
    }
    return pd.DataFrame(columns | dict(zip(LABELS, probabilities.T.astype(float), strict=True)))


def series_row(series: ReadSeries, look: np.ndarray, *, smoothed: bool) -> dict[str, Any]:
    """What `studies.csv` says about a series besides probabilities."""
    remarks = series.remarks()
    if smoothed and np.isnan(series.position_mm).any():
        remarks.append("not smoothed")
    return {
        "slices": len(series.slices),
        "worth_a_look": " ".join(series.slice_ids[i] for i in look),
        "remarks": "; ".join(remarks),
    }


def study_rows(
    slices: pd.DataFrame,
    rows: Sequence[dict[str, Any]],
    thresholds: dict[str, float | None] | None,
    own_threshold: float | None,
) -> pd.DataFrame:
    """The rows of `studies.csv`, one per series; those numbered 1 are judged.

    `rows` describe the series, in the order of `slices`. Without thresholds there is no column
    `found`. `own_threshold` is a column only if that of `any` was given instead of fitted.
    """
    table = pd.DataFrame(rows)
    table.insert(4, "judged", table["series"] == 1)
    maxima = slices.groupby(["study", "series"], sort=False)[list(LABELS)].max()
    for place, label in enumerate(LABELS, start=6):
        table.insert(place, label, maxima[label].to_numpy())
    if thresholds is not None:
        table.insert(12, "found", labels_at_thresholds(table, thresholds))
    if own_threshold is not None:
        table.insert(13, "own_threshold", own_threshold)
    return table


def labels_at_thresholds(studies: pd.DataFrame, thresholds: dict[str, float | None]) -> list[str]:
    """The labels of each study at or above their thresholds, separated by spaces.

    A threshold is None where validation gave none. That of `any` decides whether there is a
    hemorrhage, since six decisions together raise far more false alarms than the one that was
    fitted; kinds are listed where there is. Without a threshold of `any`, one kind is enough.
    """
    chosen = {label: value for label, value in thresholds.items() if value is not None}
    reached = studies[list(chosen)] >= pd.Series(chosen)
    if LABELS[ANY] not in reached:
        reached[LABELS[ANY]] = reached.any(axis=1)
    return [" ".join(row.index[row & row[LABELS[ANY]]]) for _, row in reached.iterrows()]


def submission(slices: pd.DataFrame) -> pd.DataFrame:
    """The challenge's format: `ID` names a slice and a label, `Label` is the probability."""
    long = slices.melt("slice_id", list(LABELS), var_name="label", value_name="Label")
    column = pd.Categorical(long["label"], LABELS).codes
    order = np.lexsort((column, np.tile(np.arange(len(slices)), len(LABELS))))
    long["ID"] = long["slice_id"] + "_" + long["label"]
    return long.iloc[order][["ID", "Label"]].reset_index(drop=True)


def _append(path: Path, table: pd.DataFrame) -> None:
    header = not path.exists()
    table.to_csv(path, mode="a", header=header, index=False, lineterminator="\n")

"""Splits that a CSV file assigns."""

import warnings
import zlib
from gzip import BadGzipFile
from pathlib import Path

import pandas as pd

from tfrecords_tools.dataset.manifest import SPLITS
from tfrecords_tools.errors import ConvertError, UsageError
from tfrecords_tools.tables.csv_cells import some_lines

UNLABELLED = SPLITS[-1]
GIVEN_SPLITS = SPLITS[:-1]
ID_COLUMNS = ("slice_id", "study_id", "patient_id")  # the first one present in a file is used

UNREADABLE = (ValueError, EOFError, BadGzipFile, zlib.error, pd.errors.ParserWarning)


def read_split(path: Path) -> pd.Series:
    """Reads splits from a CSV with a column of ids and a column `split`, as `index.csv` has them.

    Returns the split by id; the index is named after the column of ids, one of ID_COLUMNS. Raises
    ConvertError, which names the lines, if a column is missing, a split is not train, val or test,
    or an id is empty or in two splits.
    """
    if not path.is_file():
        raise UsageError(f"--split {path}: no such file; give a CSV, or fractions: 0.8,0.1,0.1")
    table = _read_csv(path)
    columns = [name for name in ID_COLUMNS if name in table.columns]
    if not columns or "split" not in table.columns:
        raise ConvertError(
            f"{path}: has the columns {', '.join(table.columns)}; expected split and one of"
            f" {', '.join(ID_COLUMNS)}"
        )
    column = columns[0]
    rows = table.loc[~table["split"].isin(["", UNLABELLED]), [column, "split"]]
    _refuse(path, rows[~rows["split"].isin(GIVEN_SPLITS)], "expected the split train, val or test")
    _refuse(path, rows[rows[column] == ""], f"its {column} is empty; use another id column")
    rows = rows.drop_duplicates()
    _refuse(path, rows[rows[column].duplicated()], "its id is in another split already")
    if rows.empty:
        raise ConvertError(f"{path}: assigns nothing to train, val or test")
    return rows.set_index(column)["split"]


def follow_split(slices: pd.DataFrame, given: pd.Series) -> pd.Series:
    """The split of each slice according to a file; "" if the file does not name the slice.

    Public ids count too, since the `index.csv` of shards with the same key contains them. Raises
    ConvertError if a group would be in two splits.
    """
    column = str(given.index.name)
    split = slices[column].map(given)
    if f"public_{column}" in slices:
        split = split.fillna(slices[f"public_{column}"].map(given))
    split = split.fillna("")
    named = split != ""
    counts = split[named].groupby(slices.loc[named, "group"]).nunique()
    torn = counts.index[counts > 1]
    if len(torn):
        first = slices.loc[named & (slices["group"] == torn[0]), "study_id"].iloc[0]
        raise ConvertError(
            f"the split file puts {len(torn)} patients into more than one split (one has the study"
            f" {first}), so the network would be evaluated on patients it was trained on; split by"
            " patient, and with --group-duplicates keep patients who share a slice in one split"
        )
    return split


def _read_csv(path: Path) -> pd.DataFrame:
    """The table, all text, indexed by line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,  # otherwise rows with an extra field would lose their first one
            )
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise ConvertError(f"{path}: not a readable CSV ({reason})") from error
    table.index += 2  # lines count from 1, and the first is the header
    return table


def _refuse(path: Path, rows: pd.DataFrame, fault: str) -> None:
    if len(rows):
        raise ConvertError(f"{path}: {some_lines(rows.index.tolist())}: {fault}")

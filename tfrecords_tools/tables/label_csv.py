"""Reads label CSVs to a table with one row per slice; faults are reported with their lines."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfrecords_tools.classes import ANY, ANY_ALONE, LABELS, SUBTYPES
from tfrecords_tools.errors import InputError
from tfrecords_tools.tables.csv_cells import EXAMPLES, some_lines

CHUNK_ROWS = 500_000  # about 100 MB of text at a time
# A DICOM UID, that of a frame of an enhanced CT, or the challenge's ID_012345678.
SLICE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}(#[0-9]{1,5})?")
WIDE_ID_COLUMNS = ("id", "slice_id", "sopinstanceuid")
STUDY_ID_COLUMNS = ("study_id", "studyinstanceuid")
ENCODING = "utf-8-sig"  # spreadsheets write a byte order mark at the start
UNREADABLE = (
    UnicodeDecodeError,
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
    EOFError,  # this and the next two: a damaged gzip file
    BadGzipFile,
    zlib.error,
)

_CODES = {label: code for code, label in enumerate(LABELS)}
_MISSING = 255  # in a table of 0 and 1


class LabelError(InputError):
    """A label file that cannot be trusted."""


class _Cells(NamedTuple):
    """The labels of a chunk, one cell each."""

    ids: list[str]  # of the slices
    codes: np.ndarray  # int64, position of the label in the table; -1 if it is none of its labels
    values: np.ndarray  # text
    lines: np.ndarray  # int64, line in the file, from 1


class _Column(NamedTuple):
    """All cells of a file, sorted by place; duplicates in the order of the file."""

    labels: tuple[str, ...]  # of the table: LABELS, or `any` alone
    places: np.ndarray  # int64, row * len(labels) + code, where rows follow the ids
    values: np.ndarray
    lines: np.ndarray

    def line_of(self, places: np.ndarray) -> np.ndarray:
        """The line of the first cell at or after each place."""
        return self.lines[np.searchsorted(self.places, places)]

    def cell_name(self, ids: list[str], place: int) -> str:
        row, code = divmod(int(place), len(self.labels))
        return f"{ids[row]}_{self.labels[code]}"


def read_labels(path: Path, *, any_alone: bool = False) -> pd.DataFrame:
    """Reads the labels of slices.

    Two forms are accepted, plain or gzip: the challenge's long one (`ID,Label` with a row for each
    slice and label, `ID_012345678_epidural,0`) and a wide one (`id,epidural,…,any`). Extra columns,
    blank lines and ids with `.dcm` are accepted; duplicate cells with equal values are merged. With
    `any_alone`, the wide form may have `any` as its only label, and so has the result.

    Returns uint8 columns LABELS, 0 or 1, indexed by `slice_id` (unique), in the order of the file.
    Raises LabelError, which names the lines, on a malformed row, a missing or contradictory label,
    or an `any` that is not the OR of the five.
    """
    return _read(path, WIDE_ID_COLUMNS, any_alone)


def read_study_labels(path: Path, *, any_alone: bool = False) -> pd.DataFrame:
    """Reads the labels of studies, like `read_labels`, from the form `study_id,epidural,…,any`."""
    return _read(path, STUDY_ID_COLUMNS, any_alone).rename_axis("study_id")


def label_columns(path: Path) -> list[str]:
    """The names in the header of a label file; LabelError if it is not a readable CSV."""
    with readable(path):
        return [name.strip() for name in pd.read_csv(path, nrows=0, encoding=ENCODING).columns]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what pandas raises on a damaged file into a LabelError."""
    try:
        yield
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise LabelError(f"{path}: not a readable CSV ({reason}); download it again") from error


def _read(path: Path, id_columns: tuple[str, ...], any_alone: bool) -> pd.DataFrame:
    columns = label_columns(path)
    is_long = {"ID", "Label"} <= set(columns)
    used = ["ID", "Label"] if is_long else _wide_columns(path, columns, id_columns, any_alone)
    labels = LABELS if is_long or len(used) > 2 else ANY_ALONE
    rows: dict[str, int] = {}  # by id
    pieces = []
    with readable(path):
        for chunk in _chunks(path, used):
            cells = _long_cells(chunk) if is_long else _wide_cells(chunk, labels)
            _check_cells(path, cells)
            row = np.array([rows.setdefault(name, len(rows)) for name in cells.ids], np.int64)
            values = (cells.values == "1").astype(np.uint8)
            pieces.append((row * len(labels) + cells.codes, values, cells.lines))
    if not rows:
        raise LabelError(f"{path}: has no rows below its header; download it again")
    places, values, lines = map(np.concatenate, zip(*pieces, strict=True))
    order = np.argsort(places, kind="stable")
    return _table(path, list(rows), _Column(labels, places[order], values[order], lines[order]))


def _wide_columns(
    path: Path, columns: list[str], id_columns: tuple[str, ...], any_alone: bool
) -> list[str]:
    """The id column and those of the labels, as the file spells them."""
    spelt = {name.lower(): name for name in columns}
    ids = [name for name in id_columns if name in spelt]
    labels = ANY_ALONE if any_alone and spelt.keys() & set(LABELS) == set(ANY_ALONE) else LABELS
    if len(ids) != 1 or not spelt.keys() >= set(labels):
        without_kinds = f", or {id_columns[0]},any if no kind is known" if any_alone else ""
        raise LabelError(
            f"{path}: has the columns {', '.join(columns)};"
            f" expected ID,Label or {id_columns[0]},{','.join(LABELS)}{without_kinds}"
        )
    return [spelt[name] for name in (*ids, *labels)]


def _chunks(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Parts of a CSV: these columns as text, indexed by line, without blank rows."""
    reader = pd.read_csv(
        path,
        usecols=lambda name: name.strip() in columns,
        index_col=False,  # otherwise rows with an extra field would silently lose their first
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,  # otherwise the lines would be miscounted
        chunksize=CHUNK_ROWS,
        encoding=ENCODING,
    )
    with reader:
        for chunk in reader:
            chunk.columns = chunk.columns.str.strip()
            chunk.index += 2  # lines count from 1, and the first is the header
            chunk = chunk[columns]
            yield chunk[(chunk != "").any(axis=1)]


def _long_cells(chunk: pd.DataFrame) -> _Cells:
    # Lists, because the str methods of a column take three times as long.
    parts = [text.strip().rpartition("_") for text in chunk["ID"].tolist()]
    ids = [name.removesuffix(".dcm") for name, _, _ in parts]
    codes = np.array([_CODES.get(label, -1) for _, _, label in parts], np.int64)
    values = np.array([value.strip() for value in chunk["Label"].tolist()])
    return _Cells(ids, codes, values, chunk.index.to_numpy())


def _wide_cells(chunk: pd.DataFrame, labels: tuple[str, ...]) -> _Cells:
    ids = [name.strip().removesuffix(".dcm") for name in chunk.iloc[:, 0].tolist()]
    return _Cells(
        [name for name in ids for _ in labels],
        np.tile(np.arange(len(labels)), len(chunk)),
        chunk.iloc[:, 1:].map(str.strip).to_numpy().ravel(),
        np.repeat(chunk.index.to_numpy(), len(labels)),
    )


def _check_cells(path: Path, cells: _Cells) -> None:
    malformed = {name for name in set(cells.ids) if not SLICE_ID.fullmatch(name)}
    wrong_id = cells.codes < 0
    if malformed:
        wrong_id |= np.array([name in malformed for name in cells.ids])
    _refuse(path, cells.lines[wrong_id], "expected an id such as ID_012345678_epidural")
    wrong_value = (cells.values != "0") & (cells.values != "1")
    _refuse(path, cells.lines[wrong_value], "expected a label of 0 or 1")


def _table(path: Path, ids: list[str], column: _Column) -> pd.DataFrame:
    """One row per id, once every label is known and consistent."""
    _check_duplicates(path, ids, column)
    table = np.full(len(ids) * len(column.labels), _MISSING, np.uint8)
    table[column.places] = column.values
    _check_complete(path, ids, column, np.flatnonzero(table == _MISSING))
    rows = table.reshape(-1, len(column.labels))
    labels = pd.DataFrame(rows, index=pd.Index(ids, name="slice_id"), columns=list(column.labels))
    if column.labels == LABELS:
        _check_any(path, labels, column)
    return labels


def _check_any(path: Path, labels: pd.DataFrame, column: _Column) -> None:
    wrong = (labels[list(SUBTYPES)].max(axis=1) != labels["any"]).to_numpy()
    slices = ", ".join(labels.index[wrong][:EXAMPLES])
    lines = column.line_of(np.flatnonzero(wrong) * len(LABELS) + ANY)
    _refuse(path, lines, f"`any` is not the OR of the five labels ({slices}); correct it")


def _check_duplicates(path: Path, ids: list[str], column: _Column) -> None:
    """Refuses duplicate cells, which are adjacent, that differ."""
    same = column.places[1:] == column.places[:-1]
    differing = np.flatnonzero(same & (column.values[1:] != column.values[:-1]))
    if differing.size:
        first = differing[0]
        cell = column.cell_name(ids, column.places[first])
        raise LabelError(
            f"{path}: lines {column.lines[first]} and {column.lines[first + 1]} contradict each"
            f" other on {cell}; {differing.size} in total: remove the wrong row of each"
        )


def _check_complete(path: Path, ids: list[str], column: _Column, missing: np.ndarray) -> None:
    if missing.size:
        cells = ", ".join(column.cell_name(ids, place) for place in missing[:EXAMPLES])
        near = column.line_of(missing[0] // len(LABELS) * len(LABELS))
        raise LabelError(
            f"{path}: {missing.size} rows are missing: {cells} (other rows of the slice are near"
            f" line {near}); add them"
        )


def _refuse(path: Path, lines: np.ndarray, fault: str) -> None:
    if lines.size:
        raise LabelError(f"{path}: {some_lines(lines.tolist())}: {fault}")

"""Label CSVs to a table, a row a slice; their faults are named by line."""

import re
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.errors import InputError

CHUNK_ROWS = 500_000  # some 100 MB of text at a time
EXAMPLES = 3  # faults named in a message
SLICE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # a DICOM UID, or the challenge's ID_012345678
WIDE_ID_COLUMNS = ("id", "slice_id", "sopinstanceuid")
STUDY_ID_COLUMNS = ("study_id", "studyinstanceuid")
ENCODING = "utf-8-sig"  # spreadsheets put a byte order mark in front
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
    """What a file says, a cell each: this slice has, or has not, this label."""

    slice_ids: list[str]
    codes: np.ndarray  # int64, of the label in LABELS; -1 where it is none of them
    values: np.ndarray  # text
    lines: np.ndarray  # int64, in the file, from 1


def read_labels(path: Path) -> pd.DataFrame:
    """Reads the labels of the slices.

    Two forms are known, plain or gzip: the challenge's long one (`ID,Label` with a row for each
    slice and label, `ID_012345678_epidural,0`) and a wide one (`id,epidural,…,any`). Further
    columns, blank lines and ids with `.dcm` are taken as they come; cells that stand twice with
    equal values are merged.

    Returns:
        uint8 columns LABELS, 0 or 1, indexed by `slice_id` (unique), in the order of the file.

    Raises:
        LabelError: on a malformed row, a label that is missing or contradicted, or an `any` that
            is not the OR of the five; names the lines.
        OSError: if the file cannot be opened.
    """
    return _reading(path, WIDE_ID_COLUMNS)


def read_study_labels(path: Path) -> pd.DataFrame:
    """Reads the labels of whole studies, in the wide form: `study_id,epidural,…,any`.

    Returns:
        As `read_labels`, indexed by `study_id`.

    Raises:
        LabelError: as `read_labels`.
        OSError: if the file cannot be opened.
    """
    return _reading(path, STUDY_ID_COLUMNS).rename_axis("study_id")


def label_columns(path: Path) -> list[str]:
    """The names in the header of a label file.

    Raises:
        LabelError: if it is no readable CSV.
        OSError: if it cannot be opened.
    """
    try:
        return [name.strip() for name in pd.read_csv(path, nrows=0, encoding=ENCODING).columns]
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> LabelError:
    """Of a file at which one of UNREADABLE was raised."""
    reason = " ".join(str(error).split())
    return LabelError(f"{path}: not a readable CSV ({reason}); fetch it anew")


def _reading(path: Path, id_columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        return _read(path, id_columns)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _read(path: Path, id_columns: tuple[str, ...]) -> pd.DataFrame:
    columns = label_columns(path)
    if {"ID", "Label"} <= set(columns):
        wanted, cells_of = ["ID", "Label"], _long_cells
    else:
        wanted, cells_of = _wide_columns(path, columns, id_columns), _wide_cells
    places: dict[str, int] = {}  # slice id -> row of the table
    pieces = []
    for chunk in _chunks(path, wanted):
        cells = cells_of(chunk)
        _check(path, cells)
        place = [places.setdefault(name, len(places)) for name in cells.slice_ids]
        where = np.array(place, np.int64) * len(LABELS) + cells.codes
        pieces.append((where, (cells.values == "1").astype(np.uint8), cells.lines))
    if not places:
        raise LabelError(f"{path}: has no rows below its header; fetch it anew")
    return _table(path, list(places), *map(np.concatenate, zip(*pieces, strict=True)))


def _wide_columns(path: Path, columns: list[str], id_columns: tuple[str, ...]) -> list[str]:
    """The column of ids and those of LABELS, as the file spells them."""
    spelt = {name.lower(): name for name in columns}
    ids = [name for name in id_columns if name in spelt]
    if len(ids) != 1 or not spelt.keys() >= set(LABELS):
        raise LabelError(
            f"{path}: has the columns {', '.join(columns)};"
            f" expected ID,Label or id,{','.join(LABELS)}"
        )
    return [spelt[name] for name in (*ids, *LABELS)]


def _chunks(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    """Pieces of a CSV: the wanted columns as text, blank rows left out, indexed by line."""
    reader = pd.read_csv(
        path,
        usecols=lambda name: name.strip() in wanted,
        index_col=False,  # else rows with a field too many would lose their first in silence
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,  # else the lines would be miscounted
        chunksize=CHUNK_ROWS,
        encoding=ENCODING,
    )
    with reader:
        for chunk in reader:
            chunk.columns = chunk.columns.str.strip()
            chunk.index += 2  # lines count from 1, and the first is the header
            chunk = chunk[wanted]
            yield chunk[(chunk != "").any(axis=1)]


def _long_cells(chunk: pd.DataFrame) -> _Cells:
    # Lists, because the str methods of a column take three times as long.
    parts = [text.strip().rpartition("_") for text in chunk["ID"].tolist()]
    names = [name.removesuffix(".dcm") for name, _, _ in parts]
    codes = np.array([_CODES.get(label, -1) for _, _, label in parts], np.int64)
    values = np.array([value.strip() for value in chunk["Label"].tolist()])
    return _Cells(names, codes, values, chunk.index.to_numpy())


def _wide_cells(chunk: pd.DataFrame) -> _Cells:
    names = [name.strip().removesuffix(".dcm") for name in chunk.iloc[:, 0].tolist()]
    return _Cells(
        [name for name in names for _ in LABELS],
        np.tile(np.arange(len(LABELS)), len(chunk)),
        chunk.iloc[:, 1:].map(str.strip).to_numpy().ravel(),
        np.repeat(chunk.index.to_numpy(), len(LABELS)),
    )


def _check(path: Path, cells: _Cells) -> None:
    malformed = {name for name in set(cells.slice_ids) if not SLICE_ID.fullmatch(name)}
    wrong_id = cells.codes < 0
    if malformed:
        wrong_id |= np.array([name in malformed for name in cells.slice_ids])
    _refuse(path, cells.lines[wrong_id], "expected an id such as ID_012345678_epidural")
    wrong_value = (cells.values != "0") & (cells.values != "1")
    _refuse(path, cells.lines[wrong_value], "expected a label of 0 or 1")


def _table(
    path: Path, names: list[str], where: np.ndarray, values: np.ndarray, lines: np.ndarray
) -> pd.DataFrame:
    """Cells to a row a slice; `where` numbers the cells of the table along its rows."""
    order = np.argsort(where, kind="stable")
    where, values, lines = where[order], values[order], lines[order]
    _check_doubled(path, names, where, values, lines)
    table = np.full(len(names) * len(LABELS), _MISSING, np.uint8)
    table[where] = values
    missing = np.flatnonzero(table == _MISSING)
    if missing.size:
        cells = ", ".join(_cell_name(names, cell) for cell in missing[:EXAMPLES])
        near = lines[np.searchsorted(where, missing[0] // len(LABELS) * len(LABELS))]
        raise LabelError(
            f"{path}: {missing.size} rows are missing: {cells} (the slice's others"
            f" stand near line {near}); add them"
        )
    labels = pd.DataFrame(
        table.reshape(-1, len(LABELS)), index=pd.Index(names, name="slice_id"), columns=list(LABELS)
    )
    _check_any(path, labels, lines[np.searchsorted(where, np.arange(5, table.size, 6))])
    return labels


def _check_doubled(
    path: Path, names: list[str], where: np.ndarray, values: np.ndarray, lines: np.ndarray
) -> None:
    """Cells that stand twice, now side by side, must agree."""
    contradicted = np.flatnonzero((where[1:] == where[:-1]) & (values[1:] != values[:-1]))
    if contradicted.size:
        first = contradicted[0]
        raise LabelError(
            f"{path}: lines {lines[first]} and {lines[first + 1]} contradict each other on"
            f" {_cell_name(names, where[first])}; {contradicted.size} such in all: remove the"
            " wrong one of each"
        )


def _check_any(path: Path, labels: pd.DataFrame, lines: np.ndarray) -> None:
    """Refuses an `any` that is not the OR of the five; `lines` tells where each `any` stands."""
    wrong = (labels[list(SUBTYPES)].max(axis=1) != labels["any"]).to_numpy()
    slices = ", ".join(labels.index[wrong][:EXAMPLES])
    _refuse(path, lines[wrong], f"`any` is not the OR of the five labels ({slices}); correct it")


def _refuse(path: Path, lines: np.ndarray, fault: str) -> None:
    if lines.size:
        some = ", ".join(str(line) for line in lines[:EXAMPLES])
        more = f" and {lines.size - EXAMPLES} more" if lines.size > EXAMPLES else ""
        raise LabelError(f"{path}: line {some}{more}: {fault}")


def _cell_name(names: list[str], cell: int) -> str:
    place, code = divmod(int(cell), len(LABELS))
    return f"{names[place]}_{LABELS[code]}"

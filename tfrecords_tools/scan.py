"""What there is to convert: the files of a source, and what their headers say."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from pebble import ProcessPool

from tfrecords_tools.dicom import RefusedSlice, read_header, read_stored_bytes
from tfrecords_tools.errors import UsageError
from tfrecords_tools.progress import progress

STAGES = ("stage_2", "stage_1")  # as the challenge names its folders; the later one first
FILES_A_TASK = 256  # enough to hide what a task costs
TEXT_FIELDS = ("slice_id", "study_id", "series_id", "patient_id")
FILE_COLUMNS = ("path", "bytes", "modified_ns", "header_hash")
COLUMNS = (*FILE_COLUMNS, *TEXT_FIELDS, "position_mm", "pixel_hash", "reason", "detail")
SLICE_COLUMNS = (*FILE_COLUMNS, *TEXT_FIELDS, "position_mm", "labelled")
REJECT_COLUMNS = ["path", "reason", "detail"]

# A slice of nothing but air and padding has few values, or compresses to almost nothing.
PLAIN_BYTES, PLAIN_VALUES, PLAIN_STRIDE = 1024, 16, 7

_NO_HEADER = ("", "", "", "", 0.0, 0)


@dataclass(frozen=True)
class Source:
    """The files of a data set, by paths relative to its root, in order.

    Attributes:
        root: of the data set.
        labelled: DICOM files that the label file speaks of.
        unlabelled: DICOM files without labels.
        label_file: None where there are no labels at all.
    """

    root: Path
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    label_file: Path | None


def find_source(root: Path, *, unlabelled: bool) -> Source:
    """Finds the folders and the label file of the RSNA layout.

    Args:
        root: holds `stage_2_train/` and `stage_2_train.csv`, and maybe `stage_2_test/`; those of
            `stage_1` are taken where there is no `stage_2`.
        unlabelled: take every file below root instead, without labels.

    Raises:
        UsageError: if there is no such layout, or no file.
    """
    if unlabelled:
        return _not_empty(Source(root, (), _files(root, "."), None))
    for stage in STAGES:
        for label_file in (root / f"{stage}_train.csv", root / f"{stage}_train.csv.gz"):
            if label_file.is_file() and (root / f"{stage}_train").is_dir():
                labelled, others = _files(root, f"{stage}_train"), _files(root, f"{stage}_test")
                return _not_empty(Source(root, labelled, others, label_file))
    raise UsageError(
        f"{root}: expected stage_2_train.csv beside the folder stage_2_train of DICOM files;"
        " give the folder that holds both, or --unlabelled for files without labels"
    )


def scan(
    source: Source, pool: ProcessPool, *, hash_pixels: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the headers of all files.

    Args:
        source: from `find_source`.
        pool: to read in.
        hash_pixels: read the pixels too, to tell identical slices.

    Returns:
        (slices, rejects): a row a slice with SLICE_COLUMNS and, where asked for, a `pixel_hash`,
        0 where the pixels tell nobody apart; and a row a file left out, with REJECT_COLUMNS.

    Raises:
        OSError: if a file cannot be read.
    """
    files = (*source.labelled, *source.unlabelled)
    chunks = [files[i : i + FILES_A_TASK] for i in range(0, len(files), FILES_A_TASK)]
    tables = [pd.DataFrame(columns=COLUMNS)]
    with progress(total=len(files), desc="scan", unit="file") as bar:
        tasks = pool.map(_scan_files, repeat(source.root), chunks, repeat(hash_pixels))
        for found in tasks.result():
            tables.append(pd.DataFrame(found, columns=COLUMNS))
            bar.update(len(found))
    table = pd.concat(tables[1:], ignore_index=True)
    table["labelled"] = np.arange(len(table)) < len(source.labelled)
    refused = table["reason"] != ""
    columns = [*SLICE_COLUMNS, "pixel_hash"] if hash_pixels else [*SLICE_COLUMNS]
    slices = table.loc[~refused, columns]
    return slices.reset_index(drop=True), table.loc[refused, REJECT_COLUMNS]


def _files(root: Path, folder: str) -> tuple[str, ...]:
    """Every file below a folder; none where there is no such folder."""
    if not (root / folder).is_dir():
        return ()
    found: list[str] = []
    for parent, _, names in os.walk(root / folder, onerror=_raise):
        inside = Path(parent).relative_to(root)
        found += [(inside / name).as_posix() for name in names]
    return tuple(sorted(found))


def _raise(error: OSError) -> None:
    """Else a folder that may not be listed would be left out in silence."""
    raise error


def _not_empty(source: Source) -> Source:
    if not source.labelled and not source.unlabelled:
        raise UsageError(f"{source.root}: holds no DICOM files; give the folder that does")
    return source


def _scan_files(root: Path, paths: Sequence[str], hash_pixels: bool) -> list[tuple]:
    return [_scan_file(root, path, hash_pixels) for path in paths]


def _scan_file(root: Path, path: str, hash_pixels: bool) -> tuple:
    """A row with COLUMNS."""
    if not (root / path).is_file():  # a pipe would be waited for
        (root / path).lstat()
        return (path, 0, 0, 0, *_NO_HEADER, "not_dicom", "is no regular file")
    with (root / path).open("rb") as file:
        status = os.fstat(file.fileno())
        row = (path, status.st_size, status.st_mtime_ns)
        try:
            header = read_header(file)
            before_pixels = file.tell()
            pixels = read_stored_bytes(file) if hash_pixels else b""
        except RefusedSlice as refusal:
            return (*row, 0, *_NO_HEADER, refusal.reason, refusal.detail)
        file.seek(0)
        header_hash = _hash(file.read(before_pixels))
    # What is equal is one object here, and travels and is kept but once.
    fields = (sys.intern(getattr(header, name)) for name in TEXT_FIELDS)
    return (*row, header_hash, *fields, header.position_mm, _pixel_hash(pixels), "", "")


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")  # fits an int64


def _pixel_hash(pixels: bytes) -> int:
    """A hash of stored pixels; 0 where they are so plain that two patients may have the same."""
    plain = len(pixels) < PLAIN_BYTES or len(set(pixels[::PLAIN_STRIDE])) < PLAIN_VALUES
    return 0 if plain else _hash(pixels)

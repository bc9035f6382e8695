"""What there is to convert: the files of a source, and what their headers say."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd

from tfrecords_tools.dicom import RefusedSlice, read_header
from tfrecords_tools.errors import UsageError
from tfrecords_tools.progress import progress

STAGES = ("stage_2", "stage_1")  # as the challenge names its folders; the later one first
FILES_A_TASK = 256  # enough to hide what a task costs
HEADER_FIELDS = ("slice_id", "study_id", "patient_id", "position_mm")
REJECT_COLUMNS = ["path", "reason", "detail"]


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


def scan(source: Source, pool: Executor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the headers of all files.

    Returns:
        (slices, rejects): a row a slice with `path`, `bytes`, `labelled` and HEADER_FIELDS; and a
        row a file left out, with REJECT_COLUMNS.

    Raises:
        OSError: if a file cannot be read.
    """
    files = (*source.labelled, *source.unlabelled)
    chunks = [files[i : i + FILES_A_TASK] for i in range(0, len(files), FILES_A_TASK)]
    rows: list[dict[str, Any]] = []
    with progress(total=len(files), desc="scan", unit="file") as bar:
        for found in pool.map(_scan_files, repeat(source.root), chunks):
            rows += found
            bar.update(len(found))
    columns = ["path", "bytes", *HEADER_FIELDS, "reason", "detail"]
    table = pd.DataFrame(rows, columns=columns)
    table["labelled"] = [True] * len(source.labelled) + [False] * len(source.unlabelled)
    refused = table["reason"].notna()
    slices = table[~refused].drop(columns=["reason", "detail"])
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


def _scan_files(root: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    return [_scan_file(root, path) for path in paths]


def _scan_file(root: Path, path: str) -> dict[str, Any]:
    row = {"path": path, "bytes": (root / path).stat().st_size}
    try:
        header = read_header(root / path)
    except RefusedSlice as refusal:
        return {**row, "reason": refusal.reason, "detail": refusal.detail}
    return {**row, **{field: getattr(header, field) for field in HEADER_FIELDS}}

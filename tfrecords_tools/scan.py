"""What there is to convert: the files of a source, and what their headers say."""

import os
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from pebble import ProcessPool

from tfrecords_tools.dicom import SliceFormat
from tfrecords_tools.errors import UsageError
from tfrecords_tools.progress import progress
from tfrecords_tools.scanned_file import ScannedFile, scan_files
from tfrecords_tools.workers import uninterrupted

STAGES = ("stage_2", "stage_1")  # as the challenge names its folders; the later one first
FILES_A_TASK = 256  # enough to hide what a task costs
REJECT_COLUMNS = ["path", "reason", "detail"]
SLICE_COLUMNS = [name for name in ScannedFile._fields if name not in ("reason", "detail")]


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

    @property
    def folders(self) -> tuple[Path, ...]:
        """Below which the files lie."""
        if self.label_file is None:
            return (self.root,)
        stage = self.label_file.name.partition("_train")[0]
        return self.root / f"{stage}_train", self.root / f"{stage}_test"


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
        (slices, rejects): a row a slice with SLICE_COLUMNS and `labelled`, and a row a file left
        out, with REJECT_COLUMNS.

    Raises:
        OSError: if a file cannot be read.
    """
    files = (*source.labelled, *source.unlabelled)
    chunks = [files[i : i + FILES_A_TASK] for i in range(0, len(files), FILES_A_TASK)]
    tables = []
    formats: dict[SliceFormat | None, SliceFormat | None] = {}
    with progress(total=len(files), desc="scan", unit="file") as bar:
        with uninterrupted():
            tasks = pool.map(scan_files, repeat(source.root), chunks, repeat(hash_pixels))
        for found in tasks.result():
            one_object = [x._replace(format=formats.setdefault(x.format, x.format)) for x in found]
            tables.append(pd.DataFrame(one_object, columns=ScannedFile._fields))
            bar.update(len(found))
    table = pd.concat(tables, ignore_index=True)
    table["labelled"] = np.arange(len(table)) < len(source.labelled)
    refused = table["reason"] != ""
    slices = table.loc[~refused, [*SLICE_COLUMNS, "labelled"]]
    return slices.reset_index(drop=True), table.loc[refused, REJECT_COLUMNS]


def _files(root: Path, folder: str) -> tuple[str, ...]:
    """Every file below a folder, and every link to a folder, which is not followed.

    None where there is no such folder.
    """
    if not (root / folder).is_dir():
        return ()
    found: list[str] = []
    for parent, folders, names in os.walk(root / folder, onerror=_raise):
        inside = Path(parent).relative_to(root)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [(inside / name).as_posix() for name in (*names, *links)]
    return tuple(sorted(found))


def _raise(error: OSError) -> None:
    """Else a folder that may not be listed would be left out in silence."""
    raise error


def _not_empty(source: Source) -> Source:
    if not source.labelled and not source.unlabelled:
        raise UsageError(f"{source.root}: holds no DICOM files; give the folder that does")
    return source

"""The headers of all files of a source, as one table."""

import os
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from tfrecords_tools.dataset.manifest import REJECT_COLUMNS
from tfrecords_tools.dicom.reader import SliceFormat
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.source import Source
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.object_store import is_remote

FILES_PER_TASK = 256  # enough to hide the cost of a task
HeaderReader = Callable[[str, Iterator[Sequence[str]], bool], Iterator[list[ScannedFile]]]
SLICE_COLUMNS = [name for name in ScannedFile._fields if name not in ("reason", "detail")]


@dataclass(frozen=True, eq=False)
class Scan:
    """The headers of all files."""

    root: str  # folder or bucket that paths are relative to
    slices: pd.DataFrame  # one row per slice, with SLICE_COLUMNS and `labelled`
    rejects: pd.DataFrame  # one row per rejected file, with REJECT_COLUMNS


def scan(source: Source, read_headers: HeaderReader, *, hash_pixels: bool = False) -> Scan:
    """Reads the headers of all files; with `hash_pixels` the pixels too, to find identical slices.

    Raises UsageError if a list is empty, or its files have no common root.
    """
    files = iter(source.files)
    total = len(source.files) if isinstance(source.files, Sized) else None
    chunks = iter(lambda: tuple(islice(files, FILES_PER_TASK)), ())
    tables = []
    formats: dict[SliceFormat | None, SliceFormat | None] = {}
    with progress(total=total, desc="scan", unit="file") as bar:
        for scanned in read_headers(source.root or "", chunks, hash_pixels):
            rows = [x._replace(format=formats.setdefault(x.format, x.format)) for x in scanned]
            tables.append(pd.DataFrame(rows, columns=ScannedFile._fields))
            bar.update(len(scanned))
    if not tables:
        raise UsageError("the list on standard input names no file; give one path or URI per line")
    table = pd.concat(tables, ignore_index=True)
    root, table = _relative(table) if source.root is None else (source.root, table)
    table["labelled"] = [source.is_labelled(path) for path in table["path"]]
    rejected = table["reason"] != ""
    slices = table.loc[~rejected, [*SLICE_COLUMNS, "labelled"]]
    return Scan(root, slices.reset_index(drop=True), table.loc[rejected, REJECT_COLUMNS])


def _relative(table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Makes the paths of a list relative, so that shards do not reveal paths of this machine.

    The root is the bucket, or the current folder if it holds all files, so that a file has the same
    path in the next list. Otherwise it is the deepest folder that holds all files. A file that is
    listed twice is kept once. Returns the root and the table sorted by path.
    """
    table = table.drop_duplicates("path").sort_values("path", ignore_index=True)
    folders = [x.split("/") for x in table["path"].str.rpartition("/")[0].unique()]
    common = os.path.commonprefix(folders)  # noqa: RUF071 - compares parts of paths
    here, bucket = Path.cwd().parts[1:], 3
    if is_remote(table["path"].iloc[0]):
        common = common[:bucket]
    elif tuple(common[1 : len(here) + 1]) == here:
        common = common[: len(here) + 1]
    if not common or (is_remote(table["path"].iloc[0]) and len(common) < bucket):
        raise UsageError(
            "the list names files of this machine and of an object store, or of several buckets;"
            " convert one place first, then the next with --add"
        )
    root = "/".join(common) + "/"
    return root, table.assign(path=table["path"].str[len(root) :])

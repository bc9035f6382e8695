"""What there is to convert: the files of a source, and what their headers say."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from tfrecords_tools.dicom.reader import SliceFormat
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.object_store import check_store, is_remote

STAGES = ("stage_2", "stage_1")  # as the challenge names its folders; the later one first
FILES_A_TASK = 256  # enough to hide what a task costs
REJECT_COLUMNS = ["path", "reason", "detail"]
HeaderReader = Callable[[str, Iterator[Sequence[str]], bool], Iterator[list[ScannedFile]]]
SLICE_COLUMNS = [name for name in ScannedFile._fields if name not in ("reason", "detail")]


@dataclass(frozen=True)
class Source:
    """The files of a data set.

    Attributes:
        root: that the paths are relative to; None where they are whole, as in a list.
        labelled: paths of DICOM files that the label file speaks of; a tuple, but of a list they
            come one by one.
        unlabelled: paths of DICOM files without labels; so too.
        label_file: None where there are no labels at all.
        folders: below which the files lie, where that is known.
    """

    root: str | None
    labelled: Iterable[str]
    unlabelled: Iterable[str]
    label_file: Path | None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Scan:
    """What the headers of all files say.

    Attributes:
        root: that paths are relative to.
        slices: a row a slice, by path, with SLICE_COLUMNS and `labelled`.
        rejects: a row a file left out, by path, with REJECT_COLUMNS.
    """

    root: str
    slices: pd.DataFrame
    rejects: pd.DataFrame


def find_source(root: Path, *, label_file: Path | None = None, unlabelled: bool = False) -> Source:
    """Finds the files below a folder.

    Args:
        root: without the other two, holds `stage_2_train/` and `stage_2_train.csv` of the RSNA
            layout, and maybe `stage_2_test/`; those of `stage_1` are taken where there is no
            `stage_2`.
        label_file: of every file below root.
        unlabelled: take every file below root, without labels.

    Raises:
        UsageError: if there is no such layout, or no file.
    """
    if unlabelled:
        return _not_empty(root, Source(str(root), (), _files(root, "."), None, (root,)))
    if label_file is not None:
        return _not_empty(root, Source(str(root), _files(root, "."), (), label_file, (root,)))
    for stage in STAGES:
        train, test = root / f"{stage}_train", root / f"{stage}_test"
        for found in (root / f"{stage}_train.csv", root / f"{stage}_train.csv.gz"):
            if found.is_file() and train.is_dir():
                files = _files(root, train.name), _files(root, test.name)
                return _not_empty(root, Source(str(root), *files, found, (train, test)))
    raise UsageError(
        f"{root}: expected stage_2_train.csv beside the folder stage_2_train of DICOM files; give"
        " the folder that holds both, --labels CSV for files in another order, or --unlabelled"
    )


def listed_source(paths: Iterable[str], *, label_file: Path | None) -> Source:
    """The files that a list names, as it comes.

    Args:
        paths: of this machine, `s3://` or `gs://`.
        label_file: of them all; None where they are unlabelled.

    Raises:
        UsageError: as the list is read, if a line is none of these.
    """
    whole = map(_whole_path, paths)
    files: tuple[Iterable[str], Iterable[str]] = (whole, ()) if label_file else ((), whole)
    return Source(None, *files, label_file)


def scan(source: Source, read_headers: HeaderReader, *, hash_pixels: bool = False) -> Scan:
    """Reads the headers of all files.

    Args:
        source: from `find_source` or `listed_source`.
        read_headers: of an `Engine` its `scan`.
        hash_pixels: read the pixels too, to tell identical slices.

    Raises:
        OSError: if a file cannot be read.
        SourceError: if an object store does not give one.
        UsageError: if a list names no file, or files of different kinds.
    """
    files = iter(chain(source.labelled, source.unlabelled))
    total = sum(len(x) for x in (source.labelled, source.unlabelled) if isinstance(x, Sized))
    chunks = iter(lambda: tuple(islice(files, FILES_A_TASK)), ())
    tables = []
    formats: dict[SliceFormat | None, SliceFormat | None] = {}
    with progress(total=total or None, desc="scan", unit="file") as bar:
        for found in read_headers(source.root or "", chunks, hash_pixels):
            one_object = [x._replace(format=formats.setdefault(x.format, x.format)) for x in found]
            tables.append(pd.DataFrame(one_object, columns=ScannedFile._fields))
            bar.update(len(found))
    if not tables:
        raise UsageError("the list on standard input names no file; give a path or URI a line")
    table = pd.concat(tables, ignore_index=True)
    if source.root is None:
        root, table = _relative(table)
        table["labelled"] = source.label_file is not None
    else:
        root = source.root
        table["labelled"] = np.arange(len(table)) < len(tuple(source.labelled))
    refused = table["reason"] != ""
    slices = table.loc[~refused, [*SLICE_COLUMNS, "labelled"]]
    return Scan(root, slices.reset_index(drop=True), table.loc[refused, REJECT_COLUMNS])


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


def _not_empty(root: Path, source: Source) -> Source:
    if not source.labelled and not source.unlabelled:
        raise UsageError(f"{root}: holds no DICOM files; give the folder that does")
    return source


def _whole_path(path: str) -> str:
    if is_remote(path):
        check_store(path)
        return path
    if "://" in path:
        raise UsageError(f"{path}: of URIs, s3:// and gs:// are read; copy the file here first")
    return os.path.abspath(path)  # noqa: PTH100 - links are left as they are


def _relative(table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The root of the files of a list, and the files by their paths below it.

    So that no path of this machine is told to whoever gets the shards. The root is the bucket, or
    the folder that the command is given in where all files lie below it; so in the next list a
    file has the same path. Else it is the folder that they have in common. Named twice, a file is
    there once.
    """
    table = table.drop_duplicates("path").sort_values("path", ignore_index=True)
    folders = [x.split("/") for x in table["path"].str.rpartition("/")[0].unique()]
    common = os.path.commonprefix(folders)  # noqa: RUF071 - of lists, part by part
    here, bucket = Path.cwd().parts[1:], 3
    if is_remote(table["path"].iloc[0]):
        common = common[:bucket]
    elif tuple(common[1 : len(here) + 1]) == here:
        common = common[: len(here) + 1]
    if not common or (is_remote(table["path"].iloc[0]) and len(common) < bucket):
        raise UsageError(
            "the list names files of this machine and of an object store, or of several buckets;"
            " convert those of one place first, and with --add those of the next"
        )
    root = "/".join(common) + "/"
    return root, table.assign(path=table["path"].str[len(root) :])


def read_list(stream: Iterable[bytes]) -> Iterator[str]:
    """The paths of a list, one a line."""
    for line in stream:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path:
            yield path

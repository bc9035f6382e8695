"""The files to convert: a folder of DICOM files, or a list of paths."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.folders import files_below
from tfrecords_tools.storage.object_store import check_store, is_remote

STAGES = ("stage_2", "stage_1")  # folder names of the challenge; the later one is preferred


@dataclass(frozen=True)
class Source:
    """The files of a data set."""

    root: str | None  # folder or bucket that the paths are relative to; None if they are absolute
    files: Iterable[str]  # paths; an iterator over a list that is still being read
    label_file: Path | None  # labels of the files; None if there are none
    unlabelled_folder: str = ""  # below the root, with files that have no labels
    folders: tuple[Path, ...] = ()  # folders that hold the files, if known

    def is_labelled(self, path: str) -> bool:
        """Whether the label file should name the slice in this file."""
        in_unlabelled = self.unlabelled_folder and path.startswith(f"{self.unlabelled_folder}/")
        return self.label_file is not None and not in_unlabelled


def find_source(root: Path, *, label_file: Path | None = None, unlabelled: bool = False) -> Source:
    """Finds the files below a folder.

    With a label file, or unlabelled, these are all files. Otherwise the folder must have the RSNA
    layout: `stage_2_train/`, `stage_2_train.csv` and optionally `stage_2_test/`, or the same of
    `stage_1`. Raises UsageError if the layout is another, or there are no files.
    """
    if unlabelled or label_file is not None:
        labels = None if unlabelled else label_file
        return _not_empty(Source(str(root), files_below(root), labels, folders=(root,)))
    for stage in STAGES:
        train, test = root / f"{stage}_train", root / f"{stage}_test"
        for labels in (root / f"{stage}_train.csv", root / f"{stage}_train.csv.gz"):
            if labels.is_file() and train.is_dir():
                files = files_below(root, train.name) + files_below(root, test.name)
                return _not_empty(Source(str(root), files, labels, test.name, (train, test)))
    raise UsageError(
        f"{root}: expected stage_2_train.csv beside the folder stage_2_train of DICOM files; give"
        " the folder that holds both, --labels CSV for files in another layout, or --unlabelled"
    )


def listed_source(paths: Iterable[str], *, label_file: Path | None) -> Source:
    """The files that a list names, read lazily.

    Paths are local, or `s3://` or `gs://` URIs; without `label_file` they are unlabelled. Raises
    UsageError while the list is read, if an entry is a URI of another kind.
    """
    return Source(None, map(_absolute_path, paths), label_file)


def read_list(stream: Iterable[bytes]) -> Iterator[str]:
    """The paths of a list, one per line."""
    for line in stream:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path:
            yield path


def _not_empty(source: Source) -> Source:
    if not source.files:
        raise UsageError(f"{source.root}: holds no DICOM files; give the folder that does")
    return source


def _absolute_path(path: str) -> str:
    if is_remote(path):
        check_store(path)
        return path
    if "://" in path:
        raise UsageError(
            f"{path}: only s3:// and gs:// URIs can be read; copy the file to this machine first"
        )
    return os.path.abspath(path)  # noqa: PTH100 - does not resolve links

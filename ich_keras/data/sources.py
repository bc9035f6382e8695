"""Every file in the paths that a user gives: files, folders and zip archives."""

import errno
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pandas as pd

from ich_keras.data.archives import check_complete, check_kind, is_zip, members, read_member
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.storage.folders import files_below
from tfrecords_tools.storage.source_files import is_regular
from tfrecords_tools.tables.csv_cells import path_cell

UNREADABLE = "unreadable"
REJECT_COLUMNS = ("path", "reason", "detail")
INDEX = "DICOMDIR"  # of the files of a disk (PS3.10 8.6)
# What operating systems and media add to slices; no loss, so they are not rejected files.
NOT_DATA = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", INDEX}
APPLE_DOUBLE = "._"  # begins the names of files that macOS adds to those of a foreign disk
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of a file

Reject = dict[str, str]  # a row of rejects.csv


@dataclass(frozen=True)
class Source:
    """A file, or a member of a zip archive; or a folder or an archive that cannot be opened."""

    name: str  # as users know it; for members, `<archive>:<member>`
    path: Path  # the file or the archive
    member: zipfile.ZipInfo | None = None  # of the archive, or None
    fault: RejectedSlice | None = None  # why it cannot be opened, if that is known

    @property
    def place(self) -> str:
        """The folder or archive that holds it, and the folder in the archive."""
        if self.member is None:
            return str(self.path.parent)
        return f"{self.path}:{PurePosixPath(self.member.filename).parent}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Opens the file; a member of an archive is unpacked in memory.

        Raises:
            RejectedSlice: if it cannot be read, also while it is open.
        """
        if self.fault:
            raise self.fault
        with _rejecting_unreadable(), self._file() as file:
            check_kind(file, self.name)
            yield file

    def rejected(self, rejection: RejectedSlice) -> Reject:
        cells = (path_cell(self.name), rejection.reason, rejection.detail)
        return dict(zip(REJECT_COLUMNS, cells, strict=True))

    def _file(self) -> BinaryIO:
        if self.member is not None:
            return io.BytesIO(read_member(self.path, self.member))
        if not is_regular(str(self.path)):  # reading a pipe would block
            raise RejectedSlice(UNREADABLE, _irregular(self.path))
        return self.path.open("rb")


def find_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Every file in files, folders (searched to any depth) and zip archives, sorted by name.

    Links to folders below a path, folders that may not be listed, and archives that cannot be
    opened are sources too, which cannot be opened. What operating systems add is left out.
    """
    for path, label in zip(paths, _labels(paths), strict=True):
        is_folder = os.path.isdir(path)  # noqa: PTH112 - raises for no path
        within = label if len(paths) > 1 else ""
        files = _files_in(path, within) if is_folder else [_given(path, label)]
        for file in files:
            yield from _members(file) if _is_archive(file) else [file]


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Writes `rejects.csv`: one row per rejected file."""
    with whole_file(path) as temporary:
        table = pd.DataFrame(rejects, columns=REJECT_COLUMNS)
        table.to_csv(temporary, index=False, lineterminator="\n")


def _labels(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole path where two paths share their last part."""
    names = [path.name or path.resolve().name for path in paths]
    counts = Counter(names)
    return [str(x) if counts[name] > 1 else name for x, name in zip(paths, names, strict=True)]


def _given(path: Path, label: str) -> Source:
    """A path that is no folder."""
    if path.name != INDEX:
        return Source(label, path)
    index = RejectedSlice("not_ct", "an index of files; give the folder that holds it")
    return Source(label, path, fault=index)


def _files_in(folder: Path, within: str) -> Iterator[Source]:
    """The files of a folder, after those folders in it that may not be listed."""
    errors: list[OSError] = []
    files = files_below(folder, on_error=errors.append)
    for error in errors:
        unlisted = Path(error.filename)
        inside = unlisted.relative_to(folder)
        name = str(PurePosixPath(within, inside)) if inside.parts else within or folder.name
        yield Source(name, unlisted, fault=_unreadable(error, "the folder cannot be listed"))
    for name in files:
        if _is_data(name):
            yield Source(str(PurePosixPath(within, name)), folder / name)


def _is_archive(source: Source) -> bool:
    try:
        return not source.fault and is_regular(str(source.path)) and is_zip(source.path)
    except OSError:
        return False  # to open it says why


def _members(archive: Source) -> Iterator[Source]:
    """The members; the archive too, if it is damaged."""
    found: list[zipfile.ZipInfo] = []
    try:
        with _rejecting_unreadable():
            found = members(archive.path)
            check_complete(archive.path)
    except RejectedSlice as rejection:
        yield replace(archive, fault=rejection)
    for member in found:
        if _is_data(member.filename):
            yield Source(f"{archive.name}:{member.filename}", archive.path, member)


def _is_data(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not (NOT_DATA.intersection(parts) or (parts and parts[-1].startswith(APPLE_DOUBLE)))


def _irregular(path: Path) -> str:
    """What a path is that is no file, and what to do."""
    if path.is_dir():
        return "a link to a folder, which is not followed; give the folder itself"
    if path.is_symlink():
        return "a link to nothing; restore the file that it leads to"
    return "no regular file"


@contextmanager
def _rejecting_unreadable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno in OF_THE_MACHINE:
            raise
        raise _unreadable(error, "cannot be read") from error


def _unreadable(error: OSError, what: str) -> RejectedSlice:
    return RejectedSlice(UNREADABLE, f"{what}: {error.strerror}; check permissions and disk")

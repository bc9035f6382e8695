"""Every file in the paths that a user gives: files, folders and zip archives."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.tables.csv_cells import path_cell

MEMBER_LIMIT = 256 << 20  # bytes of an unpacked archive member; a CT slice has half a megabyte
REJECT_COLUMNS = ("path", "reason", "detail")

Reject = dict[str, str]  # a row of rejects.csv


@dataclass(frozen=True)
class Source:
    """A file, or a member of a zip archive."""

    name: str  # as users know it; for members, `<archive>:<member>`
    path: Path  # the file or the archive
    member: str | None = None  # its name in the archive, or None

    @property
    def place(self) -> str:
        """The folder or archive that holds it, and the folder in the archive."""
        inside = "" if self.member is None else f":{Path(self.member).parent}"
        return f"{self.path.parent if self.member is None else self.path}{inside}"

    def open(self) -> BinaryIO:
        """Opens the file; a member of an archive is unpacked in memory."""
        if self.member is None:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            content = file.read(MEMBER_LIMIT + 1)
        if len(content) > MEMBER_LIMIT:
            raise RejectedSlice("too_large", f"more than {MEMBER_LIMIT >> 20} MiB unpacked")
        return io.BytesIO(content)

    def rejected(self, rejection: RejectedSlice) -> Reject:
        cells = (path_cell(self.name), rejection.reason, rejection.detail)
        return dict(zip(REJECT_COLUMNS, cells, strict=True))


def find_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Every file in files, folders (searched to any depth) and zip archives, sorted by name."""
    for path in paths:
        files = sorted(x for x in path.rglob("*") if x.is_file()) if path.is_dir() else [path]
        for file in files:
            if zipfile.is_zipfile(file):
                yield from _members(file)
            else:
                yield Source(str(file.relative_to(path)) if path.is_dir() else file.name, file)


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Writes `rejects.csv`: one row per rejected file."""
    with whole_file(path) as temporary:
        table = pd.DataFrame(rejects, columns=REJECT_COLUMNS)
        table.to_csv(temporary, index=False, lineterminator="\n")


def _members(archive: Path) -> Iterator[Source]:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            if not member.is_dir():
                name = member.filename
                yield Source(f"{archive.name}:{name}", archive, name)

"""Somebody's own files to studies: all headers first, then the pixels of a study at a time."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from tfrecords_tools.dicom.parsing import ChangedHeaderError
from tfrecords_tools.dicom.reader import CTSlice, FileHeader, read_header, read_hu
from tfrecords_tools.dicom.refusal import RefusedSlice
from tfrecords_tools.planning.left_out import DUPLICATE_ID
from tfrecords_tools.planning.neighbours import find_neighbours
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.tables.csv_cells import path_cell
from tfrecords_tools.windows import stack_slices

MEMBER_LIMIT = 256 << 20  # bytes of an unpacked archive member; a CT slice has half a megabyte

Reject = dict[str, str]  # path, reason, detail


@dataclass(frozen=True)
class Source:
    """A file to look at.

    Attributes:
        name: as the user knows it; members of an archive stand behind its name.
        path: the file, or the archive that holds it.
        member: its name in the archive, or None.
    """

    name: str
    path: Path
    member: str | None = None

    def open(self) -> BinaryIO:
        """The bytes of the file, in memory where they come from an archive."""
        if self.member is None:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            content = file.read(MEMBER_LIMIT + 1)
        if len(content) > MEMBER_LIMIT:
            raise RefusedSlice("too_large", f"more than {MEMBER_LIMIT >> 20} MiB unpacked")
        return io.BytesIO(content)

    def refused(self, refusal: RefusedSlice) -> Reject:
        """The row of `rejects.csv`."""
        name = path_cell(self.name)
        return {"path": name, "reason": refusal.reason, "detail": refusal.detail}


@dataclass(frozen=True)
class FoundSlice:
    """A slice whose header is known and whose pixels are not read yet."""

    source: Source
    header: FileHeader

    def read(self) -> CTSlice:
        """Its HU.

        Raises:
            RefusedSlice: if the pixels cannot be read.
            OSError: if the file is gone.
        """
        with self.source.open() as file:
            try:
                hu = read_hu(file, self.header.format, self.header.mark)
            except ChangedHeaderError as error:
                raise RefusedSlice("bad_header", "the file changed while it was read") from error
        return CTSlice(self.header.slice, hu)


@dataclass(frozen=True)
class Study:
    """The slices of a study.

    Attributes:
        study_id: Study Instance UID, or "".
        slices: by series, and along the slice normal.
    """

    study_id: str
    slices: tuple[FoundSlice, ...]

    def read(self) -> tuple[list[tuple[FoundSlice, CTSlice]], list[Reject]]:
        """The slices whose pixels can be read, and the others."""
        read, rejects = [], []
        for found in self.slices:
            try:
                read.append((found, found.read()))
            except RefusedSlice as refusal:
                rejects.append(found.source.refused(refusal))
        return read, rejects


def find_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Every file behind the paths (files, folders to any depth, zip archives), by their names."""
    for path in paths:
        files = sorted(x for x in path.rglob("*") if x.is_file()) if path.is_dir() else [path]
        for file in files:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    for member in archive.infolist():
                        if not member.is_dir():
                            name = member.filename
                            yield Source(f"{file.name}:{name}", file, name)
            else:
                yield Source(str(file.relative_to(path)) if path.is_dir() else file.name, file)


def find_studies(paths: Sequence[Path]) -> tuple[list[Study], list[Reject]]:
    """The studies behind the paths, by their headers, and the files that are none of theirs.

    Of files with one SOP Instance UID the first is taken, lest a slice be answered twice.
    """
    found: dict[str, FoundSlice] = {}
    rejects = []
    for source in progress(list(find_sources(paths)), desc="read headers", unit="file"):
        try:
            with source.open() as file:
                header = read_header(file)
            first = found.setdefault(header.slice.slice_id, FoundSlice(source, header))
            if first.source is not source:
                raise RefusedSlice(DUPLICATE_ID, f"the SOP Instance UID of {first.source.name}")
        except RefusedSlice as refusal:
            rejects.append(source.refused(refusal))
    return _by_study(found.values()), rejects


@dataclass(frozen=True, eq=False)
class ReadStudy:
    """A study whose pixels were read.

    Attributes:
        study_id: Study Instance UID, or "".
        found: the files that could be read.
        slices: their HU, in the same order.
        images: uint8, shape (N, size, size, channels), as a network wants to see them.
    """

    study_id: str
    found: tuple[FoundSlice, ...]
    slices: tuple[CTSlice, ...]
    images: np.ndarray


def read_studies(
    studies: Sequence[Study],
    network_input: NetworkInput,
    rejects: list[Reject],
    *,
    desc: str,
) -> Iterator[ReadStudy]:
    """Reads one study after the other, those left out of which nothing can be read.

    Args:
        studies: from `find_studies`.
        network_input: what becomes of each slice.
        rejects: to which files are added whose pixels cannot be read.
        desc: of the progress.
    """
    for study in progress(studies, desc=desc, unit="study"):
        read, unreadable = study.read()
        rejects += unreadable
        if read:
            found, slices = zip(*read, strict=True)
            yield ReadStudy(study.study_id, found, slices, study_images(slices, network_input))


def _by_study(found: Iterable[FoundSlice]) -> list[Study]:
    studies: dict[str, list[FoundSlice]] = {}
    ordered = sorted(found, key=lambda x: (x.header.slice.series_id, x.header.slice.position_mm))
    for one in ordered:
        studies.setdefault(one.header.slice.study_id, []).append(one)
    return [Study(name, tuple(members)) for name, members in studies.items()]


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Writes `rejects.csv`: a row a file left out."""
    with whole_file(path) as temporary:
        table = pd.DataFrame(rejects, columns=["path", "reason", "detail"])
        table.to_csv(temporary, index=False, lineterminator="\n")


def study_images(members: Sequence[CTSlice], network_input: NetworkInput) -> np.ndarray:
    """The slices of a study as a network wants to see them.

    Args:
        members: along the slice normal.
        network_input: what becomes of each slice.

    Returns:
        uint8, shape (N, size, size, channels).
    """
    images = np.stack([network_input.windowed(x.hu) for x in members])
    if not network_input.neighbours:
        return images
    reach = network_input.neighbours
    rows = find_neighbours(_places(members), reach)
    rows = np.insert(rows, reach, np.arange(len(members)), axis=1)
    return np.stack([stack_slices(images[row]) for row in rows])


def _places(members: Sequence[CTSlice]) -> pd.DataFrame:
    names = ("study_id", "series_id", "slice_id", "position_mm")
    return pd.DataFrame({name: [getattr(x.header, name) for x in members] for name in names})

"""DICOM files to studies: first the headers of all files, then the pixels study by study."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject, Source, find_sources
from tfrecords_tools.dicom.parsing import ChangedHeaderError
from tfrecords_tools.dicom.reader import CTSlice, FileHeader, read_header, read_hu
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.planning.neighbours import find_neighbours
from tfrecords_tools.planning.rejected import DUPLICATE_ID
from tfrecords_tools.progress import progress
from tfrecords_tools.windows import stack_slices


@dataclass(frozen=True)
class SliceFile:
    """A file whose header was read and whose pixels were not."""

    source: Source
    header: FileHeader

    def read(self) -> CTSlice:
        """The slice in HU.

        Raises:
            RejectedSlice: if the pixels cannot be read.
            OSError: if the file no longer exists.
        """
        with self.source.open() as file:
            try:
                hu = read_hu(file, self.header.format, self.header.mark)
            except ChangedHeaderError as error:
                raise RejectedSlice("bad_header", "the file changed while it was read") from error
        return CTSlice(self.header.slice, hu)


@dataclass(frozen=True)
class Study:
    """The files of a study."""

    study_id: str
    files: tuple[SliceFile, ...]  # by series, and along the slice normal

    def read(self) -> tuple[list[tuple[SliceFile, CTSlice]], list[Reject]]:
        """The files whose pixels can be read, with their slices, and the others."""
        read, rejects = [], []
        for file in self.files:
            try:
                read.append((file, file.read()))
            except RejectedSlice as rejection:
                rejects.append(file.source.rejected(rejection))
        return read, rejects


@dataclass(frozen=True, eq=False)
class ReadStudy:
    """A study whose pixels were read."""

    study_id: str  # Study Instance UID, or ""
    files: tuple[SliceFile, ...]  # those that could be read
    slices: tuple[CTSlice, ...]  # their slices in HU, in the same order
    images: np.ndarray  # the inputs of the network, uint8, shape (N, size, size, channels)


def find_studies(paths: Sequence[Path]) -> tuple[list[Study], list[Reject]]:
    """The studies in the paths, by their headers, and the files that belong to none.

    Of several files with the same SOP Instance UID the first is taken: each slice is predicted
    once.
    """
    files: dict[str, SliceFile] = {}
    rejects = []
    for source in progress(list(find_sources(paths)), desc="read headers", unit="file"):
        try:
            with source.open() as file:
                header = read_header(file)
            first = files.setdefault(header.slice.slice_id, SliceFile(source, header))
            if first.source is not source:
                raise RejectedSlice(DUPLICATE_ID, f"the SOP Instance UID of {first.source.name}")
        except RejectedSlice as rejection:
            rejects.append(source.rejected(rejection))
    return _by_study(files.values()), rejects


def read_studies(
    studies: Sequence[Study], network_input: NetworkInput, rejects: list[Reject], *, desc: str
) -> Iterator[ReadStudy]:
    """Reads one study after the other; skips those of which nothing can be read.

    Files whose pixels cannot be read are added to `rejects`.
    """
    for study in progress(studies, desc=desc, unit="study"):
        read, unreadable = study.read()
        rejects += unreadable
        if read:
            files, slices = zip(*read, strict=True)
            yield ReadStudy(study.study_id, files, slices, study_images(slices, network_input))


def study_images(slices: Sequence[CTSlice], network_input: NetworkInput) -> np.ndarray:
    """The inputs of the network for a whole study; uint8 (len(slices), size, size, channels)."""
    images = np.stack([network_input.windowed(ct.hu) for ct in slices])
    reach = network_input.neighbours
    if not reach:
        return images
    columns = ("study_id", "series_id", "slice_id", "position_mm")
    headers = pd.DataFrame({x: [getattr(ct.header, x) for ct in slices] for x in columns})
    rows = np.insert(find_neighbours(headers, reach), reach, np.arange(len(slices)), axis=1)
    return np.stack([stack_slices(images[row]) for row in rows])


def _by_study(files: Iterable[SliceFile]) -> list[Study]:
    studies: dict[str, list[SliceFile]] = {}
    in_order = sorted(files, key=lambda x: (x.header.slice.series_id, x.header.slice.position_mm))
    for file in in_order:
        studies.setdefault(file.header.slice.study_id, []).append(file)
    return [Study(study_id, tuple(members)) for study_id, members in studies.items()]

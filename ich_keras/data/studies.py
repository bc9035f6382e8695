"""DICOM files to studies: first the headers of all files, then the pixels series by series.

What belongs together is decided here, for every command: a study is one of a patient, a series one
of a study; where the files do not name them, those of a folder or archive belong together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from ich_keras.data.cross_section import is_larger_than_a_head
from ich_keras.data.field_of_view import cropped_to_head
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.series import SeriesFacts, ranked_series, series_facts
from ich_keras.data.slice_file import SliceFile
from ich_keras.data.sources import Reject, find_sources
from tfrecords_tools.dicom.enhanced import read_headers
from tfrecords_tools.dicom.orientation import usual_view
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.planning.neighbours import find_neighbours
from tfrecords_tools.planning.rejected import DUPLICATE_ID
from tfrecords_tools.progress import progress
from tfrecords_tools.windows import stack_slices


@dataclass(frozen=True)
class Series:
    """The files of a series, along the slice normal."""

    files: tuple[SliceFile, ...]
    facts: SeriesFacts

    def read(self) -> tuple[list[tuple[SliceFile, CTSlice]], list[Reject]]:
        """The files whose pixels can be read, with their slices, and the others."""
        read, rejects = [], []
        for file in self.files:
            try:
                read.append((file, file.read()))
            except RejectedSlice as rejection:
                rejects.append(file.rejected(rejection))
        return read, rejects


@dataclass(frozen=True)
class Study:
    """The series of a study of one patient; the first that can be read is judged."""

    study_id: str  # Study Instance UID, or ""
    patient_id: str  # Patient ID, or ""
    series: tuple[Series, ...]

    @property
    def files(self) -> tuple[SliceFile, ...]:
        return tuple(file for series in self.series for file in series.files)


@dataclass(frozen=True, eq=False)
class ReadSeries:
    """A series whose pixels were read."""

    files: tuple[SliceFile, ...]  # those that could be read; none for arrays
    facts: SeriesFacts
    slices: tuple[CTSlice, ...]  # in HU, in the order of the files; as these hold them, or cropped
    cropped: bool  # whether they were cropped to the head
    images: np.ndarray  # the inputs of the network, uint8, shape (N, size, size, channels)

    @property
    def slice_ids(self) -> list[str]:
        """Those of the files, which are unique."""
        return [x.slice_id for x in self.files] or [x.header.slice_id for x in self.slices]

    @property
    def position_mm(self) -> np.ndarray:
        """Along the slice normal, (N,); NaN where only the order of the slices is known."""
        headers = (ct.header for ct in self.slices)
        return np.array([x.position_mm if x.placed else np.nan for x in headers])

    def remarks(self) -> list[str]:
        """What a reader of the answer should know, by headers and pixels."""
        return [
            *self.facts.remarks(),
            *["cross-section larger than a head's"] * is_larger_than_a_head(self.slices),
            *["cropped to the head"] * self.cropped,
        ]


def find_studies(paths: Sequence[Path]) -> tuple[list[Study], list[Reject]]:
    """The studies in the paths, by their headers, and the files that belong to none.

    A file that holds the slice of another file again is left out: each slice is predicted once.
    """
    files: dict[str, list[SliceFile]] = {}
    rejects = []
    for source in progress(list(find_sources(paths)), desc="read headers", unit="file"):
        try:
            with source.open() as content:
                headers = read_headers(content)
        except RejectedSlice as rejection:
            rejects.append(source.rejected(rejection))
            continue
        for file in [SliceFile(source, header) for header in headers]:
            try:
                _add(files.setdefault(file.slice_id, []), file)
            except RejectedSlice as rejection:
                rejects.append(file.rejected(rejection))
    return _by_study([file for same in files.values() for file in same]), rejects


def read_series(
    series: Iterable[Series], network_input: NetworkInput, rejects: list[Reject]
) -> Iterator[ReadSeries]:
    """Reads one series after the other; skips those of which nothing can be read.

    Files whose pixels cannot be read are added to `rejects`.
    """
    for each in series:
        read, unreadable = each.read()
        rejects += unreadable
        if read:
            files, slices = zip(*read, strict=True)
            yield seen_series(slices, each.facts, network_input, files)


def seen_series(
    slices: Sequence[CTSlice],
    facts: SeriesFacts,
    network_input: NetworkInput,
    files: tuple[SliceFile, ...] = (),
) -> ReadSeries:
    """A series along the slice normal as a network sees it."""
    seen = cropped_to_head(slices)
    cropped = seen[0].hu.shape != slices[0].hu.shape
    return ReadSeries(files, facts, seen, cropped, series_images(seen, network_input))


def series_images(slices: Sequence[CTSlice], network_input: NetworkInput) -> np.ndarray:
    """The inputs of the network for a whole series; uint8 (len(slices), size, size, channels)."""
    # The view is that of the slice, which may be cropped, and not that of its file.
    images = np.stack([network_input.windowed(usual_view(ct.header).apply(ct.hu)) for ct in slices])
    reach = network_input.neighbours
    if not reach:
        return images
    columns = ("study_id", "series_id", "slice_id", "position_mm")
    headers = pd.DataFrame({x: [getattr(ct.header, x) for ct in slices] for x in columns})
    rows = np.insert(find_neighbours(headers, reach), reach, np.arange(len(slices)), axis=1)
    return np.stack([stack_slices(images[row]) for row in rows])


def _add(same_id: list[SliceFile], file: SliceFile) -> None:
    """Adds a file to those with its SOP Instance UID; RejectedSlice if it holds the same slice.

    Exports exist in which all slices of a series have one, so pixels and positions decide.
    """
    for other in same_id:
        if _place(other) == _place(file) and _same_pixels(other, file):
            raise RejectedSlice(DUPLICATE_ID, f"the slice of {other.source.name} again")
    same_id.append(replace(file, number=len(same_id) + 1))


def _same_pixels(one: SliceFile, other: SliceFile) -> bool:
    try:
        return np.array_equal(one.read().hu, other.read().hu)
    except RejectedSlice:  # which is said when the pixels are to be predicted
        return False


def _place(file: SliceFile) -> tuple[object, ...]:
    header = file.header.slice
    return header.patient_id, header.study_id, header.series_id, header.position


def _by_study(files: Sequence[SliceFile]) -> list[Study]:
    return [
        Study(members[0].header.slice.study_id, members[0].header.slice.patient_id, series)
        for members in _groups(files, _study_key)
        for series in [series_of(members)]
    ]


def series_of(files: Sequence[SliceFile]) -> tuple[Series, ...]:
    """The series of a study's files, the one to judge first."""
    series = [
        Series(members, series_facts([x.header.slice for x in members]))
        for members in _groups(files, _series_key)
    ]
    return tuple(series[i] for i in ranked_series([x.facts for x in series]))


def _groups(
    files: Sequence[SliceFile], key: Callable[[SliceFile], tuple[str, ...]]
) -> Iterator[tuple[SliceFile, ...]]:
    """Files with an equal key, each group along the slice normal."""
    along = sorted(files, key=lambda x: (key(x), x.header.slice.position_mm, x.source.name))
    return (tuple(members) for _, members in groupby(along, key))


def _study_key(file: SliceFile) -> tuple[str, ...]:
    header = file.header.slice
    return header.patient_id, header.study_id or f"in {file.source.place}"


def _series_key(file: SliceFile) -> tuple[str, ...]:
    return (file.header.slice.series_id or f"in {file.source.place}",)

"""One slice of the files that a user gives: a file, or a frame of an enhanced CT."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ich_keras.data.sources import Reject, Source
from tfrecords_tools.dicom.enhanced import Frames, read_frames
from tfrecords_tools.dicom.parsing import ChangedHeaderError, HeaderMark
from tfrecords_tools.dicom.pixels import PixelFormat
from tfrecords_tools.dicom.reader import CTSlice, FileHeader, read_hu
from tfrecords_tools.dicom.rejection import RejectedSlice

FRAMED_FILES = 2  # enhanced CTs whose pixels are kept in memory, so that two can be compared


@dataclass(frozen=True)
class SliceFile:
    """A slice whose header was read and whose pixels were not."""

    source: Source
    header: FileHeader
    number: int = 1  # among different slices with one SOP Instance UID

    @property
    def slice_id(self) -> str:
        """SOP Instance UID, made unique where files share one and are not the same slice."""
        name = self.header.slice.slice_id
        return name if self.number == 1 else f"{name}#{self.number}"

    @property
    def frame(self) -> int | None:
        """Its number in the file, from 1; None if it is the whole file."""
        return self.header.frame.number if self.header.frame else None

    def read(self) -> CTSlice:
        """The slice in HU; RejectedSlice if the pixels cannot be read."""
        try:
            return CTSlice(self.header.slice, self._read_hu())
        except ChangedHeaderError as error:
            raise RejectedSlice("bad_header", "the file changed while it was read") from error

    def rejected(self, rejection: RejectedSlice) -> Reject:
        """The row of `rejects.csv`."""
        if self.frame:
            detail = f"frame {self.frame}: {rejection.detail}"
            rejection = RejectedSlice(rejection.reason, detail)
        return self.source.rejected(rejection)

    def _read_hu(self) -> np.ndarray:
        mark, pixels, frame = self.header.mark, self.header.format.pixels, self.header.frame
        if frame is None:
            with self.source.open() as file:
                return read_hu(file, self.header.format, mark)
        frames = _frames(self.source, frame.count, pixels, mark)
        if isinstance(frames, RejectedSlice):
            raise frames
        return frames.read_hu(frame.number, self.header.format)


@lru_cache(maxsize=FRAMED_FILES)
def _frames(
    source: Source, count: int, pixels: PixelFormat, mark: HeaderMark
) -> Frames | RejectedSlice:
    """The pixels of a file, which is opened once for all its frames."""
    try:
        with source.open() as file:
            return read_frames(file, count, pixels, mark)
    except RejectedSlice as rejection:
        return rejection

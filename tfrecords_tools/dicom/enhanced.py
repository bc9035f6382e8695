"""Enhanced CT: the frames of one file are slices of a series (PS3.3 A.38 and A.70).

Each frame gets the header and the Pixel Data that it would have as a file of its own, and is then
read like any other slice.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO, NamedTuple

import numpy as np
from pydicom.encaps import encapsulate, generate_frames

from tfrecords_tools.dicom.functional_groups import FrameGroups, frame_dataset, frame_groups
from tfrecords_tools.dicom.header import is_enhanced
from tfrecords_tools.dicom.parsing import (
    MAX_BYTES,
    Elements,
    HeaderMark,
    check_size,
    read_elements,
    read_pixel_data,
)
from tfrecords_tools.dicom.pixels import PixelFormat, native_length, stored_values
from tfrecords_tools.dicom.reader import FileHeader, Frame, SliceFormat, header_of
from tfrecords_tools.dicom.rejection import RejectedSlice, rejecting
from tfrecords_tools.dicom.rescale import hounsfield

MAX_ENHANCED_BYTES = 4 * MAX_BYTES  # about 1,000 slices of 512 x 512 pixels


class Frames(NamedTuple):
    """The pixels of an enhanced CT."""

    contents: Sequence[bytes | memoryview]  # of each frame, like the Pixel Data of a slice
    vr: str | None  # of Pixel Data; None if implicit

    def read_hu(self, number: int, slice_format: SliceFormat) -> np.ndarray:
        """A frame in HU; the first is number 1. Raises RejectedSlice like `reader.read_hu`."""
        content = bytes(self.contents[number - 1])
        stored = stored_values(content, self.vr, slice_format.pixels)
        return hounsfield(stored, slice_format.rescale)


def read_headers(file: BinaryIO) -> list[FileHeader]:
    """The headers of a file's slices: one, or one per frame of an enhanced CT.

    The identifier of a frame is `<SOP Instance UID>#<number>`. Raises RejectedSlice like
    `read_header`; for the whole of an enhanced CT also if one of its frames is no axial slice in
    HU.
    """
    elements = read_elements(file, MAX_ENHANCED_BYTES)
    if not is_enhanced(elements.dataset):
        check_size(file, MAX_BYTES)
        return [header_of(elements)]
    groups = frame_groups(elements.dataset)
    numbered = enumerate(groups, start=1)
    return [_frame_header(elements, own, Frame(n, len(groups))) for n, own in numbered]


def read_frames(file: BinaryIO, count: int, pixels: PixelFormat, mark: HeaderMark) -> Frames:
    """The pixels of all frames; raises ChangedHeaderError and RejectedSlice like `read_hu`."""
    content, vr = read_pixel_data(file, pixels.syntax, mark)
    if pixels.decoder.is_native:
        return Frames(_cut(content, count, pixels), vr)
    with rejecting("undecodable", "the frames are not told apart"):
        frames = list(generate_frames(content, number_of_frames=count))
    if len(frames) != count:
        raise RejectedSlice("undecodable", f"{len(frames)} compressed frames, expected {count}")
    return Frames([encapsulate([frame], has_bot=False) for frame in frames], vr)


def _frame_header(elements: Elements, groups: FrameGroups, frame: Frame) -> FileHeader:
    length = -(-elements.pixel_bytes // frame.count)
    try:
        dataset = frame_dataset(elements.dataset, groups)
        header = header_of(elements._replace(dataset=dataset, pixel_bytes=length))
    except RejectedSlice as rejection:
        detail = f"frame {frame.number} of an enhanced CT: {rejection.detail}"
        raise RejectedSlice(rejection.reason, detail) from rejection
    name = f"{header.slice.slice_id}#{frame.number}"
    return replace(header, slice=replace(header.slice, slice_id=name), frame=frame)


def _cut(content: bytes, count: int, pixels: PixelFormat) -> list[memoryview]:
    """Frames of equal length, which no bytes follow but the one that makes the length even."""
    length = native_length(pixels)
    expected = count * length
    if pixels.packed or len(content) != expected + expected % 2:
        detail = f"{len(content)} bytes of Pixel Data, expected {expected} in whole frames"
        raise RejectedSlice("overlong_pixels", detail)
    view = memoryview(content)
    return [view[begin : begin + length] for begin in range(0, expected, length)]

"""Reads a DICOM file as a CT slice in HU, or rejects it with a reason.

A file is accepted only if its pixels are provably HU of one axial slice. In doubt it is rejected: a
rejected slice is counted, a wrong one is believed.

What comes before the pixels is read once and determines how they become HU. The pixels can be read
later and in another process.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfrecords_tools.dicom.header import SliceHeader, slice_header
from tfrecords_tools.dicom.orientation import View, usual_view
from tfrecords_tools.dicom.parsing import Elements, HeaderMark, read_elements, read_pixel_data
from tfrecords_tools.dicom.pixels import PixelFormat, check_length, pixel_format, stored_values
from tfrecords_tools.dicom.rescale import Rescale, hounsfield, read_rescale


@dataclass(frozen=True)
class SliceFormat:
    """How the pixels of a slice become HU; equal for most files of a scanner."""

    pixels: PixelFormat  # to stored values
    rescale: Rescale  # to HU
    view: View = View()  # noqa: RUF009 - frozen; of the HU, for networks


@dataclass(frozen=True)
class Frame:
    """The place of a slice among those of an enhanced CT."""

    number: int  # from 1
    count: int


@dataclass(frozen=True)
class FileHeader:
    """What comes before the pixels of a file, about one slice."""

    slice: SliceHeader  # identity and position
    format: SliceFormat  # how to read the pixels
    mark: HeaderMark  # of the bytes that both were read from
    frame: Frame | None = None  # None if the slice is the whole file


@dataclass(frozen=True, eq=False)
class CTSlice:
    """A slice in HU: float32, shape (rows, columns), all finite, within MIN_HU and MAX_HU."""

    header: SliceHeader
    hu: np.ndarray


def read_slice(source: Path | BinaryIO) -> CTSlice:
    """Reads a CT slice in HU; RejectedSlice if the file is none, or the HU are not certain.

    HU are the stored values through Rescale Slope and Intercept, or the Modality LUT (PS3.3
    C.11.1). MONOCHROME1 changes how a slice is displayed, not what it holds.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_slice(file)
    header = read_header(source)
    return CTSlice(header.slice, read_hu(source, header.format, header.mark))


def read_header(source: Path | BinaryIO) -> FileHeader:
    """Reads what comes before the pixels; RejectedSlice if it is not that of a CT slice in HU."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_header(file)
    return header_of(read_elements(source))


def header_of(elements: Elements) -> FileHeader:
    """Checks what comes before the pixels; RejectedSlice if it is not that of a CT slice in HU."""
    identity = slice_header(elements.dataset)
    pixels = pixel_format(elements.dataset, elements.syntax, identity)
    check_length(pixels, elements.pixel_bytes)
    rescale = read_rescale(elements.dataset)
    if elements.fault:  # last: what a file is matters more than what is wrong with it
        raise elements.fault
    return FileHeader(identity, SliceFormat(pixels, rescale, usual_view(identity)), elements.mark)


def read_hu(file: BinaryIO, slice_format: SliceFormat, mark: HeaderMark) -> np.ndarray:
    """Reads the pixels of a file whose header is known.

    Raises ChangedHeaderError if the header changed since then, and RejectedSlice if the pixels
    cannot be decoded, or are not certainly HU.
    """
    content, vr = read_pixel_data(file, slice_format.pixels.syntax, mark)
    return hounsfield(stored_values(content, vr, slice_format.pixels), slice_format.rescale)

"""One DICOM file to a CT slice in HU, or a refusal with its reason.

A file is taken only where its pixels can be proven to be HU of one axial slice. Where the file
is in doubt it is refused: a slice left out is counted, a wrong one is believed.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from pydicom import Dataset, FileDataset, dcmread
from pydicom.pixels import apply_modality_lut
from pydicom.tag import Tag

from tfrecords_tools.header import (
    PARSER_ERRORS,
    RefusedSlice,
    SliceHeader,
    check_vrs,
    integer,
    integers,
    numbers,
    slice_header,
    texts,
)
from tfrecords_tools.pixels import find_pixel_data, stored_values
from tfrecords_tools.structure import check_structure

AIR = -1000.0  # HU, by definition
MIN_HU, MAX_HU = -4096.0, 32767.0  # padding has been seen down to -3995, metal up to 26,452
AIR_BAND = (-1150.0, -850.0)  # HU; noise spreads air, padding lies below
MIN_AIR_SHARE = 0.002  # of the pixels; a body that fills the field of view still shows 0.005
TRUSTED_INTERCEPT = -100.0  # above it, values are signed HU already, wrapped, or not HU at all
ABOVE_BLOOD = 100.0  # HU; clotted blood reaches 90
MAX_STEP = 8.0  # HU a stored unit of 8 bits; it leaves the brain window, 80 HU wide, ten levels
MAX_BYTES = 128 << 20  # of a file; the largest slice taken has 64 MiB of pixels

# Nothing else is parsed: less to go wrong in a damaged file, and half the time.
_TAGS = [
    Tag(keyword)
    for keyword in (
        "ImageType",
        "SOPClassUID",
        "SOPInstanceUID",
        "Modality",
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "InstanceNumber",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "SliceLocation",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "PixelSpacing",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "ModalityLUTSequence",
        "SharedFunctionalGroupsSequence",
        "PixelData",
    )
]


@dataclass(frozen=True, eq=False)
class CTSlice:
    """A slice in HU: float32, shape (rows, columns), all finite, within MIN_HU and MAX_HU."""

    header: SliceHeader
    hu: np.ndarray


def read_header(source: Path | BinaryIO) -> SliceHeader:
    """Reads what comes before the pixels, and leaves an open file there.

    Raises:
        RefusedSlice: if the header alone shows that the file is no CT slice.
        OSError: if the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_header(file)
    return slice_header(_parse(source, headers_only=True))


def read_stored_bytes(file: BinaryIO) -> bytes:
    """Reads the pixels of a slice as the file stores them, compressed or not.

    Raises:
        RefusedSlice: if the file cannot be parsed.
        OSError: if it cannot be read.
    """
    element = _parse(file, headers_only=False).get_item("PixelData", keep_deferred=True)
    return element.value or b"" if element is not None else b""


def read_slice(source: Path | BinaryIO) -> CTSlice:
    """Reads a CT slice in HU.

    HU are the stored values through Rescale Slope and Intercept, or the Modality LUT (PS3.3
    C.11.1). MONOCHROME1 changes how a slice is displayed, not what it holds. Padding stays as
    low as it is stored, and is never above air.

    Raises:
        RefusedSlice: if the file is no CT slice, or its values are not certainly HU.
        OSError: if the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_slice(file)
    dataset = _parse(source, headers_only=False)
    header = slice_header(dataset)
    pixel_data = find_pixel_data(dataset, header)
    rescale = _rescale(dataset)
    padding = _padding(dataset)
    check_vrs(dataset)
    source.seek(0)
    check_structure(source.read(), MAX_BYTES)
    stored = stored_values(pixel_data)
    hu = _looked_up(dataset, stored) if rescale is None else _rescaled(stored, rescale)
    _clip_padding(hu, stored, padding)
    _check_range(hu)
    if rescale is None or not rescale.certain:
        _check_air(hu)
    return CTSlice(header, hu)


@dataclass(frozen=True)
class _Rescale:
    """From stored values to HU.

    Attributes:
        slope: HU a stored unit.
        intercept: HU of the stored value 0.
        wrapped: whether HU were wrapped into unsigned 12 bits.
        certain: whether the header alone proves that the result is HU.
    """

    slope: float
    intercept: float
    wrapped: bool
    certain: bool


def _parse(file: BinaryIO, *, headers_only: bool) -> FileDataset:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > MAX_BYTES:
        raise RefusedSlice("too_large", f"{size} bytes, expected at most {MAX_BYTES}")
    try:
        return dcmread(file, force=True, specific_tags=_TAGS, stop_before_pixels=headers_only)
    except PARSER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise RefusedSlice("not_dicom", f"{type(error).__name__}: {error}") from error


def _rescale(dataset: Dataset) -> _Rescale | None:
    """What the header says of HU, or None where a Modality LUT says it."""
    rescale_type = texts(dataset, "RescaleType")
    if rescale_type not in ([], ["HU"]):
        raise RefusedSlice("not_hu", f"Rescale Type is {rescale_type}, expected HU")
    bits, signed = integer(dataset, "BitsStored"), integer(dataset, "PixelRepresentation")
    lut = dataset.get_item("ModalityLUTSequence")
    if lut is not None and lut.value:  # else it says nothing, as if it were not there
        if bits <= 8:
            raise RefusedSlice("eight_bit", f"{bits} bits and a Modality LUT")
        if texts(dataset, "RescaleSlope") or texts(dataset, "RescaleIntercept"):
            raise RefusedSlice(
                "no_rescale", "a rescale and a Modality LUT, which exclude each other"
            )
        return None
    slopes, intercepts = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if len(slopes) != 1 or len(intercepts) != 1 or slopes[0] <= 0:
        raise RefusedSlice("no_rescale", f"Rescale Slope {slopes}, Intercept {intercepts}")
    (slope,), (intercept,) = slopes, intercepts
    if max(slope, abs(intercept)) > MAX_HU:
        raise RefusedSlice("implausible_hu", f"Rescale Slope {slope}, Intercept {intercept}")
    if bits <= 8:
        _check_eight_bits(slope, intercept, bits, signed)
    certain = intercept <= TRUSTED_INTERCEPT and bits > 8
    wrapped = (bits, signed, slope) == (12, 0, 1) and not certain
    return _Rescale(slope, AIR if wrapped else intercept, wrapped, certain)


def _check_eight_bits(slope: float, intercept: float, bits: int, signed: int) -> None:
    """Tells HU in 8 bits from a picture: they reach from air to above blood, in small steps."""
    levels = 1 << bits
    lowest = intercept - slope * (levels // 2) * signed
    highest = lowest + slope * (levels - 1)
    if lowest > AIR or highest <= ABOVE_BLOOD or slope > MAX_STEP:
        raise RefusedSlice(
            "eight_bit", f"{bits} bits reach from {lowest:.0f} to {highest:.0f} HU by {slope:g}"
        )


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Pixel Padding Value and its Range Limit (PS3.3 C.7.5.1.1.2) as the bits they are."""
    first = integers(dataset, "PixelPaddingValue")
    last = integers(dataset, "PixelPaddingRangeLimit") or first
    if not first:
        return None
    if len(first) != 1 or len(last) != 1:
        raise RefusedSlice("bad_header", "PixelPaddingValue or its limit has several values")
    return first[0], last[0]


def _rescaled(stored: np.ndarray, rescale: _Rescale) -> np.ndarray:
    if rescale.wrapped:
        stored = _unwrapped(stored)
    if rescale.slope == 1 and rescale.intercept.is_integer():  # single precision is exact then
        return np.add(stored, np.float32(rescale.intercept), dtype=np.float32, casting="same_kind")
    return (stored * np.float64(rescale.slope) + rescale.intercept).astype(np.float32)


def _unwrapped(stored: np.ndarray) -> np.ndarray:
    """Undoes the wrap of HU into unsigned 12 bits that 123 slices of the challenge have.

    Found by Jeremy Howard, 2019: add 1000, subtract 4096 from what then exceeds 12 bits; the
    intercept is then -1000.
    """
    shifted = stored.astype(np.int32) + 1000
    return np.where(shifted >= 4096, shifted - 4096, shifted)


def _looked_up(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    try:
        values = apply_modality_lut(stored, dataset)
    except PARSER_ERRORS as error:
        raise RefusedSlice("bad_header", f"Modality LUT Sequence: {error}") from error
    # A LUT's entries have no sign of their own, and air, which must be found, needs one.
    return values.astype(np.int16).astype(np.float32)


def _clip_padding(hu: np.ndarray, stored: np.ndarray, padding: tuple[int, int] | None) -> None:
    if padding is None:
        return
    # Some writers give -2000 as unsigned 63536: the bits count, read in the sign of the pixels.
    bits = np.array(padding, np.uint16)
    low, high = np.sort(bits.view(np.int16) if stored.dtype.kind == "i" else bits)
    padded = (stored >= low) & (stored <= high)
    hu[padded] = np.clip(hu[padded], MIN_HU, AIR)


def _check_range(hu: np.ndarray) -> None:
    low, high, *_ = cv2.minMaxLoc(hu)
    if not MIN_HU <= low <= high <= MAX_HU:
        raise RefusedSlice("implausible_hu", f"HU from {low:.0f} to {high:.0f}")


def _check_air(hu: np.ndarray) -> None:
    low, high = AIR_BAND
    share = np.count_nonzero((hu > low) & (hu < high)) / hu.size
    if share < MIN_AIR_SHARE:
        raise RefusedSlice(
            "no_air",
            f"{share:.2%} of the pixels lie near {AIR:.0f} HU, expected {MIN_AIR_SHARE:.1%}",
        )

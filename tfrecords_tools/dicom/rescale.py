"""Maps stored values to HU, and checks that they can be HU at all."""

from dataclasses import dataclass

import cv2
import numpy as np
from pydicom import Dataset

from tfrecords_tools.dicom.rejection import RejectedSlice, rejecting
from tfrecords_tools.dicom.values import integer, integers, numbers, texts

AIR = -1000.0  # HU, by definition
MIN_HU, MAX_HU = -4096.0, 32767.0  # padding has been seen down to -3995, metal up to 26,452
AIR_BAND = (-1150.0, -850.0)  # HU; noise spreads air, padding is below
TISSUE = (AIR_BAND[1], 3000.0)  # HU; aerated lung to dental enamel, both included
MIN_AIR_SHARE = 0.002  # of the pixels; a body that fills the field of view still shows 0.005
TRUSTED_INTERCEPT = -100.0  # above it, values are signed HU already, wrapped, or not HU at all
ABOVE_BLOOD = 100.0  # HU; clotted blood reaches 90
MAX_STEP = 8.0  # HU per stored unit of 8 bits; the brain window, 80 HU wide, keeps ten levels


@dataclass(frozen=True)
class Line:
    """HU as a linear function of stored values."""

    slope: float  # HU per stored unit
    intercept: float  # HU of the stored value 0
    wrapped: bool  # whether HU were wrapped into unsigned 12 bits
    certain: bool  # whether the header alone proves that the result is HU


@dataclass(frozen=True)
class Table:
    """HU from a Modality LUT (PS3.3 C.11.1.1)."""

    first: int  # stored value of the first entry
    entries: tuple[int, ...]  # HU of that stored value and of those after it


@dataclass(frozen=True)
class Rescale:
    """How the stored values of a file map to HU."""

    mapping: Line | Table  # of values that are not padding
    padding: tuple[int, int] | None  # first and last stored value of padding, or None


def read_rescale(dataset: Dataset) -> Rescale:
    """Reads how stored values map to HU; RejectedSlice if they do not map to HU."""
    rescale_type = texts(dataset, "RescaleType")
    if rescale_type not in ([], ["HU"]):
        raise RejectedSlice("not_hu", f"Rescale Type is {rescale_type}, expected HU")
    lut = dataset.get_item("ModalityLUTSequence")
    has_table = lut is not None and bool(lut.value)
    signed = bool(integer(dataset, "PixelRepresentation"))  # before pydicom reads a table
    mapping = _table(dataset) if has_table else _line(dataset)
    padding = _padding(dataset, signed)
    return Rescale(mapping, None if padding and _has_tissue(padding, mapping) else padding)


def hounsfield(stored: np.ndarray, rescale: Rescale) -> np.ndarray:
    """Maps stored values to HU.

    Padding keeps its value if that is below air, and becomes air otherwise. `stored` are integers
    of 8, 16 or 32 bits; HU are float32 of the same shape, all finite, within MIN_HU and MAX_HU.
    Raises RejectedSlice if the result is not certainly HU.
    """
    mapping = rescale.mapping
    hu = _mapped(stored, mapping)
    padded = _padded(stored, rescale.padding)
    hu[padded] = np.clip(hu[padded], MIN_HU, AIR)
    _check_range(hu)
    if not (isinstance(mapping, Line) and mapping.certain):
        _check_air(hu, padded)
    return hu


def _line(dataset: Dataset) -> Line:
    bits, signed = integer(dataset, "BitsStored"), integer(dataset, "PixelRepresentation")
    slopes, intercepts = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if len(slopes) != 1 or len(intercepts) != 1 or slopes[0] <= 0:
        raise RejectedSlice("no_rescale", f"Rescale Slope {slopes}, Intercept {intercepts}")
    (slope,), (intercept,) = slopes, intercepts
    if max(slope, abs(intercept)) > MAX_HU:
        raise RejectedSlice("implausible_hu", f"Rescale Slope {slope}, Intercept {intercept}")
    if bits <= 8:
        _check_eight_bits(slope, intercept, bits, signed)
    certain = intercept <= TRUSTED_INTERCEPT and bits > 8
    wrapped = (bits, signed, slope) == (12, 0, 1) and not certain
    return Line(slope, AIR if wrapped else intercept, wrapped, certain)


def _check_eight_bits(slope: float, intercept: float, bits: int, signed: int) -> None:
    """Rejects 8 bits that do not reach from air to above blood in small steps, as a picture."""
    levels = 1 << bits
    lowest = intercept - slope * (levels // 2) * signed
    highest = lowest + slope * (levels - 1)
    if lowest > AIR or highest <= ABOVE_BLOOD or slope > MAX_STEP:
        raise RejectedSlice(
            "eight_bit", f"{bits} bits cover {lowest:.0f} to {highest:.0f} HU in steps of {slope:g}"
        )


def _table(dataset: Dataset) -> Table:
    bits = integer(dataset, "BitsStored")
    if bits <= 8:
        raise RejectedSlice("eight_bit", f"{bits} bits and a Modality LUT")
    if texts(dataset, "RescaleSlope") or texts(dataset, "RescaleIntercept"):
        raise RejectedSlice("no_rescale", "a rescale and a Modality LUT; only one is allowed")
    order = "<" if dataset.original_encoding[1] else ">"
    with rejecting("bad_header", "Modality LUT Sequence"):
        items = dataset.ModalityLUTSequence
        if len(items) != 1:
            raise ValueError(f"{len(items)} items, expected 1")
        count, first, entry_bits = map(int, items[0].LUTDescriptor)
        count = count or 1 << 16
        entries = items[0].LUTData
        if isinstance(entries, bytes):
            entries = np.frombuffer(entries, f"{order}u2").tolist()
        if len(entries) < count or entry_bits != 16:
            raise ValueError(f"{len(entries)} entries of {entry_bits} bits, not {count} of 16")
        # Entries are unsigned by themselves, and air, which must be found, is negative.
        hu = np.array(entries[:count], np.uint16).view(np.int16)
    return Table(first, tuple(hu.tolist()))


def _padding(dataset: Dataset, signed: bool) -> tuple[int, int] | None:
    """First and last stored value of padding, from Pixel Padding Value and its Range Limit."""
    first = integers(dataset, "PixelPaddingValue")
    last = integers(dataset, "PixelPaddingRangeLimit") or first
    if not first:
        return None
    if len(first) != 1 or len(last) != 1:
        raise RejectedSlice("bad_header", "PixelPaddingValue or its limit has several values")
    # Some writers give -2000 as unsigned 63536: the bits count, with the sign of the pixels.
    bits = np.array(first + last, np.uint16)
    low, high = sorted((bits.view(np.int16) if signed else bits).tolist())
    return low, high


def _has_tissue(padding: tuple[int, int], mapping: Line | Table) -> bool:
    """Whether tissue can have one of these values, which means that they are not padding.

    The image itself has no padding values (PS3.3 C.7.5.1.1.2). A header with padding 0 and
    intercept 0 contradicts that: applied, it would turn cerebrospinal fluid into air.
    """
    low, high = padding
    hu = _mapped(np.arange(low, high + 1), mapping)
    return bool(((hu >= TISSUE[0]) & (hu <= TISSUE[1])).any())


def _mapped(stored: np.ndarray, mapping: Line | Table) -> np.ndarray:
    return _on_line(stored, mapping) if isinstance(mapping, Line) else _looked_up(stored, mapping)


def _on_line(stored: np.ndarray, line: Line) -> np.ndarray:
    if line.wrapped:
        stored = _unwrapped(stored)
    if line.slope == 1 and line.intercept.is_integer():  # exact in single precision
        hu = stored.astype(np.float32)
        hu += np.float32(line.intercept)
        return hu
    return (stored * np.float64(line.slope) + line.intercept).astype(np.float32)


def _unwrapped(stored: np.ndarray) -> np.ndarray:
    """Undoes the wrap of HU into unsigned 12 bits, seen in 123 slices of the challenge.

    Found by Jeremy Howard, 2019: add 1000, then subtract 4096 from what exceeds 12 bits. The
    intercept of the result is -1000.
    """
    shifted = stored.astype(np.int32) + 1000
    return np.where(shifted >= 4096, shifted - 4096, shifted)


def _looked_up(stored: np.ndarray, table: Table) -> np.ndarray:
    # pydicom's function subtracts in the type of the pixels, so bright ones can become air.
    place = stored.astype(np.int64) - table.first
    return np.array(table.entries, np.float32)[np.clip(place, 0, len(table.entries) - 1)]


def _padded(stored: np.ndarray, padding: tuple[int, int] | None) -> np.ndarray | slice:
    """Index of the padding pixels."""
    if padding is None:
        return slice(0)  # none
    return (stored >= padding[0]) & (stored <= padding[1])


def _check_range(hu: np.ndarray) -> None:
    low, high, *_ = cv2.minMaxLoc(hu)
    if not MIN_HU <= low <= high <= MAX_HU:
        raise RejectedSlice("implausible_hu", f"HU from {low:.0f} to {high:.0f}")


def _check_air(hu: np.ndarray, padded: np.ndarray | slice) -> None:
    low, high = AIR_BAND
    near_air = (hu > low) & (hu < high)
    near_air[padded] = False  # the header sets their HU, so they cannot confirm it
    share = np.count_nonzero(near_air) / hu.size
    if share < MIN_AIR_SHARE:
        raise RejectedSlice(
            "no_air",
            f"{share:.2%} of the pixels are near {AIR:.0f} HU, expected {MIN_AIR_SHARE:.1%}",
        )

"""Reads the values of elements from their bytes, not as pydicom converts them.

`float` and `int` read 1_0 as 10 and accept digits of any script. Identifiers that are not valid
UTF-8 must stay distinct, which latin-1 guarantees and a replacement character does not.
"""

import functools
import math
import re
import struct
import warnings

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.config import strict_reading
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32, STR_VR, VR

from tfrecords_tools.dicom.rejection import RejectedSlice

# Their bytes are the same text. GDCM and ITK read them alike, but refuse numbers in another VR.
_TEXT_VRS = STR_VR - {VR.DS, VR.IS}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # PS3.5 6.2
_tag = functools.cache(Tag)  # pydicom searches for a keyword each time


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a text element, stripped; none if it is missing or empty."""
    content = _content(dataset, keyword)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # never fails, and keeps identifiers distinct
    values = [value.strip(" \0") for value in text.split("\\")]
    return values if any(values) else []


def decoded(dataset: Dataset, keyword: str) -> str:
    """A text element decoded by Specific Character Set (PS3.3 C.12.1.1.2), not split into values.

    LookupError or ValueError if it is not text in one of the declared character sets.
    """
    with strict_reading(), warnings.catch_warnings(action="ignore"):
        encodings = convert_encodings(texts(dataset, "SpecificCharacterSet"))
        return decode_bytes(_content(dataset, keyword), encodings, set()).strip(" \0")


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of an element of decimal or integer strings."""
    values = texts(dataset, keyword)
    if not all(_NUMBER.fullmatch(value) for value in values):
        raise RejectedSlice("bad_header", f"{keyword} has a value that is not a number")
    parsed = tuple(map(float, values))
    if not all(map(math.isfinite, parsed)):
        raise RejectedSlice("bad_header", f"{keyword} has a number out of range")
    return parsed


def integers(dataset: Dataset, keyword: str) -> list[int]:
    """The values of an element of unsigned 16-bit integers."""
    content = _content(dataset, keyword)
    if len(content) % 2:
        raise RejectedSlice(
            "bad_header", f"{keyword} has {len(content)} bytes, expected 2 per value"
        )
    order = "<" if dataset.original_encoding[1] else ">"
    return [value for (value,) in struct.iter_unpack(f"{order}H", content)]


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """The one value of an element of unsigned 16-bit integers."""
    values = integers(dataset, keyword)
    if not values and default is not None:
        return default
    if len(values) != 1:
        raise RejectedSlice("bad_header", f"{keyword} has {len(values)} values, expected 1")
    return values[0]


@functools.cache
def allowed_vrs(tag: BaseTag) -> frozenset[str | None]:
    """The VRs that a value may have in a file; None is that of implicit VR."""
    try:
        return frozenset((*dictionary_VR(tag).split(" or "), "UN", None))
    except KeyError:
        return frozenset((*EXPLICIT_VR_LENGTH_16, *EXPLICIT_VR_LENGTH_32, None))


def vr_advice(element: RawDataElement | DataElement) -> str:
    """What mends a wrong VR; implicit VR only where the bytes mean the same in the right one."""
    is_text = not STR_VR.isdisjoint(allowed_vrs(element.tag))
    if element.VR in (STR_VR if is_text else (VR.US, VR.SS)):
        return "`gdcmconv --implicit IN OUT` writes it without"
    return "export again"


def _content(dataset: Dataset, keyword: str) -> bytes:
    element = dataset.get_item(_tag(keyword), keep_deferred=True)
    if element is None:
        return b""
    if not isinstance(element, RawDataElement) or not _has_its_vr(element):
        raise RejectedSlice(
            "bad_header", f"{keyword} has the VR {element.VR}; {vr_advice(element)}"
        )
    return element.value or b""


def _has_its_vr(element: RawDataElement) -> bool:
    allowed = allowed_vrs(element.tag)
    return element.VR in allowed or (element.VR in _TEXT_VRS and not _TEXT_VRS.isdisjoint(allowed))

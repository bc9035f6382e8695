"""Whether the elements of a file stand as they must: each whole, one behind the other.

Parsers go on where they can: at a value that is cut off, at an element that stands twice, of which
one takes the first and another the last, at junk behind the pixels. What a file holds would then
depend on who reads it.
"""

import functools
import struct
from typing import NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

_UNDEFINED = 0xFFFFFFFF  # a length that the delimiter at its end tells
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 32  # levels of sequences; real files have five or so
_LONG_VRS = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32}
_SHORT_VRS = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_16}


class Form(NamedTuple):
    """How elements are written.

    Attributes:
        implicit_vr: without their VR.
        little_endian: the lowest byte of a number first.
    """

    implicit_vr: bool
    little_endian: bool

    @property
    def order(self) -> str:
        """Of bytes, as struct has it."""
        return "<" if self.little_endian else ">"


class _Element(NamedTuple):
    tag: int
    vr: bytes  # empty where implicit
    value: int  # where it begins
    length: int


def check_elements(
    content: bytes, form: Form, before: int = -1, *, zeros_behind: bool = False
) -> None:
    """Follows elements from the first byte to the last.

    Args:
        content: the elements.
        form: how they are written.
        before: tag of the element that stands before them.
        zeros_behind: whether zeros may follow the last element, as where files fill whole blocks.

    Raises:
        ValueError: unless they ascend, each whole.
        struct.error: if they end within one.
    """
    place, end = 0, len(content.rstrip(b"\0") if zeros_behind else content)
    while place < end:
        element = _element(content, place, form)
        if element.tag <= before:
            raise ValueError(f"{element.tag:08X} stands behind {before:08X}")
        if _is_of_image(element.tag) and element.vr not in _vrs(element.tag):
            raise ValueError(f"{element.tag:08X} has the VR {element.vr.decode()}")
        before = element.tag
        place = _end(content, element, form, _DEEPEST)


def check_fragments(content: bytes) -> None:
    """Follows a table of offsets, which may be empty, and the fragments of compressed pixels.

    Raises:
        ValueError: unless they are whole, and none is empty; GDCM reads none behind such a one.
        struct.error: if they end within one.
    """
    place = 0
    while place < len(content):
        item = _element(content, place, Form(implicit_vr=False, little_endian=True))
        end = _said_end(content, item)
        if item.tag != _ITEM or end is None or (place and not item.length):
            raise ValueError("a fragment of the pixels is empty, or none")
        place = end


def _is_of_image(tag: int) -> bool:
    """Image pixels and overlays: what decoders look at, and stop at where it has another VR."""
    group = tag >> 16
    return group == 0x0028 or group & 0xFF00 == 0x6000


@functools.cache
def _vrs(tag: int) -> set[bytes]:
    """How a value may be written; UN, and none where implicit, if the file does not say."""
    try:
        return {*dictionary_VR(tag).encode().split(b" or "), b"UN", b""}
    except KeyError:
        return _SHORT_VRS | _LONG_VRS | {b""}


def _element(content: bytes, place: int, form: Form) -> _Element:
    group, number = struct.unpack_from(form.order + "HH", content, place)
    tag = group << 16 | number
    if form.implicit_vr or group == _ITEM >> 16:
        (length,) = struct.unpack_from(form.order + "I", content, place + 4)
        return _Element(tag, b"", place + 8, length)
    vr = content[place + 4 : place + 6]
    if vr in _SHORT_VRS:
        (length,) = struct.unpack_from(form.order + "H", content, place + 6)
        return _Element(tag, vr, place + 8, length)
    if vr not in _LONG_VRS:
        raise ValueError(f"{tag:08X} has the unknown VR {vr!r}")
    (length,) = struct.unpack_from(form.order + "I", content, place + 8)
    return _Element(tag, vr, place + 12, length)


def _end(content: bytes, element: _Element, form: Form, depth: int) -> int:
    """Where the next element begins; the items of a sequence are followed up to there."""
    end = _said_end(content, element)
    if element.tag >> 16 == _ITEM >> 16:
        raise ValueError(f"{element.tag:08X} stands outside of any sequence")
    if end is not None and element.vr != b"SQ":
        return end
    if not depth:
        raise ValueError(f"sequences are nested more than {_DEEPEST} levels deep")
    # Unknown to whoever wrote it, its items are as they were before (PS3.5 6.2.2).
    inner = Form(implicit_vr=True, little_endian=True) if element.vr == b"UN" else form
    place = element.value
    while end is None or place < end:
        item = _element(content, place, inner)
        if (item.tag, item.length, end) == (_SEQUENCE_END, 0, None):
            return item.value
        if item.tag != _ITEM:
            raise ValueError(f"{item.tag:08X} among the items of {element.tag:08X}")
        place = _item_end(content, item, inner, depth - 1)
    return _exactly(place, end, element)


def _item_end(content: bytes, item: _Element, form: Form, depth: int) -> int:
    end, place = _said_end(content, item), item.value
    while end is None or place < end:
        element = _element(content, place, form)
        if element.tag == _ITEM_END and end is None:
            return element.value
        place = _end(content, element, form, depth)
    return _exactly(place, end, item)


def _said_end(content: bytes, element: _Element) -> int | None:
    """The end of an element as it says itself, if it does."""
    if element.length == _UNDEFINED:
        return None
    end = element.value + element.length
    if end > len(content):
        raise ValueError(f"it ends within {element.tag:08X}")
    return end


def _exactly(place: int, end: int, element: _Element) -> int:
    if place != end:
        raise ValueError(f"{element.tag:08X} has {place - end} bytes more than it says")
    return place

"""Whether the elements of a file stand as they must: one behind the other, to its very end.

Parsers go on where they can: at a value that is cut off, at an element that stands twice, of which
one takes the first and another the last, at junk behind the pixels. What a file holds would then
depend on who reads it.
"""

import functools
import struct
import zlib
from typing import NamedTuple

from pydicom import uid
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from tfrecords_tools.header import RefusedSlice

_UNDEFINED = 0xFFFFFFFF  # a length that the delimiter at its end tells
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_META, _SYNTAX = 2, 0x00020010  # the group of the file meta
_DEEPEST = 32  # levels of sequences; real files have five or so
_LONG_VRS = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32}
_SHORT_VRS = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_16}


class _Form(NamedTuple):
    """How elements are written."""

    order: str  # of bytes, as struct has it
    implicit: bool


class _Element(NamedTuple):
    tag: int
    vr: bytes  # empty where implicit
    value: int  # where it begins
    length: int


_EXPLICIT, _IMPLICIT = _Form("<", implicit=False), _Form("<", implicit=True)
_BIG_ENDIAN = _Form(">", implicit=False)


def check_structure(content: bytes, limit: int) -> None:
    """Follows the elements of a file.

    Args:
        content: the file.
        limit: bytes that a deflated one may have when it is inflated.

    Raises:
        RefusedSlice: unless they ascend, each whole, from the first byte to the last.
    """
    try:
        _check(content, limit)
    except (struct.error, zlib.error, ValueError) as error:
        raise RefusedSlice("not_dicom", f"no whole DICOM file: {error}") from error


def _check(content: bytes, limit: int) -> None:
    place = 132 if content[128:132] == b"DICM" else 0
    syntax, before = b"", -1
    while struct.unpack_from("<H", content, place) == (_META,):
        element, place = _checked(content, place, _EXPLICIT, before)
        before = element.tag
        if element.tag == _SYNTAX:
            syntax = content[element.value : place].rstrip(b"\0 ")
    if syntax == uid.DeflatedExplicitVRLittleEndian.encode():
        content, place = _inflated(content[place:], limit), 0
    form = _EXPLICIT
    if syntax == uid.ImplicitVRLittleEndian.encode():
        form = _IMPLICIT
    elif syntax == uid.ExplicitVRBigEndian.encode():
        form = _BIG_ENDIAN
    while place < len(content):
        element, place = _checked(content, place, form, before)
        before = element.tag


def _checked(content: bytes, place: int, form: _Form, before: int) -> tuple[_Element, int]:
    """The element at a place, and where the next one begins."""
    element = _element(content, place, form)
    if element.tag <= before:
        raise ValueError(f"{element.tag:08X} stands behind {before:08X}")
    if _is_of_image(element.tag) and element.vr not in _vrs(element.tag):
        raise ValueError(f"{element.tag:08X} has the VR {element.vr.decode()}")
    return element, _end(content, element, form, _DEEPEST)


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


def _element(content: bytes, place: int, form: _Form) -> _Element:
    group, number = struct.unpack_from(form.order + "HH", content, place)
    tag = group << 16 | number
    if form.implicit or group == _ITEM >> 16:
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


def _end(content: bytes, element: _Element, form: _Form, depth: int) -> int:
    """Where the next element begins; the items of a sequence are followed up to there."""
    end = _said_end(content, element)
    if element.tag >> 16 == _ITEM >> 16:
        raise ValueError(f"{element.tag:08X} stands outside of any sequence")
    if end is not None and element.vr != b"SQ":
        return end
    if element.vr in (b"OB", b"OW"):
        return _fragments_end(content, element, form)
    if not depth:
        raise ValueError(f"sequences are nested more than {_DEEPEST} levels deep")
    # Unknown to whoever wrote it, its items are as they were before (PS3.5 6.2.2).
    inner = _IMPLICIT if element.vr == b"UN" else form
    place = element.value
    while end is None or place < end:
        item = _element(content, place, inner)
        if (item.tag, item.length, end) == (_SEQUENCE_END, 0, None):
            return item.value
        if item.tag != _ITEM:
            raise ValueError(f"{item.tag:08X} among the items of {element.tag:08X}")
        place = _item_end(content, item, inner, depth - 1)
    return _exactly(place, end, element)


def _fragments_end(content: bytes, element: _Element, form: _Form) -> int:
    """Behind a table of offsets, which may be empty, and the fragments of compressed pixels."""
    place = element.value
    while (item := _element(content, place, form)).tag == _ITEM:
        end = _said_end(content, item)
        if end is None or (not item.length and place > element.value):
            raise ValueError(f"a fragment of {element.tag:08X} is empty or has no length")
        place = end
    if (item.tag, item.length) != (_SEQUENCE_END, 0):
        raise ValueError(f"{item.tag:08X} among the fragments of {element.tag:08X}")
    return item.value


def _item_end(content: bytes, item: _Element, form: _Form, depth: int) -> int:
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


def _inflated(packed: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    content = inflater.decompress(packed, limit)
    if not inflater.eof:
        raise ValueError(f"deflated, and without an end within {limit} bytes")
    if inflater.unused_data.strip(b"\0"):
        raise ValueError("bytes behind the deflated ones")
    return content

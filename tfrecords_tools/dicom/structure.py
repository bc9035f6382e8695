"""Checks that the elements that pydicom reads are whole and in order.

Parsers read on where they can: past a value that is cut off, past an element that occurs twice, of
which one parser takes the first and another the last, past junk after the pixels. What a file holds
would then depend on who reads it.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from tfrecords_tools.dicom.values import allowed_vrs, vr_advice

Element: TypeAlias = RawDataElement | DataElement  # the latter are sequences of undefined length

UNDEFINED = 0xFFFFFFFF  # a length: the value ends at a delimiter
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
EXPLICIT_VRS = EXPLICIT_VR_LENGTH_16 | EXPLICIT_VR_LENGTH_32
_SORT = "unless another file begins there, `gdcmconv --raw IN OUT` sorts the elements"
_DEEPEST = 32  # levels of nested sequences; real files have about five


class Form(NamedTuple):
    """How elements are written: with or without their VR, and in which byte order."""

    implicit_vr: bool
    little_endian: bool

    @property
    def item(self) -> struct.Struct:
        """Group, number and length of an item or a delimiter."""
        return struct.Struct("<HHI" if self.little_endian else ">HHI")


META = Form(implicit_vr=False, little_endian=True)
_UNKNOWN = Form(implicit_vr=True, little_endian=True)  # items of a UN (PS3.5 6.2.2)


def check_elements(
    elements: Iterable[Element], content: bytes, place: int, form: Form, after: int = -1
) -> int:
    """Checks that no element occurs twice, each whole and in a VR that decoders of images expect.

    The elements are as pydicom reads them, from `place` in `content` on. Their tags are above
    `after`, in any order: readers sort them. Returns where they end; ValueError names the first
    fault.
    """
    tags: set[int] = set()
    for element in elements:
        if element.tag <= after:
            raise ValueError(f"{element.tag:08X} follows {after:08X}")
        if element.tag in tags:
            raise ValueError(f"{element.tag:08X} occurs twice; readers take different ones")
        if _is_of_image(element.tag.group) and element.VR not in allowed_vrs(element.tag):
            raise ValueError(f"{element.tag:08X} has the VR {element.VR}; {vr_advice(element)}")
        tags.add(element.tag)
        place += _size(element, content, form, _DEEPEST)
    return place


def check_rest(content: bytes, form: Form, before: int) -> None:
    """Checks the rest of a file like `check_elements`; zeros may follow, to fill whole blocks.

    These elements ascend from the tag `before` on: those of the header must not be among them.
    """
    reader = data_element_generator(io.BytesIO(content), *form)
    place, end = 0, len(content.rstrip(b"\0"))
    while place < end:
        element = next(reader, None)
        if element is None:
            raise ValueError(f"{end - place} bytes at the end are not an element")
        if dictionary_has_tag(element.tag) and element.tag < before:
            raise ValueError(f"{element.tag:08X} follows {before:08X}; {_SORT}")
        place, before = check_elements([element], content, place, form, before), element.tag


def check_fragments(content: bytes) -> None:
    """Checks the offset table, which may be empty, and the fragments of compressed pixels.

    Raises ValueError if one is not whole, or empty: GDCM reads neither that one nor any after it.
    """
    place = 0
    while place < len(content):
        *tag, length = META.item.unpack_from(content, place)
        if tuple(tag) != _ITEM or (place and not length):
            raise ValueError("a fragment of the pixels is empty or missing")
        place += META.item.size + length
    if place != len(content):
        raise ValueError("it ends within a fragment of the pixels")


def _is_of_image(group: int) -> bool:
    """Image pixels and overlays: decoders read them, and crash on some in another VR."""
    return group == 0x0028 or group & 0xFF00 == 0x6000


def _size(element: Element, content: bytes, form: Form, depth: int) -> int:
    """Size of an element with its header, in bytes, counted from all that is in it."""
    header = 12 if not form.implicit_vr and element.VR in EXPLICIT_VR_LENGTH_32 else 8
    if isinstance(element, DataElement):
        return header + _undefined_size(element, content, form, depth)
    if element.VR not in ({None} if form.implicit_vr else EXPLICIT_VRS):
        raise ValueError(f"{element.tag:08X} has the unknown VR {element.VR}")
    if element.tag.group == _ITEM[0]:
        raise ValueError(f"{element.tag:08X} is outside any sequence")
    value = element.value or b""
    if element.length == UNDEFINED and not value:
        return header + form.item.size
    if element.length != len(value):
        raise ValueError(f"it ends within {element.tag:08X}")
    if element.VR == "SQ":
        items = read_sequence(io.BytesIO(value), *form, len(value), "iso8859")
        if _items_size(items, value, 0, form, depth) != len(value):
            raise ValueError(f"the items of {element.tag:08X} do not fill it")
    return header + len(value)


def _undefined_size(element: DataElement, content: bytes, form: Form, depth: int) -> int:
    """Size of a sequence that ends at a delimiter."""
    begin = element.file_tell
    assert begin is not None
    vr = b"" if form.implicit_vr else content[begin - 8 : begin - 6]
    inner = _UNKNOWN if vr == b"UN" else form
    size = _items_size(element.value, content, begin, inner, depth)
    if inner.item.unpack_from(content, begin + size) != (*_SEQUENCE_END, 0):
        raise ValueError(f"{element.tag:08X} has no end")
    return size + inner.item.size


def _items_size(
    items: Sequence[Dataset], content: bytes, begin: int, form: Form, depth: int
) -> int:
    if not depth:
        raise ValueError(f"sequences are nested more than {_DEEPEST} levels deep")
    place = begin
    for item in items:
        group, number, length = form.item.unpack_from(content, place)
        if (group, number) != _ITEM:
            raise ValueError(f"{group:04X}{number:04X} where an item should begin")
        size = sum(_size(element, content, form, depth - 1) for element in item.values())
        if length not in (size, UNDEFINED):
            raise ValueError(f"an item of {length} bytes holds {size}")
        place += form.item.size * (2 if length == UNDEFINED else 1) + size
    return place - begin

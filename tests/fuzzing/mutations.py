"""Damage to DICOM files: to bytes, elements and compressed images.

Seed and number determine the damage, so findings can be reproduced.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword

UNDEFINED = 0xFFFFFFFF
LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UC", b"UR", b"UT")
VRS = (*LONG_VRS, b"AE", b"CS", b"DS", b"FD", b"IS", b"LO", b"PN", b"SH", b"SS", b"UI", b"UL")
VRS += (b"US", b"\0\0", b"??", b"us")
PIXEL_DATA, SYNTAX = 0x7FE00010, 0x00020010
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
BOMB_BYTES = 200 << 20  # a deflated file inflates to
STEPS = (1, 1, 1, 2, 3)  # damages per file; after more, a reader rarely accepts anything

NUMBERS = ("", "0", "-1", "1", "2", "1.5", "-1024", "-1000.5", "0.001", "1e5", "1e308", "1e-320")
NUMBERS += ("nan", "inf", "-inf", "1_0", "0x10", "1,5", "1 5", "--1", "1\\2", "1\\1", "+1", "1.")
NUMBERS += (".5", "\uff11", "\u0661", "1e", "9" * 400, " 1", "1 ", "1\0", "\0", "abc", "-0", "1d2")
IDENTIFIERS = (
    "../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "C:\\x",
    "a\0b",
    "a\nb",
    "a\r\nb,c",
    "\t1",
    "x" * 64,
    "x" * 65,
    "x" * 70_000,
    "\u6f22\u5b57\u2028",
    "\u202eevil",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(1)",
    "-2+3",
    '"quoted", and more',
    "'; DROP TABLE slices; --",
    "$(touch /tmp/x)`id`",
    "%s%n{0}",
    "NaN",
    "",
    " ",
    ".",
    "..",
    "train-00000-of-00001.tfrecord",
)
WORDS = (0, 1, 2, 7, 8, 11, 12, 13, 15, 16, 17, 24, 31, 32, 33, 40, 48, 63, 64, 128, 255, 256)
WORDS += (4095, 4096, 4097, 32767, 32768, 65534, 65535)

KEYWORDS_OF_WORDS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
KEYWORDS_OF_NUMBERS = (
    "RescaleSlope",
    "RescaleIntercept",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceLocation",
    "InstanceNumber",
)
KEYWORDS_OF_IDENTIFIERS = (
    "SOPInstanceUID",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPClassUID",
)
KEYWORDS_OF_TEXT = ("Modality", "ImageType", "PhotometricInterpretation", "RescaleType")
TEXTS = ("", "CT", "MR", "HU", "US", "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR")
TEXTS += ("ORIGINAL\\PRIMARY\\AXIAL", "LOCALIZER", "\\", "HU\\HU", "CT\0", "hu")
SYNTAXES = [syntax for syntax in uid.UID_dictionary if syntax.startswith("1.2.840.10008.1.2")]
SYNTAXES += ["", "1.2.3", "1.2.840.10008.1.2.4.90\\1.2.840.10008.1.2", "x" * 300]


class Sample(NamedTuple):
    """A file to be damaged, or one that was.

    Attributes:
        name: of the file, and of what was done to it.
        content: its bytes.
    """

    name: str
    content: bytes


class Element(NamedTuple):
    """Where an element stands in a file."""

    tag: int
    vr: bytes  # empty where implicit
    start: int
    value: int
    end: int


class Layout(NamedTuple):
    """The elements of a file as far as they can be followed."""

    elements: tuple[Element, ...]
    order: str  # of bytes, "<" or ">"
    implicit: bool

    def of(self, tag: int) -> Element | None:
        return next((x for x in self.elements if x.tag == tag), None)


def damaged(groups: tuple[tuple[Sample, ...], ...], seed: int, number: int) -> Sample:
    """Hostile file `number`: a sample with STEPS kinds of damage."""
    rng = random.Random(f"{seed} {number}")
    sample, others = rng.choice(rng.choice(groups)), rng.choice(groups)
    name, content = sample
    for _ in range(rng.choice(STEPS)):
        kind = rng.choice(rng.choice(KINDS))
        other = rng.choice(others).content
        content = _inside_deflated(content, rng, lambda x: kind(x, rng, other))  # noqa: B023
        name += f" + {kind.__name__.strip('_')}"
    return Sample(name, content)


def completed(sample: Sample) -> Sample:
    """The same with a rescale."""
    content = sample.content
    for keyword, text in (("RescaleIntercept", "-1024"), ("RescaleSlope", "1")):
        content = with_value(content, tag_for_keyword(keyword) or 0, text.encode().ljust(6))
    return Sample(f"{sample.name} + rescale", content)


def without_zeros(content: bytes) -> bytes:
    """The same without zeros behind its last element, and no longer deflated."""
    head, body = _split_meta(content)
    if uid.DeflatedExplicitVRLittleEndian.encode() in head:
        body = zlib.decompressobj(wbits=-15).decompress(body)
        content = with_value(head, SYNTAX, uid.ExplicitVRLittleEndian.encode()) + body
    elements = layout(content).elements
    zeros = (x.start for x in elements if x.tag == 0)
    return content[: next(zeros, max((x.end for x in elements), default=0))]


def layout(content: bytes) -> Layout:
    """Follows the elements of a file up to its end, or to where it cannot be followed."""
    place = 132 if content[128:132] == b"DICM" else 0
    meta, place = _followed(content, place, "<", implicit=False, meta=True)
    syntax = next((content[x.value : x.end] for x in meta if x.tag == SYNTAX), b"").strip(b" \0")
    order = ">" if syntax == uid.ExplicitVRBigEndian.encode() else "<"
    implicit = syntax == uid.ImplicitVRLittleEndian.encode()
    if not syntax:
        implicit = not content[place + 4 : place + 6].isalpha()
    body, _ = _followed(content, place, order, implicit=implicit, meta=False)
    return Layout((*meta, *body), order, implicit)


def bomb(content: bytes, size: int) -> bytes:
    """A deflated file with a private element of `size` zeros; a thousandth of that itself."""
    head, body = _split_meta(content)
    head = with_value(head, SYNTAX, uid.DeflatedExplicitVRLittleEndian.encode())
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, size))
    packed += packer.flush(zlib.Z_FULL_FLUSH)  # what follows can be repeated as it is
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += megabyte * (size >> 20)
    return head + packed + packer.compress(body) + packer.flush()


def nested(levels: int, *, defined: bool) -> bytes:
    """A sequence within a sequence within a sequence, explicit little endian."""
    if not defined:
        opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"
        return opening * levels
    content = b""
    for _ in range(levels):
        item = ITEM + struct.pack("<I", len(content)) + content
        content = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    return content


# --- Bytes ----------------------------------------------------------------------------------


def cut(content: bytes, rng: random.Random, _: bytes) -> bytes:
    return content[: _place(content, rng)]


def flip(content: bytes, rng: random.Random, _: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, rng: random.Random, _: bytes) -> bytes:
    place, filling = _place(content, rng), _filling(rng)
    return content[:place] + filling + content[place + len(filling) :]


def insert(content: bytes, rng: random.Random, _: bytes) -> bytes:
    place = _place(content, rng)
    return content[:place] + _filling(rng) + content[place:]


def delete(content: bytes, rng: random.Random, _: bytes) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.choice((1, 2, 3, 8, 64, 1000)) :]


def repeat(content: bytes, rng: random.Random, _: bytes) -> bytes:
    place, length = _place(content, rng), rng.choice((1, 8, 100, 5000))
    return content[: place + length] + content[place:]


def splice(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return content[: _place(content, rng)] + other[_place(other, rng) :]


def append(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """Elements behind Pixel Data, which a reader may take for those before it."""
    return content + rng.choice((other, _split_meta(other)[1], _filling(rng)))


# --- Elements -------------------------------------------------------------------------------


def length(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """An element that is said to be longer or shorter than it is, or without an end."""
    found = layout(content)
    element = _any(found, rng)
    if element is None:
        return content
    width = 4 if (found.implicit and element.tag >> 16 != 2) or element.vr in LONG_VRS else 2
    true = element.end - element.value
    absurd = (0, 1, true + 1, true - 1, true + 2, 2 * true, 0x7FFFFFFF, 0xFFFFFFF0, UNDEFINED)
    lie = rng.choice(absurd) & (256**width - 1)
    order = found.order if element.tag >> 16 != 2 else "<"
    place = element.value - width
    packed = struct.pack(order + ("I" if width == 4 else "H"), lie)
    return content[:place] + packed + content[element.value :]


def vr(content: bytes, rng: random.Random, _: bytes) -> bytes:
    element = _any(layout(content), rng)
    if element is None or not element.vr:
        return content
    return content[: element.start + 4] + rng.choice(VRS) + content[element.start + 6 :]


def drop(content: bytes, rng: random.Random, _: bytes) -> bytes:
    element = _any(layout(content), rng)
    return content if element is None else content[: element.start] + content[element.end :]


def twice(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """An element that stands twice, the second elsewhere or with another value."""
    found = layout(content)
    first, second = _any(found, rng), _any(found, rng)
    if first is None or second is None:
        return content
    copy = bytearray(content[first.start : first.end])
    if len(copy) > 9 and rng.random() < 0.5:
        copy[-1 - rng.randrange(2)] ^= 1 << rng.randrange(8)
    place = rng.choice((first.end, second.start, len(content)))
    return content[:place] + bytes(copy) + content[place:]


def words(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Absurd Rows x Columns, layouts of bits, padding."""
    found, tag = layout(content), tag_for_keyword(rng.choice(KEYWORDS_OF_WORDS)) or 0
    element = found.of(tag)
    values = [rng.choice(WORDS)]
    if element is not None and element.end - element.value == 2 and rng.random() < 0.5:
        (true,) = struct.unpack(found.order + "H", content[element.value : element.end])
        values = [(true + rng.choice((-1, 1, 2, true))) & 0xFFFF]
    values *= rng.choice((1, 1, 1, 1, 0, 2))
    return with_value(content, tag, struct.pack(f"{found.order}{len(values)}H", *values))


def numbers(content: bytes, rng: random.Random, _: bytes) -> bytes:
    tag = tag_for_keyword(rng.choice(KEYWORDS_OF_NUMBERS)) or 0
    return with_value(content, tag, rng.choice(NUMBERS).encode())


def identifiers(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Paths, formulas, commands, control characters."""
    tag = tag_for_keyword(rng.choice(KEYWORDS_OF_IDENTIFIERS)) or 0
    encoding = rng.choice(("utf-8", "utf-8", "utf-16"))
    return with_value(content, tag, rng.choice(IDENTIFIERS).encode(encoding))


def texts(content: bytes, rng: random.Random, _: bytes) -> bytes:
    tag = tag_for_keyword(rng.choice(KEYWORDS_OF_TEXT)) or 0
    return with_value(content, tag, rng.choice(TEXTS).encode())


def transfer_syntax(content: bytes, rng: random.Random, _: bytes) -> bytes:
    return with_value(content, SYNTAX, rng.choice(SYNTAXES).encode())


def nesting(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Sequences thousands deep, with and without an end."""
    found = layout(content)
    bodies = [x for x in found.elements if x.tag >> 16 > 2]
    place = rng.choice(bodies).start if bodies else len(content)
    levels = rng.choice((10, 500, 3000, 20_000))
    sequence = nested(levels, defined=False)
    if rng.random() < 0.5:
        sequence = nested(min(levels, 3000), defined=True)
    return content[:place] + sequence + content[place:]


def modality_lut(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """A Modality LUT whose descriptor lies."""
    descriptor = [rng.choice((*WORDS, 0)) for _ in range(rng.choice((3, 3, 3, 2, 4)))]
    data = rng.randbytes(rng.choice((0, 2, 512, 8192)))
    packed = struct.pack(f"<{len(descriptor)}H", *descriptor)
    item = struct.pack("<HH2sH", 0x28, 0x3002, b"US", len(packed)) + packed
    item += struct.pack("<HH2sHI", 0x28, 0x3006, b"OW", 0, len(data)) + data
    item = rng.choice((ITEM + struct.pack("<I", len(item)) + item,) * 4 + (b"",))
    for keyword in ("RescaleIntercept", "RescaleSlope"):
        if rng.random() < 0.8:  # beside which there must be none
            content = _without(content, tag_for_keyword(keyword) or 0)
    return with_value(content, 0x00283000, item, b"SQ")


def deflated(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """A deflated file that is a bomb, damaged, or not deflated at all."""
    if rng.random() < 0.02:
        return bomb(content, BOMB_BYTES)
    head, body = _split_meta(content)
    head = with_value(head, SYNTAX, uid.DeflatedExplicitVRLittleEndian.encode())
    packer = zlib.compressobj(6, wbits=rng.choice((-15, -15, -15, 15, 31)))
    packed = packer.compress(body) + packer.flush()
    return head + rng.choice((packed, packed, flip(packed, rng, b""), cut(packed, rng, b""), body))


# --- Images ---------------------------------------------------------------------------------


def offset_table(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """A Basic Offset Table that lies."""
    start, items = _fragments(content)
    if not items:
        return content
    count = rng.choice((0, 1, 1, 2, 300))
    offsets = [rng.choice((0, 1, 8, 100, 1 << 31, UNDEFINED)) for _ in range(count)]
    table = ITEM + struct.pack(f"<I{len(offsets)}I", 4 * len(offsets), *offsets)
    return content[:start] + table + content[items[0][1] :]


def fragment_length(content: bytes, rng: random.Random, _: bytes) -> bytes:
    _, items = _fragments(content)
    if not items:
        return content
    first, last = rng.choice(items)
    true = last - first - 8
    lie = rng.choice((0, 1, true - 1, true + 1, true // 2, 2 * true, 0x7FFFFFFF, UNDEFINED))
    return content[: first + 4] + struct.pack("<I", lie & UNDEFINED) + content[first + 8 :]


def fragment_order(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Fragments lost, doubled, swapped or empty."""
    _, items = _fragments(content)
    if len(items) < 2:
        return content
    parts = [content[first:last] for first, last in items]
    change = rng.randrange(4)
    if change == 0:
        parts.pop(rng.randrange(len(parts)))
    elif change == 1:
        parts.append(rng.choice(parts))
    elif change == 2:
        rng.shuffle(parts)
    else:
        parts.insert(rng.randrange(len(parts)), ITEM + bytes(4))
    return content[: items[0][0]] + b"".join(parts) + content[items[-1][1] :]


def image_header(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Damage in the first bytes of a compressed image: its size, tables, components."""
    return _in_image(content, rng, 200)


def image_body(content: bytes, rng: random.Random, _: bytes) -> bytes:
    return _in_image(content, rng, 1 << 30)


def image_marker(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Another marker, another length of a segment, or a field of one."""
    start, end = _image(content)
    markers = [m.start() + start for m in re.finditer(rb"\xff[\x4f-\xfe]", content[start:end])]
    if not markers:
        return content
    place = rng.choice(markers[:40]) + rng.choice((1, 2, 3, 4, 5, 6, 8, 10, 12))
    value = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
    return content[:place] + bytes([value]) + content[place + 1 :]


def image_cut(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """An image that lacks a part, its end restored and its length kept."""
    start, end = _image(content)
    if end - start < 100:
        return content
    place = rng.randrange(start + 20, end - 10)
    filling = rng.choice((b"\0", b"\xff", b"\x80")) * (end - place - 2)
    rest = rng.choice((filling + b"\xff\xd9", b"\xff\xd9" + filling))
    return content[:place] + rest + content[end:]


BYTES = (cut, flip, overwrite, insert, delete, repeat, splice, append)
ELEMENTS = (length, vr, drop, twice, words, words, words, numbers, numbers, identifiers, texts)
ELEMENTS += (transfer_syntax, nesting, modality_lut, deflated)
IMAGES = (offset_table, fragment_length, fragment_order, image_header, image_body, image_marker)
IMAGES += (image_cut, image_header, image_body, image_marker)
Kind = Callable[[bytes, random.Random, bytes], bytes]
KINDS: tuple[tuple[Kind, ...], ...] = (BYTES, ELEMENTS, ELEMENTS, IMAGES, IMAGES)


def _followed(
    content: bytes, place: int, order: str, *, implicit: bool, meta: bool
) -> tuple[list[Element], int]:
    found = []
    while place + 8 <= len(content):
        group, number = struct.unpack_from(order + "HH", content, place)
        if meta and group != 2:
            break
        size, header, vr = 0, 8, b""
        if implicit:
            (size,) = struct.unpack_from(order + "I", content, place + 4)
        else:
            vr = content[place + 4 : place + 6]
            if vr in LONG_VRS:
                header = 12
                if place + 12 > len(content):
                    break
                (size,) = struct.unpack_from(order + "I", content, place + 8)
            else:
                (size,) = struct.unpack_from(order + "H", content, place + 6)
        value = place + header
        end = _end(content, value) if size == UNDEFINED else min(value + size, len(content))
        found.append(Element(group << 16 | number, vr, place, value, end))
        place = end
    return found, place


def _end(content: bytes, value: int) -> int:
    """Behind the sequence delimiter of an element without a length."""
    end = content.find(DELIMITER, value)
    return len(content) if end < 0 else end + 8


def _inside_deflated(content: bytes, rng: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    """Changes what was deflated, most times, instead of the deflated bytes."""
    head, body = _split_meta(content)
    if uid.DeflatedExplicitVRLittleEndian.encode() not in head or rng.random() < 0.3:
        return change(content) if content else content
    try:
        plain = zlib.decompressobj(wbits=-15).decompress(body, 8 << 20)
    except zlib.error:
        return change(content)
    bare = with_value(head, SYNTAX, uid.ExplicitVRLittleEndian.encode())
    new_head, new_body = _split_meta(change(bare + plain))
    if uid.ExplicitVRLittleEndian.encode() not in new_head:
        return new_head + new_body
    packer = zlib.compressobj(6, wbits=-15)
    return head + packer.compress(new_body) + packer.flush()


def _split_meta(content: bytes) -> tuple[bytes, bytes]:
    place = 132 if content[128:132] == b"DICM" else 0
    _, place = _followed(content, place, "<", implicit=False, meta=True)
    return content[:place], content[place:]


def with_value(content: bytes, tag: int, value: bytes, vr: bytes = b"") -> bytes:
    """The value of an element replaced; it is put in its place where there is none."""
    found = layout(content)
    meta = tag >> 16 == 2
    order = "<" if meta else found.order
    implicit = found.implicit and not meta
    vr = vr or dictionary_VR(tag)[:2].encode()
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        head += struct.pack(order + "I", len(value))
    elif vr in LONG_VRS:
        head += vr + struct.pack(order + "HI", 0, len(value))
    else:
        head += vr + struct.pack(order + "H", len(value) & 0xFFFF)
    old = found.of(tag)
    later = next((x.start for x in found.elements if x.tag > tag), len(content))
    start, end = (old.start, old.end) if old else (later, later)
    changed = content[:start] + head + value + content[end:]
    return _with_group_length(changed, len(changed) - len(content)) if meta else changed


def _without(content: bytes, tag: int) -> bytes:
    element = layout(content).of(tag)
    return content if element is None else content[: element.start] + content[element.end :]


def _with_group_length(content: bytes, growth: int) -> bytes:
    element = layout(content).of(0x00020000)
    if element is None or element.end - element.value != 4:
        return content
    (size,) = struct.unpack_from("<I", content, element.value)
    packed = struct.pack("<I", size + growth & UNDEFINED)
    return content[: element.value] + packed + content[element.end :]


def _fragments(content: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Where encapsulated Pixel Data start, and the items behind the offset table."""
    element = layout(content).of(PIXEL_DATA)
    if element is None or content[element.value : element.value + 4] != ITEM:
        return 0, []
    place, items = element.value, []
    while content[place : place + 4] == ITEM and place + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, place + 4)
        items.append((place, min(place + 8 + size, len(content))))
        place += 8 + size
    return element.value, items[1:]


def _image(content: bytes) -> tuple[int, int]:
    """Where the first fragment of an image lies; else Pixel Data, else the whole file."""
    _, items = _fragments(content)
    if items:
        return items[0][0] + 8, items[0][1]
    element = layout(content).of(PIXEL_DATA)
    return (element.value, element.end) if element else (0, len(content))


def _in_image(content: bytes, rng: random.Random, within: int) -> bytes:
    start, end = _image(content)
    part = content[start : min(end, start + within)]
    if not part:
        return content
    kind = rng.choice((flip, flip, flip, overwrite, insert, delete, repeat))
    changed = kind(part, rng, b"")
    if rng.random() < 0.7:  # of the same length, so that nothing else notices
        changed = changed[: len(part)].ljust(len(part), b"\0")
    return content[:start] + changed + content[start + len(part) :]


def _any(found: Layout, rng: random.Random) -> Element | None:
    return rng.choice(found.elements) if found.elements else None


def _place(content: bytes, rng: random.Random) -> int:
    """A place in a file; every other time in its header."""
    end = min(len(content), rng.choice((1500, len(content))))
    return rng.randrange(end) if end else 0


def _filling(rng: random.Random) -> bytes:
    size = rng.choice((1, 2, 4, 8, 100, 4000))
    return rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size))

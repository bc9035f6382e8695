"""Parses a DICOM file: the elements before the pixels, and the pixels as stored."""

import hashlib
import io
import struct
import zlib
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tfrecords_tools.dicom.rejection import RejectedSlice, rejecting
from tfrecords_tools.dicom.structure import (
    EXPLICIT_VRS,
    META,
    UNDEFINED,
    Element,
    Form,
    check_elements,
    check_fragments,
    check_rest,
)
from tfrecords_tools.dicom.values import texts
from tfrecords_tools.errors import InputError

MAX_BYTES = 128 << 20  # of a file, inflated too; the largest slice taken has 64 MiB of pixels

_PIXEL_DATA = Tag("PixelData")
_ANY_PIXELS = frozenset((_PIXEL_DATA, Tag("FloatPixelData"), Tag("DoubleFloatPixelData")))
_PIXEL_VRS = ("OB", "OW", None)  # None: implicit VR
_META_GROUP = 2
_GROUP_8 = b"\x08\0"  # the first group after the file meta information, in little endian
_ADD_META = "if it is a DICOM file, `gdcmconv --raw IN OUT` adds it"
_WRITE_IMPLICIT = "pydicom's `dcmread(IN).save_as(OUT, implicit_vr=True)` mends it"


class ChangedHeaderError(InputError):
    """A file whose header is not the one that was read before."""


class HeaderMark(NamedTuple):
    """Tells whether a header is still the one that was read."""

    bytes: int  # number of bytes before the pixels; of a deflated file, after inflating
    hash: int


class Elements(NamedTuple):
    """What comes before the pixels of a file."""

    dataset: Dataset  # the elements; `file_meta` holds those of group 2
    syntax: str  # UID of the transfer syntax
    # length of Pixel Data, 0 if there are none; up to the end of the file where only a delimiter
    # ends them, as in compressed files
    pixel_bytes: int
    mark: HeaderMark  # of the bytes that all this was read from
    fault: RejectedSlice | None  # what is not whole or not in order, if anything


def form_of(syntax: str) -> Form:
    """How elements after the file meta information are written (PS3.5 A)."""
    return Form(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)


def check_size(file: BinaryIO, limit: int) -> None:
    """Rejects a file of more bytes than the limit."""
    size = file.seek(0, io.SEEK_END)
    if size > limit:
        raise RejectedSlice("too_large", f"{size} bytes, expected at most {limit}")


def read_elements(file: BinaryIO, limit: int = MAX_BYTES) -> Elements:
    """Reads what comes before the pixels; RejectedSlice if the file is too large or not parsed."""
    check_size(file, limit)
    with rejecting("not_dicom", "cannot be parsed"):
        meta = _read_meta(file)
        file_meta = Dataset({element.tag: element for element in meta})
        syntax = _transfer_syntax(file, file_meta)
        stream = _body(file, syntax)
        body, pixel_bytes = _read_before_pixels(stream, form_of(syntax))
    end = stream.tell()
    stream.seek(0)
    content = stream.read(end)
    fault = _fault(content, meta, body, form_of(syntax))
    dataset = Dataset({element.tag: element for element in body})
    dataset.set_original_encoding(*form_of(syntax))
    dataset.file_meta = file_meta
    return Elements(dataset, syntax, pixel_bytes, _mark(content), fault)


def read_pixel_data(file: BinaryIO, syntax: str, mark: HeaderMark) -> tuple[bytes, str | None]:
    """Reads the value of Pixel Data and its VR, from a file whose header is known.

    Raises ChangedHeaderError if the header changed since then, and RejectedSlice if there are none,
    or if what follows is not whole and in order.
    """
    form = form_of(syntax)
    with rejecting("not_dicom", "cannot be parsed"):
        stream = file
        if syntax == DeflatedExplicitVRLittleEndian:
            _read_meta(file)
            stream = _body(file, syntax)
        stream.seek(0)
        if _mark(stream.read(mark.bytes)) != mark:
            raise ChangedHeaderError("the file changed while it was read; give the command again")
        pixels = next(data_element_generator(_Bounded(stream), *form), None)
        if pixels is None or pixels.tag != _PIXEL_DATA or pixels.VR not in _PIXEL_VRS:
            raise RejectedSlice("no_pixels", "Pixel Data is missing, or its VR is not OB or OW")
        content = pixels.value or b""
        if pixels.length == UNDEFINED and not UID(syntax).is_encapsulated:
            raise RejectedSlice("undecodable", "compressed pixels, declared as uncompressed")
        if len(content) < pixels.length != UNDEFINED:
            raise RejectedSlice("truncated_pixels", f"{len(content)} of {pixels.length} bytes")
    with rejecting("not_dicom", "not a whole DICOM file"):
        if pixels.length == UNDEFINED:
            check_fragments(content)
        check_rest(stream.read(), form, before=_PIXEL_DATA)
    return content, pixels.VR


def short_hash(content: bytes) -> int:
    """The first 56 bits of the SHA-256, which fit an int64."""
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")


def _mark(content: bytes) -> HeaderMark:
    return HeaderMark(len(content), short_hash(content))


class _Bounded:
    """A file that allocates no more than it holds, whatever length an element claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > MAX_BYTES:
            place, end = self.tell(), self.seek(0, io.SEEK_END)
            self.seek(place)
            size = min(size, end - place)
        return self._file.read(size)


def _read_meta(file: BinaryIO) -> list[Element]:
    """Reads the file meta information; leaves the file at its end."""
    file.seek(0)
    read_preamble(file, force=True)
    reader = data_element_generator(
        _Bounded(file), *META, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP
    )
    return list(reader)


def _transfer_syntax(file: BinaryIO, meta: Dataset) -> str:
    """The transfer syntax of the elements, where the file is left.

    Explicit VR that is declared or, without file meta information, not declared may be implicit:
    GDCM, ITK and pydicom then look at the first element, too.
    """
    begin = file.tell()
    first = file.read(6)
    file.seek(begin)
    explicit = first[4:].decode("latin-1") in EXPLICIT_VRS
    if not len(meta):
        if not first.startswith(_GROUP_8):
            raise RejectedSlice("not_dicom", f"has no file meta information; {_ADD_META}")
        return ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    # A damaged one can have several values.
    declared = "\\".join(texts(meta, "TransferSyntaxUID"))
    if declared == ImplicitVRLittleEndian and explicit:
        raise RejectedSlice("not_dicom", f"explicit VR, declared as implicit; {_WRITE_IMPLICIT}")
    if declared == ExplicitVRLittleEndian and first.startswith(_GROUP_8) and not explicit:
        return ImplicitVRLittleEndian
    return declared


def _body(file: BinaryIO, syntax: str) -> BinaryIO:
    """The file itself, or a copy whose part after the file meta information is inflated."""
    if syntax != DeflatedExplicitVRLittleEndian:
        return file
    begin = file.tell()
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflator.decompress(file.read(), MAX_BYTES)
    if len(body) == MAX_BYTES:
        raise RejectedSlice("too_large", f"inflates to {MAX_BYTES} bytes or more")
    if not inflator.eof:
        raise RejectedSlice("not_dicom", "the deflated data are cut off")
    # Some writers leave gzip's trailer: checksum and length.
    trailer = struct.pack("<II", zlib.crc32(body), len(body))
    if inflator.unused_data.removeprefix(trailer).strip(b"\0"):
        raise RejectedSlice("not_dicom", "bytes follow the deflated data")
    file.seek(0)
    stream = io.BytesIO(file.read(begin) + body)
    stream.seek(begin)
    return stream


def _read_before_pixels(stream: BinaryIO, form: Form) -> tuple[list[Element], int]:
    """The elements up to Pixel Data, where the stream is left, and the length of Pixel Data."""
    begin = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(begin)
    pixel_bytes = 0

    def at_pixels(tag: BaseTag, _vr: str | None, length: int) -> bool:
        nonlocal pixel_bytes
        rest = size - stream.tell()
        if tag in _ANY_PIXELS:
            pixel_bytes = min(length, rest) if tag == _PIXEL_DATA else 0  # undefined is the largest
            return True
        if rest < length != UNDEFINED:
            raise RejectedSlice("not_dicom", f"not a whole DICOM file: it ends within {tag}")
        return False

    reader = data_element_generator(_Bounded(stream), *form, stop_when=at_pixels)
    return list(reader), pixel_bytes


def _fault(
    content: bytes, meta: list[Element], body: list[Element], form: Form
) -> RejectedSlice | None:
    """The first fault in the structure of what comes before the pixels."""
    begin = 132 if content[128:132] == b"DICM" else 0
    try:
        with rejecting("not_dicom", "not a whole DICOM file"):
            meta_end = check_elements(meta, content, begin, META)
            end = check_elements(body, content, meta_end, form, _META_GROUP << 16 | 0xFFFF)
            if end != len(content):
                raise ValueError(f"{len(content) - end} bytes before the pixels are no elements")
    except RejectedSlice as rejection:
        return rejection
    return None

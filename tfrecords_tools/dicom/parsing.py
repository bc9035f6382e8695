"""A DICOM file as its elements: what stands before the pixels, and the pixels as stored."""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tfrecords_tools.dicom.header import PARSER_ERRORS, RefusedSlice, texts
from tfrecords_tools.dicom.structure import Form, check_elements, check_fragments
from tfrecords_tools.errors import InputError

MAX_BYTES = 128 << 20  # of a file, inflated too; the largest slice taken has 64 MiB of pixels

_PIXEL_DATA = Tag("PixelData")
_ANY_PIXELS = frozenset((_PIXEL_DATA, Tag("FloatPixelData"), Tag("DoubleFloatPixelData")))
_PIXEL_VRS = ("OB", "OW", None)  # the last where implicit
_META = Form(implicit_vr=False, little_endian=True)
_META_GROUP = 2
_UNDEFINED = 0xFFFFFFFF  # a length that the delimiter at the end tells


class ChangedHeaderError(InputError):
    """A file whose header is not the one that was read before."""


class Encoding(NamedTuple):
    """How the elements of a file are written.

    Attributes:
        syntax: UID of the transfer syntax.
        form: of all elements but those of group 2.
    """

    syntax: str
    form: Form


class HeaderMark(NamedTuple):
    """What tells that a header is still the one that was read.

    Attributes:
        bytes: before the pixels; of a deflated file, once it is inflated.
        hash: of those, as `short_hash` has it.
    """

    bytes: int
    hash: int


class Elements(NamedTuple):
    """What stands before the pixels of a file.

    Attributes:
        dataset: the elements, and as its `file_meta` those of group 2.
        encoding: how they are written.
        pixel_bytes: of Pixel Data, 0 where there are none; where only a delimiter tells, as of
            what is compressed, all up to the end of the file.
        content: the bytes that all this was read from, inflated.
        meta_end: where group 2 ends in them.
    """

    dataset: Dataset
    encoding: Encoding
    pixel_bytes: int
    content: bytes
    meta_end: int

    @property
    def mark(self) -> HeaderMark:
        """Of the content."""
        return HeaderMark(len(self.content), short_hash(self.content))


def read_elements(file: BinaryIO) -> Elements:
    """Reads what stands before the pixels.

    Raises:
        RefusedSlice: if the file is too large, or cannot be parsed.
        OSError: if it cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    if size > MAX_BYTES:
        raise RefusedSlice("too_large", f"{size} bytes, expected at most {MAX_BYTES}")
    with _refusing():
        meta, meta_end = _read_meta(file), file.tell()
        encoding = _encoding(meta)
        stream = _stream(file, encoding)
        dataset, pixel_bytes = _read_before_pixels(stream, encoding.form)
    dataset.file_meta = meta
    end = stream.tell()
    stream.seek(0)
    return Elements(dataset, encoding, pixel_bytes, stream.read(min(end, MAX_BYTES)), meta_end)


def check_structure(elements: Elements) -> None:
    """Checks that what stands before the pixels is whole and in order.

    Raises:
        RefusedSlice: names the first fault.
    """
    meta, rest = elements.content[: elements.meta_end], elements.content[elements.meta_end :]
    with _refusing("no whole DICOM file"):
        check_elements(meta[132:] if meta[128:132] == b"DICM" else meta, _META)
        check_elements(rest, elements.encoding.form, before=_META_GROUP << 16 | 0xFFFF)


def read_pixel_data(
    file: BinaryIO, encoding: Encoding, mark: HeaderMark
) -> tuple[bytes, str | None]:
    """The value of Pixel Data and its VR, of a file whose header is known.

    Raises:
        ChangedHeaderError: if the header is not the one that is known.
        RefusedSlice: if there are none, or what follows is not whole and in order.
        OSError: if the file cannot be read.
    """
    with _refusing():
        stream = file
        if encoding.syntax == DeflatedExplicitVRLittleEndian:
            _read_meta(file)
            stream = _stream(file, encoding)
        stream.seek(0)
        if short_hash(stream.read(mark.bytes)) != mark.hash:
            raise ChangedHeaderError("the file changed while it was read; give the command again")
        pixels = next(data_element_generator(stream, *encoding.form), None)
        if pixels is None or pixels.tag != _PIXEL_DATA or pixels.VR not in _PIXEL_VRS:
            raise RefusedSlice(
                "no_pixels", "Pixel Data are missing, or of another VR than OB and OW"
            )
        content = pixels.value or b""
        if len(content) < pixels.length != _UNDEFINED:
            raise RefusedSlice("truncated_pixels", f"{len(content)} of {pixels.length} bytes")
    with _refusing("no whole DICOM file"):
        if pixels.length == _UNDEFINED:
            check_fragments(content)
        check_elements(stream.read(), encoding.form, before=_PIXEL_DATA, zeros_behind=True)
    return content, pixels.VR


def short_hash(content: bytes) -> int:
    """The first 56 bits of the SHA-256, which fit an int64."""
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")


def _read_meta(file: BinaryIO) -> Dataset:
    """The file meta information; leaves the file behind it."""
    file.seek(0)
    read_preamble(file, force=True)
    reader = data_element_generator(
        file, *_META, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP
    )
    return Dataset({element.tag: element for element in reader})


def _encoding(meta: Dataset) -> Encoding:
    """How the elements behind the file meta information are written (PS3.5 A)."""
    if not len(meta):
        raise RefusedSlice("not_dicom", "has no file meta information")
    syntax = "\\".join(texts(meta, "TransferSyntaxUID"))  # damaged, it may be several
    form = Form(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    return Encoding(syntax, form)


def _stream(file: BinaryIO, encoding: Encoding) -> BinaryIO:
    """The file, or where it is deflated what it inflates to, behind its meta information."""
    if encoding.syntax != DeflatedExplicitVRLittleEndian:
        return file
    begin = file.tell()
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflator.decompress(file.read(), MAX_BYTES)
    if len(body) == MAX_BYTES:
        raise RefusedSlice("too_large", f"it inflates to {MAX_BYTES} bytes or more")
    if not inflator.eof:
        raise RefusedSlice("not_dicom", "what is deflated in it is cut off")
    # Some writers leave gzip's trailer: checksum and length.
    trailer = struct.pack("<II", zlib.crc32(body), len(body))
    if inflator.unused_data.removeprefix(trailer).strip(b"\0"):
        raise RefusedSlice("not_dicom", "there are bytes behind what is deflated in it")
    file.seek(0)
    stream = io.BytesIO(file.read(begin) + body)
    stream.seek(begin)
    return stream


def _read_before_pixels(stream: BinaryIO, form: Form) -> tuple[Dataset, int]:
    """The elements up to Pixel Data, where it leaves the stream, and how many bytes those have."""
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
        if rest < length != _UNDEFINED:
            # Before so many bytes are asked for.
            raise RefusedSlice("not_dicom", f"no whole DICOM file: it ends within {tag}")
        return False

    reader = data_element_generator(stream, *form, stop_when=at_pixels)
    dataset = Dataset({element.tag: element for element in reader})
    dataset.set_original_encoding(*form)
    return dataset, pixel_bytes


@contextmanager
def _refusing(prefix: str = "") -> Iterator[None]:
    """Whatever a parser raises of a damaged file is a refusal."""
    try:
        yield
    except InputError:
        raise  # among them RefusedSlice, which is a ValueError too
    except PARSER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        detail = f"{prefix or type(error).__name__}: {error}"
        raise RefusedSlice("not_dicom", detail) from error

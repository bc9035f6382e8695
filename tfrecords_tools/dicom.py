"""One DICOM file to a CT slice in HU, or a refusal with its reason.

A file is taken only where its pixels can be proven to be HU of one axial slice. Where the file
is in doubt it is refused: a slice left out is counted, a wrong one is believed.

What stands before the pixels is read once and tells all of how they become HU. The pixels can
then be read without it, at another time and in another process.
"""

import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from pydicom import Dataset
from pydicom.filereader import data_element_generator, read_dataset, read_preamble
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tfrecords_tools.errors import InputError
from tfrecords_tools.header import PARSER_ERRORS, RefusedSlice, SliceHeader, slice_header, texts
from tfrecords_tools.pixels import PixelFormat, check_length, pixel_format, stored_values
from tfrecords_tools.rescale import Rescale, hounsfield, read_rescale

MAX_BYTES = 128 << 20  # of a file, inflated too; the largest slice taken has 64 MiB of pixels

_T = TypeVar("_T")

_PIXEL_DATA = Tag("PixelData")
_ANY_PIXELS = (_PIXEL_DATA, Tag("FloatPixelData"), Tag("DoubleFloatPixelData"))
_META_GROUP = 2

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
    )
]


@dataclass(frozen=True)
class SliceFormat:
    """How the pixels of a slice become HU; equal for most files of a scanner.

    Attributes:
        pixels: to stored values.
        rescale: to HU.
    """

    pixels: PixelFormat
    rescale: Rescale


class HeaderMark(NamedTuple):
    """What tells that a header is still the one that was read.

    Attributes:
        bytes: before the pixels; of a deflated file, once it is inflated.
        hash: of those, as `short_hash` has it.
    """

    bytes: int
    hash: int


@dataclass(frozen=True)
class FileHeader:
    """All that stands before the pixels of a file.

    Attributes:
        slice: what identifies and places it.
        format: how to read its pixels.
        mark: of the bytes that both follow from.
    """

    slice: SliceHeader
    format: SliceFormat
    mark: HeaderMark


@dataclass(frozen=True, eq=False)
class CTSlice:
    """A slice in HU: float32, shape (rows, columns), all finite, within MIN_HU and MAX_HU."""

    header: SliceHeader
    hu: np.ndarray


class ChangedHeaderError(InputError):
    """A file whose header is not the one that was read before."""


def read_slice(source: Path | BinaryIO) -> CTSlice:
    """Reads a CT slice in HU.

    HU are the stored values through Rescale Slope and Intercept, or the Modality LUT (PS3.3
    C.11.1). MONOCHROME1 changes how a slice is displayed, not what it holds.

    Raises:
        RefusedSlice: if the file is no CT slice, or its values are not certainly HU.
        OSError: if the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_slice(file)
    header = read_header(source)
    return CTSlice(header.slice, read_hu(source, header.format, header.mark))


def read_header(source: Path | BinaryIO) -> FileHeader:
    """Reads what comes before the pixels.

    Raises:
        RefusedSlice: if the header alone shows that the file is no CT slice.
        OSError: if the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_header(file)
    size = source.seek(0, io.SEEK_END)
    if size > MAX_BYTES:
        raise RefusedSlice("too_large", f"{size} bytes, expected at most {MAX_BYTES}")
    meta = _parsed(_read_meta, source)
    syntax = "\\".join(texts(meta, "TransferSyntaxUID"))
    stream = _stream(source, syntax)
    dataset, pixel_bytes = _parsed(_read_before_pixels, stream, syntax)
    dataset.file_meta = meta
    end = stream.tell()
    mark = HeaderMark(end, _hash_header(stream, end))
    identity = slice_header(dataset)
    pixels = pixel_format(dataset, identity)
    check_length(pixels, pixel_bytes)
    return FileHeader(identity, SliceFormat(pixels, read_rescale(dataset)), mark)


def read_hu(file: BinaryIO, slice_format: SliceFormat, mark: HeaderMark) -> np.ndarray:
    """Reads the pixels of a file whose header is known.

    Returns:
        As in `CTSlice`.

    Raises:
        ChangedHeaderError: if the header is not the one that is known.
        RefusedSlice: if the pixels cannot be decoded, or are not certainly HU.
        OSError: if the file cannot be read.
    """
    content, vr = read_pixel_data(file, slice_format.pixels, mark)
    return hounsfield(stored_values(content, vr, slice_format.pixels), slice_format.rescale)


def read_pixel_data(
    file: BinaryIO, pixels: PixelFormat, mark: HeaderMark
) -> tuple[bytes, str | None]:
    """The value of Pixel Data as the file stores it, and its VR; of a file whose header is known.

    Raises:
        ChangedHeaderError: if the header is not the one that is known.
        RefusedSlice: if the file cannot be parsed.
        OSError: if the file cannot be read.
    """
    stream = file
    if pixels.syntax == DeflatedExplicitVRLittleEndian:
        _parsed(_read_meta, file)
        stream = _stream(file, pixels.syntax)
    if _hash_header(stream, mark.bytes) != mark.hash:
        raise ChangedHeaderError("the file changed while it was read; give the command again")
    elements = data_element_generator(stream, pixels.implicit_vr, pixels.little_endian)
    element = _parsed(next, elements, None)
    if element is None or element.tag != _PIXEL_DATA or not isinstance(element.value, bytes):
        raise RefusedSlice("no_pixels", "Pixel Data is missing or not plain bytes")
    return element.value, element.VR


def short_hash(content: bytes) -> int:
    """The first 56 bits of the SHA-256, which fit an int64."""
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")


def _read_meta(file: BinaryIO) -> Dataset:
    """The file meta information; leaves the file behind it."""
    file.seek(0)
    read_preamble(file, force=True)
    return read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag.group != _META_GROUP,
    )


def _stream(file: BinaryIO, syntax: str) -> BinaryIO:
    """The file, or where it is deflated what it inflates to, behind its meta information."""
    if syntax != DeflatedExplicitVRLittleEndian:
        return file
    begin = file.tell()
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    body = _parsed(inflator.decompress, file.read(), MAX_BYTES)
    if len(body) == MAX_BYTES:
        raise RefusedSlice("too_large", f"it inflates to {MAX_BYTES} bytes or more")
    if not inflator.eof:
        raise RefusedSlice("not_dicom", "what is deflated in it is cut off")
    file.seek(0)
    stream = io.BytesIO(file.read(begin) + body)
    stream.seek(begin)
    return stream


def _read_before_pixels(stream: BinaryIO, syntax: str) -> tuple[Dataset, int]:
    """The elements up to Pixel Data, where it leaves the stream, and how many bytes those have.

    Where only their end tells, as of what is compressed, all up to the end of the file.
    """
    begin = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(begin)
    pixel_bytes = 0

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal pixel_bytes
        if tag == _PIXEL_DATA:
            pixel_bytes = min(length, size - stream.tell())  # undefined, it is the largest number
        return tag in _ANY_PIXELS

    dataset = read_dataset(
        stream,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=at_pixels,
        specific_tags=_TAGS,
    )
    return dataset, pixel_bytes


def _hash_header(stream: BinaryIO, length: int) -> int:
    """A hash of what stands before the pixels; leaves the stream behind it."""
    stream.seek(0)
    return short_hash(stream.read(length))


def _parsed(parser: Callable[..., _T], *arguments: object) -> _T:
    """What a parser makes of a file; whatever it raises of a damaged one is a refusal."""
    try:
        return parser(*arguments)
    except PARSER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise RefusedSlice("not_dicom", f"{type(error).__name__}: {error}") from error

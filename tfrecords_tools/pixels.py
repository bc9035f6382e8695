"""Pixel Data to the values that a scanner stored, whatever the transfer syntax."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from pydicom import Dataset, uid
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder

from tfrecords_tools.codestream import Codestream, read_codestream, rle_lengths
from tfrecords_tools.header import PARSER_ERRORS, RefusedSlice, SliceHeader, integer

_T = TypeVar("_T")


class Plugin(NamedTuple):
    """A decoding plugin of pydicom.

    Attributes:
        name: as pydicom calls it.
        package: what brings it, to be installed; empty where pydicom does.
        extra: of this project, which installs the package.
    """

    name: str
    package: str = ""
    extra: str = "codecs"


_RLE = Plugin("pydicom")
_GDCM = Plugin("gdcm", "python-gdcm")
_CHARLS = Plugin("pyjpegls", "pyjpegls")
_OPENJPEG = Plugin("pylibjpeg", "pylibjpeg-openjpeg")
_LIBJPEG = Plugin("pylibjpeg", "pylibjpeg-libjpeg", "jpeg12")

# One plugin a transfer syntax, and never another in its place: pydicom would go through all that
# happen to be installed until one does not fail, and what a slice holds would depend on them.
PLUGINS = {
    uid.RLELossless: _RLE,
    # Equal to Pillow, as both are libjpeg; pylibjpeg-libjpeg is off by one in 2 % of the pixels.
    uid.JPEGBaseline8Bit: _GDCM,
    # The plugins of GDCM and Pillow read 8 bits only.
    uid.JPEGExtended12Bit: _LIBJPEG,
    # Of an image that is cut off pylibjpeg-libjpeg makes up the rest; GDCM fails.
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    # GDCM refuses 6 and 7 bits; pylibjpeg-libjpeg makes up the rest of what is cut off.
    uid.JPEGLSLossless: _CHARLS,
    uid.JPEGLSNearLossless: _CHARLS,
    # Equal to GDCM; Pillow adds 32768 where header and codestream do not agree on the sign.
    uid.JPEG2000Lossless: _OPENJPEG,
    uid.JPEG2000: _OPENJPEG,
    uid.HTJ2KLossless: _OPENJPEG,
    uid.HTJ2KLosslessRPCL: _OPENJPEG,
    uid.HTJ2K: _OPENJPEG,
}
LOSSY = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless}
LOSSY |= {uid.JPEG2000, uid.HTJ2K}  # or without loss, which the syntax does not say


@dataclass(frozen=True)
class PixelData:
    """One image of Rows x Columns, complete and not decoded yet.

    Attributes:
        decoder: of its transfer syntax.
        content: the value of Pixel Data.
        vr: value representation of Pixel Data.
        shape: (rows, columns).
        bits_allocated: of a pixel.
        bits_stored: of a pixel.
        signed: whether Pixel Representation is 1.
        precision: bits of a pixel in a compressed image; Bits Stored in any other.
    """

    decoder: Decoder
    content: bytes
    vr: str
    shape: tuple[int, int]
    bits_allocated: int
    bits_stored: int
    signed: bool
    precision: int


def find_pixel_data(dataset: Dataset, header: SliceHeader) -> PixelData:
    """Finds the decoder of an image, and checks what can be checked before it is decoded.

    Raises:
        RefusedSlice: if it cannot be decoded, or if it is none, cut off, too long or another one.
    """
    decoder = _decoder(dataset)
    element = dataset.get_item("PixelData", keep_deferred=True)
    content = element.value or b"" if element is not None else b""
    if not content:
        raise RefusedSlice("no_pixels", "Pixel Data is missing or empty")
    bits_stored = integer(dataset, "BitsStored")
    found = PixelData(
        decoder,
        content,
        element.VR or "OW",  # implicit
        (header.rows, header.columns),
        integer(dataset, "BitsAllocated"),
        bits_stored,
        bool(integer(dataset, "PixelRepresentation")),
        precision=bits_stored,
    )
    if decoder.is_native:
        _check_native(found)
    elif PLUGINS[decoder.UID] is _RLE:
        _check_rle(found)
    else:
        found = replace(found, precision=_checked_codestream(found).precision)
    return found


def stored_values(pixel_data: PixelData) -> np.ndarray:
    """Decodes an image.

    Returns:
        Native integers of 8, 16 or 32 bits, shape (rows, columns), without what may stand above
        Bits Stored: that is no part of a pixel (PS3.5 8.1.1).

    Raises:
        RefusedSlice: if it cannot be decoded.
    """
    packed = pixel_data.bits_allocated == 12 and pixel_data.decoder.is_native
    stored = _unpacked(pixel_data) if packed else _decoded(pixel_data)
    cut = _cut(stored, pixel_data.bits_stored)
    if pixel_data.precision > pixel_data.bits_stored and not _fits(stored, cut, pixel_data):
        # Compression with loss, or damage, has moved them there; cut, metal would turn into air.
        raise RefusedSlice(
            "undecodable", f"values of more than {pixel_data.bits_stored} bits were compressed"
        )
    return cut


def _fits(stored: np.ndarray, cut: np.ndarray, pixel_data: PixelData) -> bool:
    """Whether nothing but zeros, or of a lossless image the sign, stands above Bits Stored."""
    if np.array_equal(stored, cut):
        return True
    return pixel_data.decoder.UID not in LOSSY and not (stored >> pixel_data.bits_stored).any()


def _decoder(dataset: Dataset) -> Decoder:
    """The decoder of the transfer syntax, its plugin installed."""
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))  # damaged, it may be a list
    try:
        decoder = get_decoder(syntax)
        plugin = None if decoder.is_native else PLUGINS[decoder.UID]
    except (NotImplementedError, KeyError) as error:
        raise RefusedSlice(
            "unsupported_syntax", f"Transfer Syntax {syntax!r}; convert the file to another"
        ) from error
    if plugin and plugin.name not in decoder.available_plugins:
        raise RefusedSlice(
            "missing_plugin",
            f"{decoder.UID.name} needs {plugin.package}: pip install 'ich-keras[{plugin.extra}]'",
        )
    return decoder


def _check_native(pixel_data: PixelData) -> None:
    rows, columns = pixel_data.shape
    expected = -(-rows * columns * pixel_data.bits_allocated // 8)
    actual = len(pixel_data.content)
    if actual not in (expected, expected + expected % 2):  # an element has an even length
        reason = "truncated_pixels" if actual < expected else "overlong_pixels"
        raise RefusedSlice(reason, f"{actual} bytes of Pixel Data, expected {expected}")


def _check_rle(pixel_data: PixelData) -> None:
    rows, columns = pixel_data.shape
    expected = rows * columns
    for actual in _parsed(functools.partial(rle_lengths, pixels=expected), pixel_data.content):
        if actual != expected:
            reason = "truncated_pixels" if actual < expected else "overlong_pixels"
            raise RefusedSlice(reason, f"{actual} pixels in a segment, expected {expected}")


def _checked_codestream(pixel_data: PixelData) -> Codestream:
    image = _parsed(read_codestream, pixel_data.content)
    if image.excess is None:
        raise RefusedSlice("truncated_pixels", "the compressed image has no end")
    if image.excess:
        raise RefusedSlice("overlong_pixels", f"{image.excess} bytes behind the compressed image")
    actual, expected = (image.rows, image.columns, image.samples), (*pixel_data.shape, 1)
    if actual != expected:
        raise RefusedSlice(
            "undecodable",
            f"the compressed image has {actual} rows, columns and samples, expected {expected}",
        )
    if image.precision <= 16 < pixel_data.bits_allocated:
        # GDCM ends the process where it is to fill 32 bits from so few.
        raise RefusedSlice(
            "undecodable",
            f"the compressed image has {image.precision} bits,"
            f" Bits Allocated is {pixel_data.bits_allocated}",
        )
    if image.signed and not pixel_data.signed:
        raise RefusedSlice("undecodable", "the compressed image is signed, the header is not")
    return image


def _parsed(parser: Callable[[bytes], _T], content: bytes) -> _T:
    """What a parser finds in the one compressed frame, its fragments joined."""
    try:
        frames = list(generate_frames(content, number_of_frames=1))
        found = parser(frames[0])
    except PARSER_ERRORS as error:
        raise RefusedSlice("undecodable", f"no compressed image: {error}") from error
    if len(frames) > 1:
        raise RefusedSlice("overlong_pixels", f"{len(frames)} compressed images, expected 1")
    return found


def _decoded(pixel_data: PixelData) -> np.ndarray:
    decoder = pixel_data.decoder
    try:
        stored, _ = decoder.as_array(
            pixel_data.content,
            pixel_keyword="PixelData",
            pixel_vr=pixel_data.vr,
            number_of_frames=1,
            rows=pixel_data.shape[0],
            columns=pixel_data.shape[1],
            samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2",
            bits_allocated=pixel_data.bits_allocated,
            bits_stored=pixel_data.bits_stored,
            pixel_representation=int(pixel_data.signed),
            decoding_plugin="" if decoder.is_native else PLUGINS[decoder.UID].name,
            view_only=True,  # it is read once, and not changed
            # By these pydicom repeats the sign from the precision of the codestream, which may be
            # 16 where 12 bits are stored: -1 would stay at 4095. Bits Stored tell where it stands.
            correct_unused_bits=False,
            apply_j2k_sign_correction=False,
            apply_jls_sign_correction=False,
        )
    except PARSER_ERRORS as error:
        raise RefusedSlice("undecodable", f"not decoded: {error}") from error
    if stored.shape != pixel_data.shape:
        raise RefusedSlice("undecodable", f"the pixels decode to the shape {stored.shape}")
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _unpacked(pixel_data: PixelData) -> np.ndarray:
    """12 bits a pixel: a pair in three bytes, the low bits first. Not read by pydicom."""
    rows, columns = pixel_data.shape
    pairs = (rows * columns + 1) // 2
    packed = np.frombuffer(pixel_data.content.ljust(3 * pairs, b"\0"), np.uint8, count=3 * pairs)
    first, middle, last = packed.reshape(pairs, 3).T.astype(np.uint16)
    values = np.stack([first | (middle & 15) << 8, middle >> 4 | last << 4], axis=-1)
    stored = values.reshape(-1)[: rows * columns].reshape(rows, columns)
    return stored.view(np.int16) if pixel_data.signed else stored


def _cut(stored: np.ndarray, bits: int) -> np.ndarray:
    unused = stored.itemsize * 8 - bits
    if not unused:
        return stored
    cut = stored << unused
    cut >>= unused  # which repeats the sign, where there is one
    return cut

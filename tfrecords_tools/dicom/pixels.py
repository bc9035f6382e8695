"""Decodes Pixel Data of any transfer syntax to the values that the scanner stored."""

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import RLELossless

from tfrecords_tools.dicom.codestream import Codestream, read_codestream, rle_lengths
from tfrecords_tools.dicom.decoders import LOSSY, PLUGINS, check_decoder, decoder_of
from tfrecords_tools.dicom.header import SliceHeader
from tfrecords_tools.dicom.parsing import form_of
from tfrecords_tools.dicom.rejection import RejectedSlice, rejecting
from tfrecords_tools.dicom.values import integer

_T = TypeVar("_T")


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of a slice are stored; equal for most files of a scanner."""

    syntax: str  # UID of the transfer syntax; one that can be decoded here
    shape: tuple[int, int]  # (rows, columns)
    bits_allocated: int
    bits_stored: int
    signed: bool  # whether Pixel Representation is 1

    @property
    def decoder(self) -> Decoder:
        """Pydicom's decoder of the transfer syntax."""
        return decoder_of(self.syntax)

    @property
    def plain(self) -> bool:
        """Whether pixels are 16-bit numbers in this machine's byte order, as in most files."""
        little_endian = form_of(self.syntax).little_endian and sys.byteorder == "little"
        return self.bits_allocated == 16 and little_endian and self.decoder.is_native

    @property
    def packed(self) -> bool:
        """Whether two pixels share three bytes."""
        return self.bits_allocated == 12 and self.decoder.is_native


def pixel_format(dataset: Dataset, syntax: str, header: SliceHeader) -> PixelFormat:
    """Reads how pixels are stored; RejectedSlice if they cannot be decoded."""
    check_decoder(syntax)
    return PixelFormat(
        syntax,
        (header.rows, header.columns),
        integer(dataset, "BitsAllocated"),
        integer(dataset, "BitsStored"),
        bool(integer(dataset, "PixelRepresentation")),
    )


def check_length(pixels: PixelFormat, length: int) -> None:
    """Rejects Pixel Data of no bytes, or of a wrong number if they are uncompressed."""
    if length == 0:
        raise RejectedSlice("no_pixels", "Pixel Data is missing or empty")
    if pixels.decoder.is_native:
        expected = native_length(pixels)
        if not expected <= length < 2 * expected:  # padding is checked where it is read
            reason = "truncated_pixels" if length < expected else "overlong_pixels"
            raise RejectedSlice(reason, f"{length} bytes of Pixel Data, expected {expected}")


def stored_values(content: bytes, vr: str | None, pixels: PixelFormat) -> np.ndarray:
    """Decodes an image; RejectedSlice if it is broken, or too short or too long for its header.

    `vr` is None if that is implicit. The values are native integers of 8, 16 or 32 bits, (rows,
    columns), without the bits above Bits Stored, which are not part of a pixel (PS3.5 8.1.1).
    """
    check_length(pixels, len(content))
    if pixels.decoder.is_native:
        content = _without_padding(content, pixels)
    precision = pixels.bits_stored if pixels.decoder.is_native else _precision(content, pixels)
    if pixels.packed:
        stored = _unpacked(content, pixels)
    elif pixels.plain:
        stored = _viewed(content, pixels)
    else:
        stored = _decoded(content, vr, pixels)
    cut = _cut(stored, pixels.bits_stored)
    if precision > pixels.bits_stored and not _fits(stored, cut, pixels):
        # Lossy compression or damage put them there; without their high bits, metal would be air.
        raise RejectedSlice(
            "undecodable", f"values of more than {pixels.bits_stored} bits were compressed"
        )
    return cut


def native_length(pixels: PixelFormat) -> int:
    """Bytes of an image that is not compressed."""
    rows, columns = pixels.shape
    return -(-rows * columns * pixels.bits_allocated // 8)


def _without_padding(content: bytes, pixels: PixelFormat) -> bytes:
    """Pixels without the zeros that some writers add to the value (PS3.5 8.1.1).

    Zeros that may as well be the end of an image with wider rows are rejected.
    """
    length = native_length(pixels)
    padding = content[length + length % 2 :]  # an element has an even length
    if any(padding) or (padding and (pixels.packed or _has_wider_rows(content, pixels))):
        raise RejectedSlice(
            "overlong_pixels",
            f"{len(content)} bytes of Pixel Data, expected {length}; the rest may be pixels",
        )
    return content[:length]


def _has_wider_rows(content: bytes, pixels: PixelFormat) -> bool:
    """Whether rows that fill all bytes lie more smoothly below each other than the header's."""
    rows, columns = pixels.shape
    pixel_bytes = pixels.bits_allocated // 8
    width, rest = divmod(len(content), rows * pixel_bytes)
    if rest or width == columns:
        return False
    kind = f"{'<' if form_of(pixels.syntax).little_endian else '>'}u{pixel_bytes}"
    flat = np.frombuffer(content, kind).astype(np.int64)
    wide, narrow = (np.abs(flat[n:] - flat[:-n]).mean() for n in (width, columns))
    return bool(wide < narrow)


def _fits(stored: np.ndarray, cut: np.ndarray, pixels: PixelFormat) -> bool:
    """Whether the bits above Bits Stored are zeros, or in a lossless image the sign."""
    if np.array_equal(stored, cut):
        return True
    return pixels.syntax not in LOSSY and not (stored >> pixels.bits_stored).any()


def _precision(content: bytes, pixels: PixelFormat) -> int:
    """Bits per pixel of a compressed image, which is checked before it is decoded."""
    if pixels.syntax == RLELossless:
        _check_rle(content, pixels)
        return pixels.bits_stored
    return _checked_codestream(content, pixels).precision


def _check_rle(content: bytes, pixels: PixelFormat) -> None:
    rows, columns = pixels.shape
    expected = rows * columns
    for actual in _parsed(functools.partial(rle_lengths, pixels=expected), content):
        if actual != expected:
            reason = "truncated_pixels" if actual < expected else "overlong_pixels"
            raise RejectedSlice(reason, f"{actual} pixels in a segment, expected {expected}")


def _checked_codestream(content: bytes, pixels: PixelFormat) -> Codestream:
    image = _parsed(read_codestream, content)
    if image.excess is None:
        raise RejectedSlice("truncated_pixels", "the compressed image has no end")
    if image.excess:
        raise RejectedSlice("overlong_pixels", f"{image.excess} bytes after the compressed image")
    actual, expected = (image.rows, image.columns, image.samples), (*pixels.shape, 1)
    if actual != expected:
        raise RejectedSlice(
            "undecodable",
            f"the compressed image has {actual} rows, columns and samples, expected {expected}",
        )
    if image.precision <= 16 < pixels.bits_allocated:
        # GDCM ends the process when it expands so few bits to 32.
        raise RejectedSlice(
            "undecodable",
            f"the compressed image has {image.precision} bits,"
            f" Bits Allocated is {pixels.bits_allocated}",
        )
    if image.signed and not pixels.signed:
        raise RejectedSlice("undecodable", "the compressed image is signed, the header is not")
    return image


def _parsed(parser: Callable[[bytes], _T], content: bytes) -> _T:
    """What a parser reads in the one compressed frame, its fragments joined."""
    with rejecting("undecodable", "no compressed image"):
        frames = list(generate_frames(content, number_of_frames=1))
        parsed = parser(frames[0])
    if len(frames) > 1:
        raise RejectedSlice("overlong_pixels", f"{len(frames)} compressed images, expected 1")
    return parsed


def _decoded(content: bytes, vr: str | None, pixels: PixelFormat) -> np.ndarray:
    decoder = pixels.decoder
    with rejecting("undecodable", "not decoded"):
        stored, _ = decoder.as_array(
            content,
            pixel_keyword="PixelData",
            pixel_vr=vr or "OW",
            number_of_frames=1,
            rows=pixels.shape[0],
            columns=pixels.shape[1],
            samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2",
            bits_allocated=pixels.bits_allocated,
            bits_stored=pixels.bits_stored,
            pixel_representation=int(pixels.signed),
            decoding_plugin="" if decoder.is_native else PLUGINS[decoder.UID].name,
            view_only=True,  # the result is not modified
            # These extend the sign from the precision of the codestream, which may be 16 when 12
            # bits are stored: -1 would stay 4095. Bits Stored decides here.
            correct_unused_bits=False,
            apply_j2k_sign_correction=False,
            apply_jls_sign_correction=False,
        )
    if stored.shape != pixels.shape:
        raise RejectedSlice("undecodable", f"the pixels decode to the shape {stored.shape}")
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _viewed(content: bytes, pixels: PixelFormat) -> np.ndarray:
    """The bytes as numbers; pydicom's own checks take a tenth of a conversion."""
    kind = np.int16 if pixels.signed else np.uint16
    return np.frombuffer(content, kind, count=math.prod(pixels.shape)).reshape(pixels.shape)


def _unpacked(content: bytes, pixels: PixelFormat) -> np.ndarray:
    """Two pixels of 12 bits in three bytes, low bits first, which pydicom does not read."""
    rows, columns = pixels.shape
    pairs = (rows * columns + 1) // 2
    packed = np.frombuffer(content.ljust(3 * pairs, b"\0"), np.uint8, count=3 * pairs)
    first, middle, last = packed.reshape(pairs, 3).T.astype(np.uint16)
    values = np.stack([first | (middle & 15) << 8, middle >> 4 | last << 4], axis=-1)
    stored = values.reshape(-1)[: rows * columns].reshape(rows, columns)
    return stored.view(np.int16) if pixels.signed else stored


def _cut(stored: np.ndarray, bits: int) -> np.ndarray:
    unused = stored.itemsize * 8 - bits
    if not unused:
        return stored
    cut = stored << unused
    cut >>= unused  # extends the sign, if any
    return cut

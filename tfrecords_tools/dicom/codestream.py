"""Reads what a compressed frame says about its image, before a decoder is trusted with it.

Decoders were seen to invent the pixels that a frame lacks, to drop those it has too many, and to
return an image of other rows and columns than the header's, all without an error.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_JPEG = b"\xff\xd8"  # start of image
_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, then image and tile size
_END = b"\xff\xd9"  # of an image or a codestream; coded data never contain it
_PADDING = b"\0\xff"  # seen after the end, where it makes the length even
_MOST_PADDING = 4  # bytes; a thousand of them are an image of which a part is lost

_LS_FRAME = 0xFFF7
# SOF0 to SOF15 without the tables DHT, JPG and DAC among them, and SOF55 of JPEG-LS.
_FRAME_HEADERS = {*range(0xFFC0, 0xFFD0)} - {0xFFC4, 0xFFC8, 0xFFCC} | {_LS_FRAME}
# DHT, DQT, DRI, LSE, COM and APP0 to APP15; after them comes the scan.
_TABLES = {0xFFC4, 0xFFDB, 0xFFDD, 0xFFF8, 0xFFFE, *range(0xFFE0, 0xFFF0)}
_SCAN = 0xFFDA
_TILE_PART = 0xFF90
_HEADER_BYTES = 1 << 20  # before the scan; real files have a few hundred
_MOST_RUNS = 1 << 20  # enough for 1024 x 1024 pixels; a decoder in Python takes seconds
# What coded data never contain before the end of the scan: in JPEG, FF is followed by zero or by
# the number of a restart, in JPEG-LS by a byte below 80. Decoders skip the rest of the image there.
_STRAY = re.compile(rb"\xff[^\0\xd0-\xd7]")
_STRAY_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")


@dataclass(frozen=True)
class Codestream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 image."""

    rows: int
    columns: int
    samples: int  # per pixel
    precision: int  # bits per sample
    signed: bool  # whether samples have a sign; those of JPEG and JPEG-LS have none
    excess: int | None  # bytes after the end of the image, without padding; None if it has no end


def read_codestream(frame: bytes) -> Codestream:
    """Reads the header of a compressed frame, and finds the end of its image.

    Raises ValueError if it is neither JPEG nor JPEG-LS nor JPEG 2000, and struct.error if it ends
    within the header.
    """
    return _jpeg(frame) if frame.startswith(_JPEG) else _jpeg_2000(frame)


def rle_lengths(frame: bytes, pixels: int) -> list[int]:
    """Counts the pixels in each segment of an RLE frame (PS3.5 G.3.1).

    `frame` is all its fragments; zeros after `pixels` of a segment are padding. Raises ValueError
    if it has no segment, or segments that begin where they cannot, and struct.error if it is
    shorter than its header.
    """
    segments, *starts = struct.unpack_from("<16I", frame)
    if not 0 < segments <= len(starts):
        raise ValueError(f"an RLE frame of {segments} segments")
    if starts[0] != 64 or any(starts[segments:]):
        raise ValueError("an RLE frame whose segments do not begin where its header says")
    bounds = [*starts[:segments], len(frame)]
    return [_rle_length(frame[bounds[i] : bounds[i + 1]], pixels) for i in range(segments)]


def _rle_length(segment: bytes, pixels: int) -> int:
    length = place = runs = 0
    while place < len(segment):
        runs += 1
        if runs > _MOST_RUNS:
            raise ValueError(f"an RLE segment of more than {_MOST_RUNS} runs")
        rest = len(segment) - place
        if length == pixels and rest <= _MOST_PADDING and not any(segment[place:]):
            break
        run = segment[place]
        if run < 128:  # literal values
            length += min(run + 1, rest - 1)
            place += 2 + run
        elif run > 128:  # a repeated value
            length += 257 - run
            place += 2
        else:
            place += 1
    return length


def _jpeg(frame: bytes) -> Codestream:
    """Reads the segments before the scan (T.81 B.2, T.87 C.2); strictly, as GDCM may crash."""
    frames, scan = [], 0
    for marker, place, end in _segments(frame, len(_JPEG), _SCAN):
        if marker in _FRAME_HEADERS:
            frames.append((marker, *struct.unpack_from(">BHHB", frame, place + 4)))
        elif marker == _SCAN:
            scan = end
        elif marker not in _TABLES:
            raise ValueError(f"a JPEG image with the segment {marker:04X} at byte {place}")
        elif frame.startswith(b"JFIF\0", place + 4) and frame[place + 9] != 1:
            raise ValueError(f"a JPEG image of JFIF version {frame[place + 9]}")
    if len(frames) != 1:
        raise ValueError(f"a JPEG image with {len(frames)} frame headers")
    kind, precision, rows, columns, samples = frames[0]
    if not 2 <= precision <= 16:
        raise ValueError(f"a JPEG image of {precision} bits")
    end = frame.find(_END, scan)
    damage = (_STRAY_LS if kind == _LS_FRAME else _STRAY).search(frame, scan, max(end, scan))
    if damage:
        raise ValueError(
            f"a JPEG image with {damage[0].hex()} at byte {damage.start()}, in its scan"
        )
    return Codestream(rows, columns, samples, precision, False, _excess(frame, end))


def _jpeg_2000(frame: bytes) -> Codestream:
    """Reads image and tile size (T.800 A.5.1), also where a JP2 file contains the codestream."""
    place = frame.find(_JPEG_2000, 0, _HEADER_BYTES)
    if place < 0:
        raise ValueError("neither a JPEG image nor a JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", frame, place + 8)
    samples, depth = struct.unpack_from(">HB", frame, place + 40)
    excess = _excess(frame, _tile_parts_end(frame, place + 2))
    return Codestream(bottom - top, right - left, samples, (depth & 127) + 1, depth > 127, excess)


def _tile_parts_end(frame: bytes, place: int) -> int:
    """Follows the main header and the lengths of the tile-parts (T.800 A.4.2)."""
    for marker, begin, _ in _segments(frame, place, _TILE_PART):
        if marker < 0xFF00:
            raise ValueError(f"a JPEG 2000 image with the segment {marker:04X} at byte {begin}")
        place = begin
    while frame.startswith(_TILE_PART.to_bytes(2, "big"), place):
        (length,) = struct.unpack_from(">I", frame, place + 6)
        if not length:  # the last tile-part, up to the end
            return frame.find(_END, place)
        place += length
    return place if frame.startswith(_END, place) else -1


def _segments(frame: bytes, place: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Marker, first byte and end of each segment of a header, up to the marker `last`."""
    marker = None
    while marker != last:
        if place > _HEADER_BYTES:
            raise ValueError(f"a compressed image with more than {_HEADER_BYTES} bytes of header")
        marker, length = struct.unpack_from(">HH", frame, place)
        yield marker, place, place + 2 + length
        place += 2 + length


def _excess(frame: bytes, end: int) -> int | None:
    """Bytes after the marker at `end`; None if that is negative, as there is none."""
    if end < 0:
        return None
    tail = frame[end + len(_END) :]
    return len(tail.strip(_PADDING) if len(tail) <= _MOST_PADDING else tail)

"""What a compressed frame says of its own image, read before a decoder is trusted with it.

Decoders were seen to make up what a frame lacks, to drop what it has too much, and to hand out an
image of other rows and columns as if it were the one asked for, all without a word.
"""

import re
import struct
from typing import NamedTuple

_JPEG = b"\xff\xd8"  # start of image
_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, and image and tile size
_END = b"\xff\xd9"  # of an image or a codestream; coded data never hold it
_PADDING = b"\0\xff"  # what was seen behind the end, to fill up an even length
_MOST_PADDING = 4  # bytes; a thousand of them are an image of which a part is lost

_LS_FRAME = 0xFFF7
# SOF0 to SOF15 without the tables DHT, JPG and DAC among them, and SOF55 of JPEG-LS.
_FRAME_HEADERS = {*range(0xFFC0, 0xFFD0)} - {0xFFC4, 0xFFC8, 0xFFCC} | {_LS_FRAME}
# DHT, DQT, DRI, LSE, COM and APP0 to APP15, and what comes behind them all: the scan.
_TABLES = {0xFFC4, 0xFFDB, 0xFFDD, 0xFFF8, 0xFFFE, *range(0xFFE0, 0xFFF0)}
_SCAN = 0xFFDA
_MOST_RUNS = 1 << 20  # as many as 1024 x 1024 pixels can have; a decoder in Python takes seconds
_HEADER_BYTES = 1 << 20  # before the scan; real files have a few hundred
# What coded data never hold before the end of the one scan: in JPEG FF is followed by a zero or
# numbers a restart; in JPEG-LS by a byte below 80. Decoders skip the rest of the image there.
_STRAY = re.compile(rb"\xff[^\0\xd0-\xd7]")
_STRAY_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")
_TILE_PART = 0xFF90


class Codestream(NamedTuple):
    """The header of a JPEG, JPEG-LS or JPEG 2000 image.

    Attributes:
        rows: pixels.
        columns: pixels.
        samples: a pixel.
        precision: bits a sample.
        signed: whether the samples have a sign; JPEG and JPEG-LS know none.
        excess: bytes behind the end of the image, padding left out; None where it does not end.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    excess: int | None


def read_codestream(frame: bytes) -> Codestream:
    """Reads the header of a compressed frame, and looks for the end of its image.

    Raises:
        ValueError: if it is neither JPEG nor JPEG-LS nor JPEG 2000.
        struct.error: if it ends within the header.
    """
    return _jpeg(frame) if frame.startswith(_JPEG) else _jpeg_2000(frame)


def rle_lengths(frame: bytes, pixels: int) -> list[int]:
    """Counts the pixels in each segment of an RLE frame (PS3.5 G.3.1).

    Args:
        frame: all its fragments.
        pixels: behind so many, zeros that fill up a length are none.

    Raises:
        ValueError: if it has no segment, or says that they begin elsewhere than they can.
        struct.error: if it is shorter than its header.
    """
    segments, *starts = struct.unpack_from("<16I", frame)
    if not 0 < segments <= len(starts):
        raise ValueError(f"an RLE frame of {segments} segments")
    if starts[0] != 64 or any(starts[segments:]):
        raise ValueError("an RLE frame whose segments begin where there are none")
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
        if run < 128:  # values as they are
            length += min(run + 1, rest - 1)
            place += 2 + run
        elif run > 128:  # one value, repeated
            length += 257 - run
            place += 2
        else:
            place += 1
    return length


def _jpeg(frame: bytes) -> Codestream:
    """Walks from segment to segment up to the scan (T.81 B.2, T.87 C.2).

    Strictly, as GDCM ends the process at what libjpeg would only warn of.
    """
    place, sizes, stray = 2, [], _STRAY
    marker, length = struct.unpack_from(">HH", frame, place)
    while marker != _SCAN:
        if marker in _FRAME_HEADERS:
            sizes.append(struct.unpack_from(">BHHB", frame, place + 4))
            stray = _STRAY_LS if marker == _LS_FRAME else _STRAY
        elif marker not in _TABLES or place > _HEADER_BYTES:
            raise ValueError(f"a JPEG image with the segment {marker:04X} at byte {place}")
        elif frame.startswith(b"JFIF\0", place + 4) and frame[place + 9] != 1:
            raise ValueError(f"a JPEG image of JFIF version {frame[place + 9]}")
        place += 2 + length
        marker, length = struct.unpack_from(">HH", frame, place)
    ((precision, rows, columns, samples),) = sizes
    if not 2 <= precision <= 16:
        raise ValueError(f"a JPEG image of {precision} bits")
    scan = place + 2 + length
    end = frame.find(_END, scan)
    damage = stray.search(frame, scan, max(end, scan))
    if damage:
        raise ValueError(
            f"a JPEG image with {damage[0].hex()} at byte {damage.start()}, in its scan"
        )
    return Codestream(rows, columns, samples, precision, False, _excess(frame, end))


def _jpeg_2000(frame: bytes) -> Codestream:
    """Reads the image and tile size (T.800 A.5.1); a JP2 file may stand around the codestream."""
    place = frame.find(_JPEG_2000, 0, _HEADER_BYTES)
    if place < 0:
        raise ValueError("neither a JPEG image nor a JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", frame, place + 8)
    samples, depth = struct.unpack_from(">HB", frame, place + 40)
    size = (bottom - top, right - left, samples)
    end = _tile_parts_end(frame, place + 2)
    return Codestream(*size, (depth & 127) + 1, depth > 127, _excess(frame, end))


def _tile_parts_end(frame: bytes, place: int) -> int:
    """Walks over the main header and by their lengths over the tile-parts (T.800 A.4.2)."""
    marker, length = struct.unpack_from(">HH", frame, place)
    while marker != _TILE_PART:
        if marker < 0xFF00 or place > _HEADER_BYTES:
            raise ValueError(f"a JPEG 2000 image with the segment {marker:04X} at byte {place}")
        place += 2 + length
        marker, length = struct.unpack_from(">HH", frame, place)
    while frame.startswith(_TILE_PART.to_bytes(2, "big"), place):
        (length,) = struct.unpack_from(">I", frame, place + 6)
        if not length:  # the last one, up to the end
            return frame.find(_END, place)
        place += length
    return place if frame.startswith(_END, place) else -1


def _excess(frame: bytes, end: int) -> int | None:
    """Bytes behind the marker of an end; None where there is none."""
    if end < 0:
        return None
    tail = frame[end + len(_END) :]
    return len(tail.strip(_PADDING) if len(tail) <= _MOST_PADDING else tail)

"""Headers and ends of compressed images, whole and damaged."""

import struct
import time

import numpy as np
import pytest
from pydicom import uid

from tests.support.encoders import LOSSLESS, LOSSY, Encoder
from tfrecords_tools.dicom.codestream import read_codestream, rle_lengths

VALUES = np.random.default_rng(1).integers(0, 2048, (40, 48))
RLE, *IMAGES = (*LOSSLESS, *LOSSY[1:])


@pytest.mark.parametrize("encoder", IMAGES, ids=lambda encoder: encoder.name)
def test_size_precision_and_sign(encoder: Encoder) -> None:
    frame = encoder.encode(VALUES, 12)
    image = read_codestream(frame)
    assert (image.rows, image.columns, image.samples) == (40, 48, 1)
    assert image.precision == (encoder.precision or 12)
    assert image.signed == encoder.signed
    assert image.excess == 0
    assert read_codestream(frame + b"\0").excess == 0
    assert read_codestream(frame + b"\xff").excess == 0
    assert read_codestream(frame + b"more").excess == 4
    assert read_codestream(frame[:-2]).excess is None


def test_a_jp2_file_that_contains_a_codestream() -> None:
    jpeg_2000 = next(x for x in LOSSLESS if x.syntax == uid.JPEG2000Lossless)
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\0jp2c"
    image = read_codestream(boxes + jpeg_2000.encode(VALUES, 12))
    assert (image.rows, image.columns, image.precision) == (40, 48, 12)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8 no marker",
        b"\xff\xd8\xff\xc0\x00\x0b\x08",
        b"\xff\x4f\xff\x51\x00\x29",
        b"something else",
    ],
)
def test_other_bytes_are_rejected(frame: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        read_codestream(frame)


@pytest.mark.parametrize(
    "filling", [b"\0", b"\xff", b"\xff\xe0\0\0", b"\xff\xe0\0\x02", b"\xff\x4f\xff\x51"]
)
def test_the_search_for_a_header_ends(filling: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        read_codestream(b"\xff\xd8" + filling * ((64 << 20) // len(filling)))


@pytest.mark.parametrize(
    ("whole", "damaged", "message"),
    [
        (b"\xff\xc4", b"\x00\xc4", "segment 00C4"),
        (b"\xff\xe0", b"\xff\xff", "segment FFFF"),
        (b"\xff\xda", b"\xff\xd5", "segment FFD5"),
        (b"JFIF\0\x01", b"JFIF\0\x02", "JFIF version 2"),
        (b"\xff\xc3\x00\x0b\x0c", b"\xff\xc3\x00\x0b\x3f", "63 bits"),
        (b"\xff\xc3", b"\xff\xe3", "0 frame headers"),
    ],
)
def test_a_jpeg_header_that_would_end_the_process_in_gdcm(
    whole: bytes, damaged: bytes, message: str
) -> None:
    jpeg = next(x for x in LOSSLESS if x.syntax == uid.JPEGLosslessSV1)
    frame = jpeg.encode(VALUES, 12)
    assert whole in frame
    with pytest.raises(ValueError, match=message):
        read_codestream(frame.replace(whole, damaged, 1))


def test_pixels_of_truncated_rle_runs_are_counted() -> None:
    frame = RLE.encode(VALUES, 12)
    assert rle_lengths(frame, VALUES.size) == [VALUES.size] * 2
    for padding in (b"\0", b"\0\0", b"\0\0\0"):
        assert rle_lengths(frame + padding, VALUES.size) == [VALUES.size] * 2
    assert rle_lengths(frame + b"\0\1", VALUES.size)[1] > VALUES.size
    assert rle_lengths(frame[:-5], VALUES.size)[1] < VALUES.size
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    runs = header + bytes([2, 7, 7, 7, 128, 254, 9, 0, 0])
    assert rle_lengths(runs, 3 + 3) == [3 + 3]
    assert rle_lengths(runs, 3 + 3 + 1) == [3 + 3 + 1]
    for segments in (0, 16):
        with pytest.raises(ValueError, match="segments"):
            rle_lengths(struct.pack("<16I", segments, *[64] * 15), 1)
    with pytest.raises(struct.error):
        rle_lengths(b"short", 1)


SV1 = next(x for x in LOSSLESS if x.syntax == uid.JPEGLosslessSV1)
JPEG_LS = next(x for x in LOSSLESS if x.syntax == uid.JPEGLSLossless)
JPEG_2000 = next(x for x in LOSSLESS if x.syntax == uid.JPEG2000Lossless)


@pytest.mark.parametrize(
    ("encoder", "damage"),
    [(SV1, b"\xff\x76"), (SV1, b"\xff\xff"), (SV1, b"\xff\xda"), (JPEG_LS, b"\xff\x80")],
)
def test_a_marker_within_the_scan_is_rejected(encoder: Encoder, damage: bytes) -> None:
    """Decoders skip it, or invent the rest of the image."""
    frame = encoder.encode(VALUES, 12)
    middle = len(frame) // 2
    with pytest.raises(ValueError, match=f"{damage.hex()} at byte {middle}, in its scan"):
        read_codestream(frame[:middle] + damage + frame[middle + 2 :])


def test_restart_markers_are_no_damage() -> None:
    frame = SV1.encode(VALUES, 12)
    middle = len(frame) // 2
    assert read_codestream(frame[:middle] + b"\xff\xd3" + frame[middle + 2 :]).excess == 0


@pytest.mark.parametrize("encoder", [SV1, JPEG_LS, JPEG_2000], ids=lambda encoder: encoder.name)
def test_a_lost_part_after_an_early_end_is_not_padding(encoder: Encoder) -> None:
    frame = encoder.encode(VALUES, 12)
    cut = frame[: len(frame) // 2] + b"\xff\xd9"
    assert read_codestream(cut.ljust(len(frame), b"\0")).excess != 0


def test_tile_parts_of_jpeg_2000_are_followed_to_their_end() -> None:
    frame = JPEG_2000.encode(VALUES, 12)
    place = frame.index(b"\xff\x90") + 6
    (length,) = struct.unpack_from(">I", frame, place)
    for said, excess in ((length, 0), (0, 0), (length - 1, None), (length + 1, None), (8, None)):
        changed = frame[:place] + struct.pack(">I", said) + frame[place + 4 :]
        assert read_codestream(changed).excess == excess
    with pytest.raises(ValueError, match="a JPEG 2000 image with the segment"):
        read_codestream(frame.replace(b"\xff\x52", b"\x7f\x52", 1))


@pytest.mark.parametrize(("place", "start"), [(1, 65), (1, 0), (3, 64), (15, 1)])
def test_a_wrong_rle_header_is_rejected(place: int, start: int) -> None:
    frame = bytearray(RLE.encode(VALUES, 12))
    struct.pack_into("<I", frame, 4 * place, start)
    with pytest.raises(ValueError, match="do not begin where"):
        rle_lengths(bytes(frame), VALUES.size)


def test_an_rle_image_that_would_take_many_seconds_is_rejected() -> None:
    """4096 x 4096 pixels, one run each."""
    segment = b"\0\7" * 4096 * 4096
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    begun = time.process_time()
    with pytest.raises(ValueError, match="more than 1048576 runs"):
        rle_lengths(header + segment + segment, 4096 * 4096)
    assert time.process_time() - begun < 5

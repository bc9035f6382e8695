"""Files whose elements are not whole or not in order, which parsers read without a warning."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from tests.fuzzing.hostile_corpus import made_samples
from tests.fuzzing.mutations import PIXEL_DATA, layout, nested
from tests.support.made_dicom import TRUE_HU, make_dataset, saved
from tests.support.references import gdcm_hu, openjph_hu
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.dicom.structure import META, check_fragments, check_rest

STORED = np.int16(TRUE_HU + 1024)
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
UNDEFINED = b"\xff\xff\xff\xff"
ITEM, ITEM_END, SEQUENCE_END = (
    b"\xfe\xff" + name for name in (b"\0\xe0", b"\x0d\xe0", b"\xdd\xe0")
)
INNER = b"\x40\x00\x07\x00LO\x02\x00ab"


def whole(syntax: str = uid.ExplicitVRLittleEndian) -> bytes:
    return saved(make_dataset(STORED, syntax=syntax)).getvalue()


def rejection(content: bytes) -> str:
    with pytest.raises(RejectedSlice) as caught:
        read_slice(io.BytesIO(content))
    assert caught.value.reason == "not_dicom"
    return caught.value.detail


def element(content: bytes, tag: int) -> tuple[int, int, int]:
    found = layout(content).of(tag)
    assert found
    return found.start, found.value, found.end


def before_pixels(content: bytes, inserted: bytes) -> bytes:
    start, _, _ = element(content, PIXEL_DATA)
    return content[:start] + inserted + content[start:]


def sequence(items: bytes, length: bytes = UNDEFINED) -> bytes:
    """An element that nobody here asks for, right before Pixel Data."""
    return b"\x40\x00\x75\x02SQ\0\0" + length + items


@pytest.mark.parametrize("syntax", NATIVE)
def test_whole_files_are_read(syntax: str) -> None:
    np.testing.assert_array_equal(read_slice(io.BytesIO(whole(syntax))).hu, TRUE_HU)


@pytest.mark.parametrize(
    "junk", [b"\1", b"junk after the pixels", bytes(511) + b"\1", b"\1" + bytes(7)]
)
@pytest.mark.parametrize("syntax", NATIVE[:3])
def test_bytes_after_the_last_element_are_rejected(syntax: str, junk: bytes) -> None:
    assert rejection(whole(syntax) + junk).startswith("not a whole DICOM file")


@pytest.mark.parametrize("zeros", [1, 4, 7, 8, 512])
def test_zeros_after_the_last_element_are_no_damage(zeros: int, tmp_path: Path) -> None:
    """As where a file fills whole blocks. GDCM and OpenJPH read the same HU; with some numbers of
    zeros GDCM refuses the file.
    """
    file = tmp_path / "slice.dcm"
    for sample in made_samples():
        file.write_bytes(sample.content)
        hu, theirs = read_slice(file).hu, by_others(file)
        file.write_bytes(sample.content + bytes(zeros))
        np.testing.assert_array_equal(read_slice(file).hu, hu, err_msg=sample.name)
        if zeros % 8 < 4 and (zeros < 4 or "Big Endian" not in sample.name):
            np.testing.assert_array_equal(by_others(file), theirs, err_msg=sample.name)


def by_others(path: Path) -> np.ndarray:
    """HU by GDCM, or by OpenJPH where GDCM does not know the syntax."""
    try:
        return gdcm_hu(path)
    except AssertionError:
        return openjph_hu(path)


@pytest.mark.parametrize("syntax", NATIVE[:3])
def test_zeros_before_the_pixels_are_rejected(syntax: str) -> None:
    assert rejection(before_pixels(whole(syntax), bytes(8)))


def test_zeros_after_elements_that_follow_the_pixels_are_no_damage() -> None:
    last = struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, 4) + bytes(4)
    for zeros in (0, 1, 8, 9):
        content = whole() + last + bytes(zeros)
        np.testing.assert_array_equal(read_slice(io.BytesIO(content)).hu, TRUE_HU)
    assert "00000000 follows 7FE00010" in rejection(whole() + bytes(8) + last)
    assert rejection(whole() + last[:-1]).endswith("it ends within 7FE11001")


def test_zeros_do_not_replace_lost_pixels() -> None:
    """Cut off, and then filled up to whole blocks with less than what was lost."""
    _, _, end = element(whole(), PIXEL_DATA)
    for lost, zeros in ((100, 50), (100, 99)):
        with pytest.raises(RejectedSlice, match="truncated_pixels"):
            read_slice(io.BytesIO(whole()[: end - lost] + bytes(zeros)))


def test_elements_of_another_file_after_the_pixels_are_rejected() -> None:
    """Their identifiers would be read with the pixels, and not with the header."""
    other = saved(make_dataset(STORED, SOPInstanceUID="ID_other")).getvalue()
    _, start, _ = element(other, 0x00020010)
    assert rejection(whole() + other[start + 20 :]).startswith(
        "not a whole DICOM file: 00080018 follows 7FE00010; unless another file begins there"
    )


def test_a_duplicate_element_is_rejected() -> None:
    """pydicom takes the last one, GDCM the first."""
    content = whole()
    start, value, end = element(content, 0x00281052)
    other = content[start:value] + b"0".ljust(end - value)
    assert "00281052 occurs twice" in rejection(content[:end] + other + content[end:])


def test_a_value_that_is_cut_off_is_rejected() -> None:
    content = whole() + struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, 100) + bytes(99)
    assert rejection(content).endswith("it ends within 7FE11001")


def test_an_unknown_vr_is_rejected() -> None:
    content = before_pixels(whole(), b"\x40\x00\x75\x02XX\x02\x00ab")
    assert "00400275 has the unknown VR XX" in rejection(content)


@pytest.mark.parametrize(
    ("tag", "vr", "rejected"),
    [
        (b"\x00\x60\x11\x00", b"SS", True),  # overlay columns; GDCM ends the process
        (b"\x00\x60\x11\x00", b"US", False),
        (b"\x00\x60\x11\x00", b"UN", False),
        (b"\x28\x00\x50\x10", b"FD", True),  # window center
        (b"\x28\x00\xfe\xff", b"SS", False),  # unknown
        (b"\x30\x00\x10\x00", b"SS", False),  # none of the image
    ],
)
def test_elements_of_the_image_need_their_vr(tag: bytes, vr: bytes, rejected: bool) -> None:
    length = b"\0\0\x02\0\0\0" if vr == b"UN" else b"\x02\0"
    content = tag + vr + length + b"\1\0"
    if not rejected:
        check_rest(content, META, before=-1)
        return
    with pytest.raises(ValueError, match=f"has the VR {vr.decode()}"):
        check_rest(content, META, before=-1)


@pytest.mark.parametrize(
    "items",
    [
        ITEM + b"\x0a\0\0\0" + INNER + SEQUENCE_END + bytes(4),
        ITEM + UNDEFINED + INNER + ITEM_END + bytes(4) + SEQUENCE_END + bytes(4),
        SEQUENCE_END + bytes(4),
    ],
)
def test_sequences_of_every_kind_of_length_are_accepted(items: bytes) -> None:
    content = before_pixels(whole(), sequence(items))
    np.testing.assert_array_equal(read_slice(io.BytesIO(content)).hu, TRUE_HU)


@pytest.mark.parametrize(
    ("items", "length", "message"),
    [
        (ITEM_END + bytes(4), UNDEFINED, "No tag to read"),
        (ITEM + b"\x09\0\0\0" + INNER, b"\x12\0\0\0", "an item of 9 bytes holds 10"),
        (ITEM + b"\x08\0\0\0" + ITEM + bytes(4), b"\x10\0\0\0", "FFFEE000 has the unknown VR"),
    ],
)
def test_damaged_sequences_are_rejected(items: bytes, length: bytes, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        check_rest(sequence(items, length), META, before=-1)


@pytest.mark.parametrize("defined", [False, True])
@pytest.mark.parametrize("levels", [40, 5000])
def test_sequences_without_end_are_rejected(levels: int, defined: bool) -> None:
    assert rejection(before_pixels(whole(), nested(levels, defined=defined)))


def test_pixel_fragments_must_be_whole() -> None:
    content = encapsulate([bytes(100), bytes(30)], has_bot=False)
    check_fragments(content)
    with pytest.raises(ValueError, match="it ends within a fragment"):
        check_fragments(content[:-20])


def test_an_empty_fragment_is_rejected() -> None:
    """GDCM does not read it, nor any behind it."""
    table = ITEM + bytes(4)
    content = encapsulate([bytes(30)], has_bot=False)
    assert content.count(table) == 1
    with pytest.raises(ValueError, match="a fragment of the pixels is empty"):
        check_fragments(content.replace(table, table + table))


def test_nested_sequences_of_a_whole_file_are_accepted() -> None:
    inner, outer = Dataset(), Dataset()
    inner.PatientID = "one"
    outer.ReferencedStudySequence = Sequence([inner, inner])
    dataset = make_dataset(STORED)
    dataset.ReferencedImageSequence = Sequence([outer])
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


def test_bytes_after_the_deflated_data_are_rejected() -> None:
    content = whole(uid.DeflatedExplicitVRLittleEndian)
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    begin = content.index(uid.DeflatedExplicitVRLittleEndian.encode()) + 22
    body = inflator.decompress(content[begin:])
    content = content.removesuffix(inflator.unused_data)  # a byte that makes the length even
    trailer = struct.pack("<II", zlib.crc32(body), len(body))  # gzip's, as some writers leave it
    for rest in (b"", b"\0", bytes(512), trailer, trailer + bytes(9)):
        np.testing.assert_array_equal(read_slice(io.BytesIO(content + rest)).hu, TRUE_HU)
    for rest in (b"more", trailer[::-1], bytes(8) + trailer, trailer + trailer, bytes(7) + b"\1"):
        assert "bytes follow the deflated data" in rejection(content + rest)


def test_zeros_within_the_deflated_data_are_no_damage() -> None:
    content = whole(uid.DeflatedExplicitVRLittleEndian)
    begin = content.index(uid.DeflatedExplicitVRLittleEndian.encode()) + 22
    body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[begin:])
    for rest, is_read in ((bytes(5), True), (bytes(4096), True), (b"\0\1", False)):
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        padded = content[:begin] + packer.compress(body + rest) + packer.flush()
        if is_read:
            np.testing.assert_array_equal(read_slice(io.BytesIO(padded)).hu, TRUE_HU)
        else:
            rejection(padded)

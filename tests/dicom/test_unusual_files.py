"""Files written against the standard: read where other readers agree, or rejected with advice."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support.made_dicom import TRUE_HU, make_dataset, read, rejection, saved
from tests.support.references import gdcm_hu, itk_hu
from tfrecords_tools.dicom.reader import read_header, read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice

STORED = np.int16(TRUE_HU + 1024)
YAMADA = "\u5c71\u7530"
DATA_SET = struct.pack("<HH", 0x0008, 0x0018)  # the first element after the file meta information
PIXELS = struct.pack("<HH", 0x7FE0, 0x0010)


def whole(syntax: str = ExplicitVRLittleEndian) -> bytes:
    return saved(make_dataset(STORED, syntax=syntax)).read()


def meta(content: bytes) -> bytes:
    return content[: content.index(DATA_SET)]


def body(content: bytes) -> bytes:
    return content[content.index(DATA_SET) :]


def taken(content: bytes, tag: int) -> tuple[bytes, bytes]:
    """An element of a short VR, and the file without it."""
    start = content.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    end = start + 8 + struct.unpack_from("<H", content, start + 6)[0]
    return content[start:end], content[:start] + content[end:]


def moved(tag: int, after_pixels: bool = False) -> bytes:
    element, rest = taken(whole(), tag)
    place = len(rest) if after_pixels else rest.index(PIXELS)
    return rest[:place] + element + rest[place:]


def padded(size: int) -> bytes:
    dataset = make_dataset(STORED)
    dataset.PixelData += bytes(size)
    return saved(dataset).read()


def in_vr(tag: int, vr: bytes) -> bytes:
    element, _ = taken(whole(), tag)
    return whole().replace(element, element[:4] + vr + element[6:])


EXPLICIT, IMPLICIT = whole(), whole(ImplicitVRLittleEndian)
READ = {
    "two zeros behind the pixels": padded(2),
    "a block of zeros behind the pixels": padded(512),
    "trailing padding": EXPLICIT + struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 64) + bytes(64),
    "implicit elements, declared as explicit": meta(EXPLICIT) + body(IMPLICIT),
    "explicit without file meta information": body(EXPLICIT),
    "implicit without file meta information": body(IMPLICIT),
    "a preamble without file meta information": EXPLICIT[:132] + body(EXPLICIT),
    "the patient behind the image": moved(0x00100020),
    "the orientation behind the image": moved(0x00200037),
    "the rows behind the rescale": moved(0x00280010),
    "Modality as LO": in_vr(0x00080060, b"LO"),
    "SOP Instance UID as LO": in_vr(0x00080018, b"LO"),
    "Patient ID as SH": in_vr(0x00100020, b"SH"),
    "Study Instance UID as CS": in_vr(0x0020000D, b"CS"),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_a_file_that_other_readers_agree_on_is_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "slice.dcm"
    file.write_bytes(content)
    np.testing.assert_array_equal(read_slice(file).hu, TRUE_HU)
    np.testing.assert_array_equal(gdcm_hu(file), TRUE_HU)
    np.testing.assert_array_equal(itk_hu(file), TRUE_HU)
    assert read_header(file).slice == read_header(io.BytesIO(EXPLICIT)).slice
    dataset = dcmread(file, force=True)
    assert dataset.PixelData[: STORED.nbytes] == STORED.tobytes()
    assert (dataset.Rows, dataset.RescaleIntercept) == (TRUE_HU.shape[0], -1024)


def gdcmconv(*options: str) -> Callable[[Path, Path], None]:
    pytest.importorskip("gdcm")
    program = Path(sys.executable).with_name("gdcmconv")
    return lambda old, new: subprocess.run([program, *options, old, new], check=True) and None


def written_implicit(old: Path, new: Path) -> None:
    dcmread(old).save_as(new, implicit_vr=True)


BIG = whole(ExplicitVRBigEndian)
MENDED = {
    "the rescale behind the pixels": (moved(0x00281052, after_pixels=True), None),
    "the patient behind the pixels": (
        moved(0x00100020, after_pixels=True),
        "`gdcmconv --raw IN OUT`",
    ),
    "big endian without file meta information": (
        BIG[BIG.index(DATA_SET[1::-1]) :],
        "`gdcmconv --raw IN OUT`",
    ),
    "Rows as SS": (in_vr(0x00280010, b"SS"), "`gdcmconv --implicit IN OUT`"),
    "Pixel Spacing as LO": (in_vr(0x00280030, b"LO"), "`gdcmconv --implicit IN OUT`"),
    "Rescale Slope as LO": (in_vr(0x00281053, b"LO"), "`gdcmconv --implicit IN OUT`"),
    "explicit elements, declared as implicit": (
        meta(IMPLICIT) + body(EXPLICIT),
        "pydicom's `dcmread(IN).save_as(OUT, implicit_vr=True)`",
    ),
}


@pytest.mark.parametrize(("content", "advice"), MENDED.values(), ids=MENDED)
def test_the_advice_of_a_rejection_mends_the_file(
    content: bytes, advice: str | None, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.dcm", tmp_path / "new.dcm"
    old.write_bytes(content)
    with pytest.raises(RejectedSlice) as rejected:
        read_slice(old)
    assert (advice or "") in rejected.value.detail
    if advice and advice.startswith("pydicom"):
        written_implicit(old, new)
    else:
        gdcmconv("--implicit" if "--implicit" in (advice or "") else "--raw")(old, new)
    np.testing.assert_array_equal(read_slice(new).hu, TRUE_HU)


def test_a_vr_that_no_tool_mends_has_no_such_advice() -> None:
    """Eight characters, declared as one binary number."""
    with pytest.raises(RejectedSlice, match=r"PixelSpacing has the VR FD; export again$"):
        read_slice(io.BytesIO(in_vr(0x00280030, b"FD")))


@pytest.mark.parametrize("size", [80, 3840, 7680])
def test_zeros_that_may_be_pixels_are_rejected(size: int) -> None:
    """Rows of 49 pixels, a second image, and a third."""
    smooth = np.add.outer(np.arange(-1000, 0, 25), np.zeros(48 if size > 80 else 49)).astype(int)
    smooth = smooth + np.arange(smooth.shape[1]) ** 2
    smooth[-1] = -1024
    dataset = make_dataset(np.int16(smooth + 1024))
    dataset.Columns = 48
    dataset.PixelData += bytes(size if size > 80 else 0)
    with pytest.raises(RejectedSlice, match="overlong_pixels"):
        read_slice(saved(dataset))


def test_bytes_within_the_pixels_that_are_no_zeros_are_rejected() -> None:
    dataset = make_dataset(STORED)
    dataset.PixelData += bytes(63) + b"\1"
    with pytest.raises(RejectedSlice, match=r"overlong_pixels: .* the rest may be pixels"):
        read_slice(saved(dataset))


def test_compressed_pixels_without_file_meta_information_are_rejected() -> None:
    dataset = make_dataset(STORED)
    content = body(saved(dataset).read())
    start = content.index(PIXELS)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, STORED.nbytes - 8) + STORED.tobytes()[8:]
    pixels = PIXELS + b"OB\0\0" + b"\xff" * 4 + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    with pytest.raises(RejectedSlice, match="declared as uncompressed"):
        read_slice(io.BytesIO(content[:start] + pixels))


@pytest.mark.parametrize(
    ("character_set", "name", "encoded"),
    [
        (["", "ISO 2022 IR 87"], YAMADA, b"\x1b$B;3ED\x1b(B"),
        (["", "ISO 2022 IR 149"], "\uae40 1", b"\x1b$)C\xb1\xe8 1"),
        ("GB18030", "\u4e02", b"\x81\x40"),
        ("ISO_IR 192", f"{YAMADA}\u30001", f"{YAMADA}\u30001".encode()),
    ],
)
def test_a_patient_id_in_a_declared_character_set_is_decoded(
    character_set: str | list[str], name: str, encoded: bytes
) -> None:
    dataset = make_dataset(STORED)
    dataset.SpecificCharacterSet = character_set
    content = saved(dataset).read()
    element, _ = taken(content, 0x00100020)
    value = encoded + b" " * (len(encoded) % 2)
    changed = content.replace(element, element[:6] + struct.pack("<H", len(value)) + value)
    assert read_slice(io.BytesIO(changed)).header.patient_id == name


def test_escapes_that_no_character_set_declares_are_rejected() -> None:
    assert rejection(PatientID="a\x1b[2Jb") == "bad_identifier"
    assert rejection(PatientID="a\x1b[2Jb", SpecificCharacterSet="ISO 2022 IR 87") == (
        "bad_identifier"
    )


@pytest.mark.parametrize(
    ("value", "is_image"),
    [
        ("LOW DOSE", True),
        ("ULTRA_LOW_DOSE", True),
        ("LOWDOSE CT", True),
        ("IDOSE_4", True),
        ("DOSE", False),
        ("DOSE_INFO", False),
        ("LOW DOSE REPORT", False),
        ("LOW_DOSE_SHEET", False),
        ("LOW DOSE SCREEN SAVE", False),
    ],
)
def test_a_low_dose_image_is_no_dose_sheet(value: str, is_image: bool) -> None:
    image_type = ["ORIGINAL", "PRIMARY", "AXIAL", value]
    if is_image:
        np.testing.assert_array_equal(read(STORED, ImageType=image_type).hu, TRUE_HU)
    else:
        assert rejection(ImageType=image_type) == "secondary_capture"


def test_an_enhanced_ct_is_rejected_with_the_tool_that_splits_it() -> None:
    with pytest.raises(RejectedSlice, match=r"multi_frame: .*`emf2sf --out-dir DIR IN` splits it"):
        read(STORED, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")

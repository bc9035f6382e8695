"""HU of synthetic files with one quirk each, and rejections."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, FileDataset
from pydicom.dataelem import DataElement
from pydicom.pixels import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.support.made_dicom import TRUE_HU, make_dataset, read, rejection, saved
from tests.support.references import gdcm_hu, itk_hu
from tfrecords_tools.dicom.parsing import MAX_BYTES
from tfrecords_tools.dicom.reader import read_header, read_slice
from tfrecords_tools.dicom.rejection import REASONS, RejectedSlice
from tfrecords_tools.dicom.rescale import AIR, MAX_HU, MIN_HU

WHOLE = saved(make_dataset(np.int16(TRUE_HU + 1024))).read()


@pytest.mark.parametrize(
    ("bits", "signed", "intercept"),
    [
        (12, 0, -1024),
        (12, 0, -1000),
        (12, 1, 0),
        (16, 1, -1024),
        (16, 1, 0),
        (16, 0, -1024),
        (14, 1, -1024),
    ],
)
def test_hu_of_every_header_combination(bits: int, signed: int, intercept: int) -> None:
    stored = (TRUE_HU - intercept).astype(np.int16 if signed else np.uint16)
    hu = read(stored, BitsStored=bits, RescaleIntercept=str(intercept)).hu
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu, TRUE_HU)


@pytest.mark.parametrize("intercept", [0, 1, -99])
def test_hu_wrapped_into_12_bits_are_unwrapped(intercept: int) -> None:
    stored = (TRUE_HU % 4096).astype(np.uint16)
    assert stored.max() > 3095
    hu = read(stored, BitsStored=12, RescaleIntercept=str(intercept)).hu
    np.testing.assert_array_equal(hu, TRUE_HU)


def test_an_intercept_of_zero_needs_air_to_confirm_it() -> None:
    shifted = np.int16(TRUE_HU + 1024)
    assert rejection(shifted, RescaleIntercept="0") == "no_air"
    assert rejection(shifted.astype(np.uint16), RescaleIntercept="0", BitsStored=12) == "no_air"
    padded = np.where(TRUE_HU == -1000, -2000, shifted).astype(np.int16)
    assert rejection(padded, RescaleIntercept="0") == "no_air"


@pytest.mark.parametrize(
    ("bits", "intercept", "trusted"), [(16, -100, True), (16, -99, False), (9, -1024, True)]
)
def test_a_head_that_fills_the_field_of_view_needs_a_common_header(
    bits: int, intercept: int, trusted: bool
) -> None:
    stored = np.full((40, 48), 300, np.uint16)
    if trusted:
        hu = read(stored, BitsStored=bits, RescaleIntercept=str(intercept)).hu
        np.testing.assert_array_equal(hu, 300 + intercept)
    else:
        assert rejection(stored, BitsStored=bits, RescaleIntercept=str(intercept)) == "no_air"


def test_hu_up_to_the_limits_are_accepted() -> None:
    assert (MIN_HU, MAX_HU) == (-4096, 32767)  # as docs/reference/dicom.md says
    for limit, beyond in ((-4096, -4097), (32767, 32768)):
        stored = np.full((40, 48), limit + 5000, np.uint16)
        np.testing.assert_array_equal(read(stored, RescaleIntercept="-5000").hu, limit)
        stored[20, 20] = beyond + 5000
        assert rejection(stored, RescaleIntercept="-5000") == "implausible_hu"


def test_intercepts_up_to_the_limit_are_accepted() -> None:
    hu = read(np.full((40, 48), 32767, np.uint16), RescaleIntercept="-32767").hu
    np.testing.assert_array_equal(hu, 0)
    assert rejection(np.full((40, 48), 32768, np.uint16), RescaleIntercept="-32768") == (
        "implausible_hu"
    )


def test_a_rescale_type_of_hu_is_accepted() -> None:
    hu = read(np.int16(TRUE_HU + 1024), RescaleType="HU").hu
    np.testing.assert_array_equal(hu, TRUE_HU)


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [
        ("2", "-1024"),
        ("0.5", "-1000"),
        ("2.0002442", "-1047.5"),
        ("1", "-1024.5"),
        ("1E+00", "-1E3"),
    ],
)
def test_any_rescale_matches_itk_in_double_precision(
    slope: str, intercept: str, tmp_path: Path
) -> None:
    stored = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    file = tmp_path / "slice.dcm"
    dataset = make_dataset(stored, RescaleSlope=slope, RescaleIntercept=intercept)
    file.write_bytes(saved(dataset).read())
    hu = read_slice(file).hu
    np.testing.assert_array_equal(hu, (stored * float(slope) + float(intercept)).astype(np.float32))
    np.testing.assert_array_equal(hu, itk_hu(file).astype(np.float32))


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_native_syntaxes_give_the_same_native_array(syntax: str) -> None:
    hu = read(np.int16(TRUE_HU + 1024), syntax=syntax, PixelPaddingValue=24).hu
    assert hu.dtype.isnative
    np.testing.assert_array_equal(hu, TRUE_HU)


def test_monochrome1_changes_the_display_only() -> None:
    hu = read(np.int16(TRUE_HU + 1024), PhotometricInterpretation="MONOCHROME1").hu
    np.testing.assert_array_equal(hu, TRUE_HU)


NO_RESCALE = {"RescaleSlope": None, "RescaleIntercept": None}


def lut(values: np.ndarray, first: int = 0) -> Sequence:
    """A Modality LUT whose values are those of the stored values from `first` on."""
    item = Dataset()
    count = len(values) % 65536  # all of 16 bits are called 0
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count, first, 16])
    item.add_new("ModalityLUTType", "LO", "HU")
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return Sequence([item])


def test_a_modality_lut_is_applied_and_needs_air() -> None:
    stored = np.uint16(TRUE_HU + 1024)
    hu = read(stored, ModalityLUTSequence=lut(np.arange(3000) - 1024), **NO_RESCALE).hu
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu, TRUE_HU)
    assert rejection(stored, ModalityLUTSequence=lut(np.arange(3000)), **NO_RESCALE) == "no_air"
    empty = Sequence([Dataset()])
    assert rejection(stored, ModalityLUTSequence=empty, **NO_RESCALE) == "bad_header"


@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_modality_lut_is_in_the_byte_order_of_its_file(vr: str, syntax: str) -> None:
    table = lut(np.arange(3000) - 1024)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    entries = (np.arange(3000) - 1024).astype(np.uint16)
    value = entries.astype(f"{order}u2").tobytes() if vr == "OW" else entries.tolist()
    table[0].add_new("LUTData", vr, value)
    stored = np.uint16(TRUE_HU + 1024)
    hu = read(stored, syntax=syntax, ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu, TRUE_HU)


def test_a_modality_lut_of_9_bits() -> None:
    """With fewer bits it is a picture."""
    stored = np.uint16((TRUE_HU + 1000) // 8)
    table = lut(8 * np.arange(512) - 1000)
    hu = read(stored, BitsStored=9, ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu, 8.0 * stored - 1000)


@pytest.mark.parametrize(
    ("descriptor", "fault"),
    [
        ([3001, 0, 16], "3000 entries of 16 bits, not 3001 of 16"),
        ([0, 0, 16], "3000 entries of 16 bits, not 65536 of 16"),
        ([3000, 0, 12], "3000 entries of 12 bits, not 3000 of 16"),
        ([3000, 0], "not enough values to unpack .*"),
    ],
)
def test_a_modality_lut_that_contradicts_its_descriptor_is_rejected(
    descriptor: list[int], fault: str
) -> None:
    table = lut(np.arange(3000) - 1024)
    table[0].LUTDescriptor = descriptor
    with pytest.raises(RejectedSlice, match=f"^bad_header: Modality LUT Sequence: {fault}$"):
        read(np.uint16(TRUE_HU + 1024), ModalityLUTSequence=table, **NO_RESCALE)


def test_a_modality_lut_of_all_16_bits() -> None:
    table = lut(np.arange(-32768, 32768), first=-32768)
    stored = np.int16(TRUE_HU)
    stored[20, 20] = 32767
    hu = read(stored, ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu, stored)


def test_bytes_after_the_entries_of_a_modality_lut_are_ignored() -> None:
    table = lut(np.arange(3000) - 1024)
    table[0].LUTDescriptor = [2000, 0, 16]
    hu = read(np.uint16(TRUE_HU + 1024), ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu, np.minimum(TRUE_HU, 975))


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_modality_lut_beside_a_rescale_is_rejected(keyword: str) -> None:
    """GDCM applies the rescale, others the table."""
    elements = {**NO_RESCALE, keyword: "1", "ModalityLUTSequence": lut(np.arange(3000) - 1024)}
    wanted = "^no_rescale: a rescale and a Modality LUT; only one is allowed$"
    with pytest.raises(RejectedSlice, match=wanted):
        read(np.uint16(TRUE_HU + 1024), **elements)


def test_an_empty_modality_lut_is_ignored() -> None:
    """Otherwise stored values would count as HU, and a rescale would be cut to integers."""
    stored = np.int16(TRUE_HU)
    assert rejection(stored, ModalityLUTSequence=Sequence([]), **NO_RESCALE) == "no_rescale"
    rescale = {"RescaleSlope": "0.5", "RescaleIntercept": "-1024"}
    hu = read(np.uint16(TRUE_HU + 1024), ModalityLUTSequence=Sequence([]), **rescale).hu
    np.testing.assert_array_equal(hu, (TRUE_HU + 1024) / 2 - 1024)


def test_a_modality_lut_of_some_signed_values() -> None:
    """Values beyond its ends map to the ends (PS3.3 C.11.1.1.1)."""
    table = lut(np.arange(-900, 1500), first=-900)
    stored = np.int16(TRUE_HU - 100)
    hu = read(stored, ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu, np.clip(TRUE_HU - 100, -900, 1499))
    theirs = apply_modality_lut(stored, make_dataset(stored, ModalityLUTSequence=table))
    np.testing.assert_array_equal(hu, theirs.view(np.int16))


def test_the_brightest_signed_values_beyond_a_modality_lut_are_bright() -> None:
    """From 31868 on, the index does not fit 16 bits, and metal would become air."""
    stored = np.int16(TRUE_HU - 100)
    stored[20, :2] = 31867, 32767
    table = lut(np.arange(-900, 1500), first=-900)
    hu = read(stored, ModalityLUTSequence=table, **NO_RESCALE).hu
    np.testing.assert_array_equal(hu[20, :2], 1499)


@pytest.mark.parametrize(
    ("air", "pixels", "enough"),
    [
        (-1000, 4, True),
        (-1000, 3, False),
        (-1149, 4, True),
        (-1150, 4, False),
        (-851, 4, True),
        (-850, 4, False),
    ],
)
def test_two_pixels_in_a_thousand_suffice_as_air(air: int, pixels: int, enough: bool) -> None:
    """As docs/reference/dicom.md says: at least 0.2 % of the pixels, between -1150 and -850 HU."""
    stored = np.full((40, 50), 40, np.int16)
    stored[0, :pixels] = air
    if enough:
        np.testing.assert_array_equal(read(stored, RescaleIntercept="0").hu, stored)
    else:
        assert rejection(stored, RescaleIntercept="0") == "no_air"


def with_padding(
    stored: np.ndarray, padding: int, limit: int | None = None, **elements: Any
) -> FileDataset:
    """A slice that declares padding, each value signed or unsigned as required."""
    dataset = make_dataset(stored, **elements)
    for keyword, value in (("PixelPaddingValue", padding), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            dataset.add(DataElement(keyword, "US" if value > 32767 else "SS", value))
    return dataset


@pytest.mark.parametrize(
    ("padding", "limit", "stored", "expected"),
    [
        (-2000, None, -2000, -3024),  # low, and stays low
        (63536, None, -2000, -3024),  # the same, as unsigned bits
        (-32768, None, -32768, -4096),
        (173, None, 173, AIR),  # -851 HU
        (4095, None, 4095, AIR),  # high, and must not look like metal
        (4025, 4095, 4095, AIR),  # from 3001 HU on
        (4095, 4025, 4025, AIR),
    ],
)
def test_padding_is_never_above_air(
    padding: int, limit: int | None, stored: int, expected: float
) -> None:
    values = np.int16(np.where(TRUE_HU == -851, -852, TRUE_HU) + 1024)
    values[0] = stored
    hu = read_slice(saved(with_padding(values, padding, limit))).hu
    np.testing.assert_array_equal(hu[0], expected)
    np.testing.assert_array_equal(hu[1:], values[1:] - 1024)


@pytest.mark.parametrize(
    ("kind", "padding", "limit", "elements"),
    [
        (np.int16, 0, None, {"RescaleIntercept": "0"}),  # cerebrospinal fluid
        (np.int16, 0, None, {"RescaleIntercept": "-99"}),
        (np.int16, -850, None, {"RescaleIntercept": "0"}),
        (np.int16, -2000, 0, {"RescaleIntercept": "0"}),  # straddles air and tissue
        (np.int16, 0, -2000, {"RescaleIntercept": "0"}),
        (np.int16, 63536, 0, {"RescaleIntercept": "0"}),
        (np.int16, 63536, 200, {}),
        (np.uint16, 0, 65535, {}),  # every value that there is; metal would turn into air
        (np.uint16, 3000, 4095, {}),  # dense bone is among them
        (np.uint16, 4024, 4095, {}),  # from 3000 HU on
        (np.uint16, 1024, None, {"BitsStored": 12}),
        (np.uint16, 2048, None, {"RescaleSlope": "0.5"}),  # 0 HU
        (np.uint16, 500, None, {"RescaleSlope": "2", "RescaleIntercept": "-1000"}),
    ],
)
def test_padding_values_that_tissue_can_have_are_ignored(
    kind: type, padding: int, limit: int | None, elements: dict[str, str], tmp_path: Path
) -> None:
    """No value of the image is padding (PS3.3 C.7.5.1.1.2), so the header contradicts it."""
    slope = float(elements.get("RescaleSlope", 1))
    intercept = float(elements.get("RescaleIntercept", -1024))
    stored = ((TRUE_HU - intercept) / slope).astype(kind)
    stored[12, :4] = [(x - intercept) / slope for x in (0, -800, 1900, 3000)]
    stored[13] = padding if padding < 4096 else padding - 65536
    file = tmp_path / "slice.dcm"
    file.write_bytes(saved(with_padding(stored, padding, limit, **elements)).read())
    hu = read_slice(file).hu
    np.testing.assert_array_equal(hu, stored * slope + intercept)
    np.testing.assert_array_equal(hu, gdcm_hu(file))
    np.testing.assert_array_equal(hu, itk_hu(file))


@pytest.mark.parametrize(("padding", "expected"), [(0, 0), (3000, 3000), (3245, AIR)])
def test_padding_of_wrapped_hu_is_compared_in_hu(padding: int, expected: float) -> None:
    """3245 is -851 HU after unwrapping."""
    stored = np.where(TRUE_HU == -851, -852, TRUE_HU) % 4096
    stored[12] = padding
    dataset = with_padding(np.uint16(stored), padding, BitsStored=12, RescaleIntercept="0")
    hu = read_slice(saved(dataset)).hu
    np.testing.assert_array_equal(hu[12], expected)
    np.testing.assert_array_equal(hu[13:], np.where(stored > 3095, stored - 4096, stored)[13:])


def test_padding_in_a_modality_lut_is_compared_in_hu() -> None:
    stored = np.uint16(TRUE_HU + 1024)
    stored[12], stored[13] = 1024, 2999
    table = np.arange(3000) - 1024
    table[2999] = 3071
    expected = np.array(TRUE_HU)
    expected[12] = 0
    for padding, last in ((1024, 3071), (2999, AIR)):
        dataset = with_padding(stored, padding, ModalityLUTSequence=lut(table), **NO_RESCALE)
        expected[13] = last
        np.testing.assert_array_equal(read_slice(saved(dataset)).hu, expected)


@pytest.mark.parametrize("padding", [-1000, 4095])
def test_padding_does_not_count_as_air(padding: int) -> None:
    """Stored values with an offset that is not in the header, and padding instead of air."""
    shifted = np.where(TRUE_HU == -1000, padding, TRUE_HU + 1024).astype(np.int16)
    shifted[10:] = np.maximum(shifted[10:], 900)
    with pytest.raises(RejectedSlice, match="no_air"):
        read_slice(saved(with_padding(shifted, padding, RescaleIntercept="0")))


def test_padding_of_unsigned_pixels_is_never_above_air() -> None:
    stored = np.uint16(TRUE_HU + 1024)
    stored[0] = 63536
    hu = read(stored, PixelPaddingValue=63536).hu
    np.testing.assert_array_equal(hu[0], AIR)
    np.testing.assert_array_equal(hu[1:], TRUE_HU[1:])


@pytest.mark.parametrize(
    "elements",
    [
        {"PixelPaddingValue": [1, 2, 3]},
        {"PixelPaddingValue": 1, "PixelPaddingRangeLimit": [2, 3]},
        {"PixelPaddingValue": [1, 2], "PixelPaddingRangeLimit": 3},
    ],
)
def test_padding_of_several_values_is_rejected(elements: dict[str, Any]) -> None:
    wanted = "^bad_header: PixelPaddingValue or its limit has several values$"
    with pytest.raises(RejectedSlice, match=wanted):
        read(np.int16(TRUE_HU + 1024), **elements)


@pytest.mark.filterwarnings("ignore")  # pydicom's, of an unknown transfer syntax
@pytest.mark.parametrize(
    ("reason", "elements"),
    [
        ("not_ct", {"Modality": "MR"}),
        ("not_ct", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}),
        ("secondary_capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
        ("multi_frame", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}),
        ("multi_frame", {"NumberOfFrames": 2}),
        ("multi_frame", {"SharedFunctionalGroupsSequence": Sequence([Dataset()])}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("localizer", {"ImageType": ["DERIVED", "SECONDARY", "REF_SURVIEW"]}),
        ("secondary_capture", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        ("secondary_capture", {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}),
        ("secondary_capture", {"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}),
        ("not_axial", {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}),
        ("bad_header", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
        ("bad_header", {"ImageOrientationPatient": [1, 0, 0]}),
        ("bad_header", {"ImagePositionPatient": [1, 2]}),
        ("bad_header", {"PixelRepresentation": None}),
        ("bad_header", {"Rows": None}),
        ("bad_size", {"Rows": 0}),
        ("bad_size", {"Columns": 65535}),
        ("colour", {"SamplesPerPixel": 3}),
        ("colour", {"PhotometricInterpretation": "RGB"}),
        ("eight_bit", {"BitsStored": 8}),
        ("unsupported_bits", {"BitsAllocated": 12, "BitsStored": 10}),
        (
            "unsupported_bits",
            {"BitsAllocated": 12, "BitsStored": 12, "syntax": ExplicitVRBigEndian},
        ),
        ("unsupported_bits", {"BitsAllocated": 32, "syntax": ExplicitVRBigEndian}),
        ("unsupported_bits", {"BitsAllocated": 64, "BitsStored": 64}),
        ("unsupported_bits", {"BitsStored": 0, "HighBit": 0}),
        ("unsupported_bits", {"BitsStored": 12, "HighBit": 15}),
        ("unsupported_bits", {"BitsStored": 17}),
        ("no_rescale", {"RescaleSlope": None}),
        ("no_rescale", {"RescaleIntercept": None}),
        ("no_rescale", {"RescaleSlope": "0"}),
        ("no_rescale", {"RescaleSlope": ["1", "2"]}),
        ("not_hu", {"RescaleType": "US"}),
        ("truncated_pixels", {"Rows": 41}),
        ("truncated_pixels", {"Rows": 4096, "Columns": 4096}),
        ("overlong_pixels", {"Rows": 39}),
        ("overlong_pixels", {"NumberOfFrames": 1, "Columns": 47}),
        ("unsupported_syntax", {"syntax": "1.2.3.4"}),
        ("implausible_hu", {"RescaleIntercept": "-9215"}),
        ("implausible_hu", {"RescaleSlope": "20"}),
        ("implausible_hu", {"RescaleSlope": "1e300"}),
        ("implausible_hu", {"RescaleIntercept": "-1e300"}),
        ("no_rescale", {"RescaleSlope": "-1"}),
        ("not_ct", {"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}),
        ("bad_identifier", {"SOPInstanceUID": None}),
        ("bad_identifier", {"SOPInstanceUID": "1" * 65}),
        ("bad_identifier", {"PatientID": "a\x1b[2Jb"}),
        ("bad_identifier", {"StudyInstanceUID": "x" * 10_000}),
    ],
)
def test_rejections(reason: str, elements: dict[str, Any]) -> None:
    assert rejection(**elements) == reason


def test_a_header_is_rejected_without_reading_pixels(tmp_path: Path) -> None:
    file = tmp_path / "scout.dcm"
    file.write_bytes(
        saved(
            make_dataset(np.int16(TRUE_HU), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        ).read()
    )
    with pytest.raises(RejectedSlice, match="localizer"):
        read_header(file)


@pytest.mark.filterwarnings("ignore")  # pydicom's, of the invalid UID
def test_a_transfer_syntax_of_two_values_is_rejected() -> None:
    damaged = WHOLE.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.1000\\.1.2.1\0")
    assert damaged != WHOLE
    with pytest.raises(RejectedSlice, match="unsupported_syntax"):
        read_slice(io.BytesIO(damaged))


def test_no_pixels() -> None:
    dataset = make_dataset(np.int16(TRUE_HU))
    del dataset.PixelData
    with pytest.raises(RejectedSlice, match="no_pixels"):
        read_slice(saved(dataset))


@pytest.mark.filterwarnings("ignore")  # pydicom's, of what it makes of the bytes
@pytest.mark.parametrize("content", [b"", b"not DICOM at all", bytes(4096), b"\xff" * 4096])
def test_other_files_are_rejected(content: bytes) -> None:
    with pytest.raises(RejectedSlice, match="not_dicom"):
        read_slice(io.BytesIO(content))


def test_a_file_too_large_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.dcm"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    for reader in (read_header, read_slice):
        with pytest.raises(RejectedSlice, match="too_large"):
            reader(file)


def deflated(body: bytes) -> io.BytesIO:
    """A file with these elements after the meta information, deflated."""
    syntax = DeflatedExplicitVRLittleEndian
    content = saved(make_dataset(np.int16(TRUE_HU), syntax=syntax)).read()
    begin = content.index(syntax.encode()) + len(syntax)  # the last of the meta information
    deflator = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return io.BytesIO(content[:begin] + deflator.compress(body) + deflator.flush())


def test_a_deflate_bomb_is_rejected_before_it_is_inflated() -> None:
    bomb = deflated(bytes(MAX_BYTES + 1))
    assert len(bomb.getbuffer()) < 200_000
    for reader in (read_header, read_slice):
        with pytest.raises(RejectedSlice, match="too_large: inflates to 134217728 bytes or more"):
            reader(bomb)


def test_a_truncated_deflated_file_is_rejected() -> None:
    content = deflated(WHOLE[200:]).read()
    with pytest.raises(RejectedSlice, match="not_dicom: the deflated data are cut off"):
        read_slice(io.BytesIO(content[:-10]))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    for reader in (read_header, read_slice):
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "none.dcm")


def test_a_file_without_preamble_is_read() -> None:
    content = saved(make_dataset(np.int16(TRUE_HU + 1024))).read()
    np.testing.assert_array_equal(read_slice(io.BytesIO(content[132:])).hu, TRUE_HU)


@pytest.mark.filterwarnings("ignore")  # pydicom's, of damaged files
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_read_or_rejected(data: st.DataObject) -> None:
    """Any damage gives a slice or a rejection, and no other exception."""
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly within the header, where most of the damage is done.
        place = data.draw(st.integers(0, 900) | st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=4))
    content = content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    try:
        hu = read_slice(io.BytesIO(content)).hu
    except RejectedSlice as rejection:
        assert rejection.reason in REASONS
        return
    assert np.isfinite(hu).all()
    assert MIN_HU <= hu.min() <= hu.max() <= MAX_HU

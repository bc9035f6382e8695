"""HU against decoders that are not ours, and a reason for whatever is not taken."""

import io
import pickle
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileDataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_rescale, get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from tfrecords_tools import dicom, header
from tfrecords_tools.dicom import AIR, CTSlice, RefusedSlice, read_header, read_slice
from tfrecords_tools.header import REASONS

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
TRUE_HU = np.random.default_rng(7).integers(-1000, 1900, (40, 48))
TRUE_HU[:10] = -1000  # air


def make_dataset(
    stored: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> FileDataset:
    """A CT slice in the challenge's 22 elements, `ID_…` identifiers included."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CT_IMAGE
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    values = {
        "Modality": "CT",
        "SOPInstanceUID": "ID_00a1b2c3d",
        "PatientID": "ID_patient",
        "StudyInstanceUID": "ID_study",
        "SeriesInstanceUID": "ID_series",
        "ImagePositionPatient": [-125, -120, 12.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.4],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": stored.dtype.itemsize * 8,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024.000000",
    }
    values.update(elements)
    values.setdefault("HighBit", values["BitsStored"] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the identifiers, which are no UIDs
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.add_new("PixelData", "OW", stored.astype(stored.dtype.newbyteorder(order)).tobytes())
    return dataset


def saved(dataset: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(file, dataset, enforce_file_format=False)
    file.seek(0)
    return file


def read(stored: np.ndarray, **elements: Any) -> CTSlice:
    return read_slice(saved(make_dataset(stored, **elements)))


def refusal(stored: np.ndarray | None = None, **elements: Any) -> str:
    with pytest.raises(RefusedSlice) as caught:
        read(np.int16(TRUE_HU + 1024) if stored is None else stored, **elements)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value.reason


def realdata_files(folder: Path) -> list[Path]:
    others = {".csv", ".gz", ".md"}
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in others]


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


def test_an_intercept_of_zero_is_taken_only_where_air_confirms_it() -> None:
    shifted = np.int16(TRUE_HU + 1024)
    assert refusal(shifted, RescaleIntercept="0") == "no_air"
    assert refusal(shifted.astype(np.uint16), RescaleIntercept="0", BitsStored=12) == "no_air"
    padded = np.where(TRUE_HU == -1000, -2000, shifted).astype(np.int16)
    assert refusal(padded, RescaleIntercept="0") == "no_air"


def test_fractional_rescale() -> None:
    stored = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    hu = read(stored, RescaleSlope="2.0002442", RescaleIntercept="-1047.5").hu
    np.testing.assert_array_equal(hu, (stored * 2.0002442 - 1047.5).astype(np.float32))


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


def test_compressed_syntax() -> None:
    dataset = make_dataset(np.int16(TRUE_HU + 1024))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


def test_32_bits() -> None:
    np.testing.assert_array_equal(read(np.int32(TRUE_HU + 1024)).hu, TRUE_HU)


def test_monochrome1_changes_the_display_only() -> None:
    hu = read(np.int16(TRUE_HU + 1024), PhotometricInterpretation="MONOCHROME1").hu
    np.testing.assert_array_equal(hu, TRUE_HU)


def test_modality_lut_is_applied_and_judged_by_its_air() -> None:
    def lut(values: np.ndarray) -> Sequence:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [len(values), 0, 16])
        item.add_new("ModalityLUTType", "LO", "HU")
        item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
        return Sequence([item])

    stored = np.uint16(TRUE_HU + 1024)
    plain = {"RescaleSlope": None, "RescaleIntercept": None}
    # A Modality LUT holds unsigned values (PS3.3 C.11.1.1), so it cannot reach air.
    assert refusal(stored, ModalityLUTSequence=lut(np.arange(3000)), **plain) == "no_air"


@pytest.mark.parametrize(
    ("padding", "limit", "stored", "expected"),
    [
        (-2000, None, -2000, -3024),  # low, and stays low
        (63536, None, -2000, -3024),  # the same, as unsigned bits
        (-32768, None, -32768, -4096),
        (4095, None, 4095, AIR),  # high, and must not look like bone
        (3000, 4095, 3500, AIR),
        (4095, 3000, 3500, AIR),
    ],
)
def test_padding_is_never_above_air(
    padding: int, limit: int | None, stored: int, expected: float
) -> None:
    values = np.int16(TRUE_HU + 1024)
    values[0] = stored
    dataset = make_dataset(values)
    for keyword, value in (("PixelPaddingValue", padding), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            dataset.add(DataElement(keyword, "US" if value > 32767 else "SS", value))
    hu = read_slice(saved(dataset)).hu
    np.testing.assert_array_equal(hu[0], expected)
    np.testing.assert_array_equal(hu[1:], TRUE_HU[1:])


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
        ("not_axial", {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}),
        ("bad_header", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
        ("bad_header", {"ImageOrientationPatient": [1, 0, 0]}),
        ("bad_header", {"ImagePositionPatient": [1, 2]}),
        ("bad_header", {"PixelRepresentation": None}),
        ("bad_header", {"Rows": None}),
        ("bad_header", {"PixelPaddingValue": [1, 2, 3]}),
        ("bad_size", {"Rows": 0}),
        ("bad_size", {"Columns": 65535}),
        ("colour", {"SamplesPerPixel": 3}),
        ("colour", {"PhotometricInterpretation": "RGB"}),
        ("eight_bit", {"BitsStored": 8}),
        ("unsupported_bits", {"BitsAllocated": 12, "BitsStored": 12}),
        ("unsupported_bits", {"BitsStored": 12, "HighBit": 15}),
        ("unsupported_bits", {"BitsStored": 17}),
        ("no_rescale", {"RescaleSlope": None}),
        ("no_rescale", {"RescaleIntercept": None}),
        ("no_rescale", {"RescaleSlope": "0"}),
        ("no_rescale", {"RescaleSlope": ["1", "2"]}),
        ("not_hu", {"RescaleType": "US"}),
        ("truncated_pixels", {"Rows": 41}),
        ("overlong_pixels", {"Rows": 39}),
        ("overlong_pixels", {"NumberOfFrames": 1, "Columns": 47}),
        ("unsupported_syntax", {"syntax": "1.2.3.4"}),
        ("implausible_hu", {"RescaleIntercept": "-9215"}),
        ("implausible_hu", {"RescaleSlope": "20"}),
        ("bad_identifier", {"SOPInstanceUID": None}),
        ("bad_identifier", {"SOPInstanceUID": "1" * 65}),
        ("bad_identifier", {"PatientID": "a\x1b[2Jb"}),
        ("bad_identifier", {"StudyInstanceUID": "x" * 10_000}),
    ],
)
def test_refusals(reason: str, elements: dict[str, Any]) -> None:
    assert refusal(**elements) == reason


def test_a_header_that_is_refused_needs_no_pixels(tmp_path: Path) -> None:
    file = tmp_path / "scout.dcm"
    file.write_bytes(
        saved(
            make_dataset(np.int16(TRUE_HU), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        ).read()
    )
    with pytest.raises(RefusedSlice, match="localizer"):
        read_header(file)


def test_every_reason_is_documented_and_used() -> None:
    sources = "".join(Path(module.__file__).read_text("utf-8") for module in (dicom, header))
    used = set(re.findall(r'RefusedSlice\(\s*"(\w+)"', sources))
    used |= set(re.findall(r'"(\w+_pixels)"', sources))
    assert used <= set(REASONS)
    assert set(REASONS) - used <= {"too_large"}  # raised by whoever hands over bytes


def test_no_pixels() -> None:
    dataset = make_dataset(np.int16(TRUE_HU))
    del dataset.PixelData
    with pytest.raises(RefusedSlice, match="no_pixels"):
        read_slice(saved(dataset))


@pytest.mark.parametrize("content", [b"", b"not DICOM at all", bytes(4096), b"\xff" * 4096])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(RefusedSlice, match="not_dicom"):
        read_slice(io.BytesIO(content))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    for reader in (read_header, read_slice):
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "none.dcm")


def test_a_missing_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"gdcm": ("python-gdcm>=3.0.10",)})
    dataset = make_dataset(np.int16(TRUE_HU), syntax=JPEGLSLossless)
    dataset.PixelData = encapsulate([bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(RefusedSlice, match=r"missing_plugin: .*python-gdcm"):
        read_slice(saved(dataset))


def test_a_file_without_preamble_is_read() -> None:
    content = saved(make_dataset(np.int16(TRUE_HU + 1024))).read()
    np.testing.assert_array_equal(read_slice(io.BytesIO(content[132:])).hu, TRUE_HU)


def test_the_identifiers_of_the_challenge_cause_no_warning() -> None:
    file = saved(make_dataset(np.int16(TRUE_HU + 1024)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        identity = read_slice(file).header
    assert identity.slice_id == "ID_00a1b2c3d"
    assert identity.patient_id == "ID_patient"
    assert identity.study_id == "ID_study"
    assert identity.series_id == "ID_series"


def test_header_of_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "slice"
    file.write_bytes(saved(make_dataset(np.int16(TRUE_HU + 1024))).read())
    identity = read_header(file)
    assert identity == read_slice(file).header
    assert (identity.rows, identity.columns) == (40, 48)
    assert identity.pixel_spacing == (0.5, 0.4)
    assert identity.position == (-125, -120, 12.5)
    assert identity.position_mm == 12.5


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"SliceLocation": "-7.25", "InstanceNumber": 3}, -7.25),
        ({"InstanceNumber": 3}, 3.0),
        ({}, 0.0),
    ],
)
def test_a_slice_without_position_is_still_ordered(
    elements: dict[str, Any], expected: float
) -> None:
    missing = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    identity = read(np.int16(TRUE_HU + 1024), **missing, **elements).header
    assert identity.position_mm == expected
    assert identity.pixel_spacing is None


@pytest.mark.parametrize("flip", [1, -1])
def test_position_grows_towards_the_head_along_a_tilted_normal(flip: int) -> None:
    tilt = np.radians(20)
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    orientation = [1, 0, 0, 0, flip * np.cos(tilt), flip * np.sin(tilt)]
    for distance in (-30.0, 0.0, 44.5):
        identity = read(
            np.int16(TRUE_HU + 1024),
            ImageOrientationPatient=[f"{value:.6f}" for value in orientation],
            ImagePositionPatient=[f"{value:.6f}" for value in distance * normal],
        ).header
        assert identity.position_mm == pytest.approx(distance, abs=1e-3)


def test_a_file_stripped_of_identifiers_keeps_its_slice_id() -> None:
    dataset = make_dataset(
        np.int16(TRUE_HU + 1024), SOPInstanceUID="", PatientID="", StudyInstanceUID=None
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    identity = read_slice(saved(dataset)).header
    assert (identity.slice_id, identity.patient_id, identity.study_id) == ("1.2.3", "", "")


def test_a_refusal_survives_a_process_pool() -> None:
    refusal = pickle.loads(pickle.dumps(RefusedSlice("colour", "line\nbreak \x1b[1m")))
    assert (refusal.reason, refusal.detail) == ("colour", "line break [1m")
    assert str(refusal) == "colour: line break [1m"


def test_the_ct_that_comes_with_pydicom() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    dataset = dcmread(path)
    np.testing.assert_array_equal(
        read_slice(path).hu, apply_rescale(dataset.pixel_array, dataset).astype(np.float32)
    )


def gdcm_hu(path: Path) -> np.ndarray:
    """HU as GDCM decodes and rescales them, float64, shape (rows, columns)."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    image = reader.GetImage()
    pixel_format = image.GetPixelFormat()
    kind = "i" if pixel_format.GetPixelRepresentation() else "u"
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    stored = np.frombuffer(buffer, f"<{kind}{pixel_format.GetBitsAllocated() // 8}")
    columns, rows = image.GetDimension(0), image.GetDimension(1)
    return stored.reshape(rows, columns) * image.GetSlope() + image.GetIntercept()


# The JPEG 2000 stream calls its 13 bits unsigned, the header signed; GDCM believes the stream.
GDCM_WRAPS = {"J2K_pixelrep_mismatch.dcm": 2**13}


@pytest.mark.filterwarnings("ignore")  # pydicom's, of damaged files
def test_every_real_file_is_read_right_or_refused(realdata: Path) -> None:
    outcome: Counter[str] = Counter()
    for path in realdata_files(realdata):
        try:
            hu = read_slice(path).hu
        except RefusedSlice as refusal:
            assert refusal.reason in REASONS
            outcome[refusal.reason] += 1
            continue
        outcome["read"] += 1
        dataset = dcmread(path)
        other = apply_rescale(dataset.pixel_array, dataset)
        np.testing.assert_array_equal(hu, other.astype(np.float32), err_msg=path.name)
        theirs = gdcm_hu(path).astype(np.float32)
        if path.name in GDCM_WRAPS:
            theirs -= GDCM_WRAPS[path.name] * (theirs >= GDCM_WRAPS[path.name] / 2)
        np.testing.assert_array_equal(hu, theirs, err_msg=path.name)
    assert outcome["read"] == 94, outcome
    assert outcome.keys() <= {"read", *REASONS}


LOSSLESS = (".1.2.1", ".1.2.1.99", ".1.2.2", ".1.2.5", ".4.57", ".4.70", ".4.80", ".4.90")


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_one_slice_in_every_lossless_syntax(realdata: Path, syntax: str) -> None:
    plain = read_slice(next(realdata.rglob("CTImage.dcm"))).hu
    packed = read_slice(next(realdata.rglob(f"CTImage.dcm_*{syntax}.dcm"))).hu
    np.testing.assert_array_equal(packed, plain)


@pytest.mark.parametrize("syntax", [".4.81", ".4.91"])
def test_one_slice_in_lossy_syntaxes(realdata: Path, syntax: str) -> None:
    plain = read_slice(next(realdata.rglob("CTImage.dcm"))).hu
    packed = read_slice(next(realdata.rglob(f"CTImage.dcm_*{syntax}.dcm"))).hu
    assert np.abs(packed - plain).max() < 30
    assert np.abs(packed - plain).mean() < 3


REAL_REFUSALS = {
    "CT0012.explicit_little_endian.dcm": "multi_frame",
    "eCT_Supplemental.dcm": "multi_frame",
    "JPEGLossless_1s_1f_i_16_16_bad.dcm": "implausible_hu",
    "TC0287_buf_2x.dcm": "overlong_pixels",
    "TC0289_buf_10x.dcm": "overlong_pixels",
    "TC0307_bits_ba_one.dcm": "eight_bit",
    "TC0233_rows_US_as_UL.dcm": "not_dicom",
    "FreezePattern.dcm": "secondary_capture",
    "CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": "eight_bit",
    "test_1847.dcm": "localizer",
    "GH1376.dcm": "truncated_pixels",
    "GH342.dcm": "localizer",
    "GH178.dcm": "secondary_capture",
    "test1.metadata.dcm": "no_pixels",
    "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": "unsupported_syntax",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "reason"), REAL_REFUSALS.items())
def test_silent_errors_of_real_files_are_refused(realdata: Path, name: str, reason: str) -> None:
    with pytest.raises(RefusedSlice, match=f"^{reason}: "):
        read_slice(next(realdata.rglob(name)))


def test_wrong_sign_of_a_real_file_is_refused_once_it_is_axial(realdata: Path) -> None:
    """One stream of bytes, declared unsigned and signed: only the signed one holds HU."""

    def turned(name: str) -> io.BytesIO:
        dataset = dcmread(next(realdata.rglob(name)))
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        return saved(dataset)

    with pytest.raises(RefusedSlice, match="implausible_hu"):
        read_slice(turned("TOSHIBA_J2K_SIZ1_PixRep0.dcm"))
    hu = read_slice(turned("TOSHIBA_J2K_SIZ0_PixRep1.dcm")).hu
    assert (hu.min(), hu.max()) == (-2048, 1717)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("GH1308.dcm", -3024, 1376),  # padding -2000 declared as 63536
        ("CTImage.dcm", -3024, 1378),  # padding -2000, declared -32768
        ("693_UNCI.dcm", -3995, 1812),  # 14 bits signed
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),  # 13 bits signed, called unsigned inside
        ("CT1_UNC.explicit_big_endian.dcm", -3024, 1254),
    ],
)
def test_odd_real_files_that_are_read(realdata: Path, name: str, low: int, high: int) -> None:
    hu = read_slice(next(realdata.rglob(name))).hu
    assert hu.dtype == np.dtype("=f4")
    assert (hu.min(), hu.max()) == (low, high)

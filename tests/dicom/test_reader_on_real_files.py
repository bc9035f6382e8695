"""Real files: HU compared with other decoders, and the outcome of every file."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_rescale, get_decoder

from tests.support.documents import table
from tests.support.references import gdcm_hu, itk_hu
from tfrecords_tools.dicom.decoders import PLUGINS
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, of damaged files

# What becomes of the files below a folder. A change here is a change of what is believed.
OUTCOMES = {
    "cornerstonejs+cornerstoneWADOImageLoader": {
        "read": 13,
        "unsupported_syntax": 2,  # .53 and .55, retired
        "eight_bit": 1,
        "multi_frame": 1,
        "no_pixels": 1,
    },
    "cornerstonejs+dicomParser": {"read": 4, "multi_frame": 10},
    "fo-dicom+fo-dicom": {
        "read": 4,
        "secondary_capture": 4,
        "not_ct": 4,
        "localizer": 2,
        "not_dicom": 3,  # big endian within little endian, two that are cut off
        "truncated_pixels": 1,
    },
    "icometrix+dicom2nifti": {"read": 8},
    "neurolabusc+dcm_qa_12bit": {"not_ct": 3},
    "neurolabusc+dcm_qa_ct": {"read": 36, "secondary_capture": 2, "not_ct": 2, "localizer": 1},
    "pydicom+pydicom": {
        "read": 3,
        "not_ct": 64,
        "secondary_capture": 7,
        "bad_size": 4,  # 16 x 16
        "not_dicom": 6,
        "bad_header": 1,
    },
    "pydicom+pydicom-data": {"read": 5, "not_ct": 6, "secondary_capture": 5, "multi_frame": 1},
    "pydicom+pylibjpeg-data": {"read": 2, "not_axial": 2, "localizer": 1, "implausible_hu": 1},
    "suyashkumar+dicom": {"not_ct": 3},
    "wasserth+TotalSegmentator": {"read": 20},
    # A corpus of damaged files; the rest of each is whole, but says nothing of HU.
    "baseline": {"no_rescale": 1},
    "cat01_tag_overflow": {"no_rescale": 89, "bad_identifier": 14},
    "cat02_vr_mismatch": {"no_rescale": 10, "not_dicom": 4, "truncated_pixels": 1},
    "cat03_sequence_nesting": {"no_rescale": 11, "not_dicom": 1},
    "cat04_pixel_data": {
        "unsupported_bits": 11,
        "colour": 5,
        "overlong_pixels": 3,
        "truncated_pixels": 2,
        "bad_size": 2,
        "multi_frame": 2,
        "no_rescale": 3,
        "no_pixels": 1,
    },
    "cat05_transfer_syntax": {"no_rescale": 1, "not_dicom": 2},
    "cat06_private_tags": {"no_rescale": 14},
    "cat07_file_meta": {"no_rescale": 3, "not_dicom": 10, "unsupported_syntax": 1},
    "cat08_string_encoding": {"no_rescale": 15, "bad_identifier": 1},
    "cat09_logic_bombs": {
        "no_rescale": 11,
        "not_ct": 5,
        "bad_identifier": 2,
        "unsupported_bits": 1,
    },
}

# The codestream calls its 13 bits unsigned, the header signed; GDCM believes the codestream.
WRAPPED_BY_GDCM = "J2K_pixelrep_mismatch.dcm"
# Lossy: each decoder rounds in its own way, by one stored unit, here of 2 HU.
LOSSY_12_BIT = "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm"


def files_below(folder: Path) -> list[Path]:
    others = {".csv", ".gz", ".md"}
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in others]


def named(folder: Path, name: str) -> Path:
    return next(folder.rglob(name))


def outcome(source: Path | io.BytesIO) -> str:
    try:
        read_slice(source)
    except RejectedSlice as rejection:
        return rejection.reason
    return "read"


@pytest.fixture(scope="module")
def outcomes(realdata: Path) -> dict[Path, str]:
    return {path: outcome(path) for path in files_below(realdata)}


def test_the_outcome_of_every_real_file(realdata: Path, outcomes: dict[Path, str]) -> None:
    found: dict[str, Counter[str]] = {}
    for path, reason in outcomes.items():
        folders = path.relative_to(realdata).parts
        damaged = folders[0] == "pwnlabmx+dicom-fuzzing-corpus"
        found.setdefault(folders[2] if damaged else folders[0], Counter())[reason] += 1
    assert found == OUTCOMES


def test_the_outcomes_are_documented() -> None:
    counted = {
        reason: int(count) for reason, count in table("reference/dicom.md", "outcome", "files")
    }
    assert counted == sum((Counter(counts) for counts in OUTCOMES.values()), Counter())


def test_hu_match_gdcm(outcomes: dict[Path, str]) -> None:
    for path in (path for path, reason in outcomes.items() if reason == "read"):
        theirs = gdcm_hu(path)
        if path.name == WRAPPED_BY_GDCM:
            theirs = np.where(theirs < 2**12, theirs, theirs - 2**13)
        compare(read_slice(path).hu, theirs, path)


def test_hu_match_itk(outcomes: dict[Path, str]) -> None:
    for path in (path for path, reason in outcomes.items() if reason == "read"):
        compare(read_slice(path).hu, itk_hu(path), path)


def compare(hu: np.ndarray, theirs: np.ndarray, path: Path) -> None:
    if path.name == LOSSY_12_BIT:
        np.testing.assert_allclose(hu, theirs, rtol=0, atol=2.001)
        return
    np.testing.assert_array_equal(hu, theirs.astype(np.float32), err_msg=path.name)


def test_every_installed_plugin_decodes_real_slices_alike(outcomes: dict[Path, str]) -> None:
    compared: Counter[str] = Counter()
    for path in (path for path, reason in outcomes.items() if reason == "read"):
        dataset = dcmread(path)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        if decoder.is_native or path.name == LOSSY_12_BIT:
            continue
        arrays = {
            plugin: decoder.as_array(dataset, decoding_plugin=plugin)[0]
            for plugin in decoder.available_plugins
        }
        ours = arrays.pop(PLUGINS[decoder.UID].name)
        for plugin, theirs in arrays.items():
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{path.name} by {plugin}")
            compared[plugin] += 1
    assert min(compared[plugin] for plugin in ("gdcm", "pillow", "pylibjpeg")) > 5, compared


def test_the_ct_of_pydicom() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    dataset = dcmread(path)
    np.testing.assert_array_equal(
        read_slice(path).hu, apply_rescale(dataset.pixel_array, dataset).astype(np.float32)
    )


LOSSLESS = (
    "008.1.2",
    ".1.2.1",
    ".1.2.1.99",
    ".1.2.2",
    ".1.2.5",
    ".4.57",
    ".4.70",
    ".4.80",
    ".4.90",
)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_one_slice_in_every_lossless_syntax(realdata: Path, syntax: str) -> None:
    plain = read_slice(named(realdata, "CTImage.dcm")).hu
    compressed = read_slice(named(realdata, f"CTImage.dcm_*{syntax}.dcm")).hu
    np.testing.assert_array_equal(compressed, plain)


@pytest.mark.parametrize("syntax", [".4.51", ".4.81", ".4.91"])
def test_one_slice_in_lossy_syntaxes(realdata: Path, syntax: str) -> None:
    plain = read_slice(named(realdata, "CTImage.dcm")).hu
    compressed = read_slice(named(realdata, f"CTImage.dcm_*{syntax}.dcm")).hu
    assert np.abs(compressed - plain).max() < 70
    assert np.abs(compressed - plain).mean() < 8


# --- Errors that raise nothing: the decode succeeds, and the values are wrong or surprising ---


def changed(path: Path, change: Callable[[Dataset], None]) -> io.BytesIO:
    dataset = dcmread(path)
    change(dataset)
    file = io.BytesIO()
    dataset.save_as(file)
    file.seek(0)
    return file


def set_axial(dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def test_silent_error_1_the_intercept_of_an_enhanced_ct_is_in_its_functional_groups(
    realdata: Path,
) -> None:
    for path in [*realdata.rglob("CT0012*"), named(realdata, "eCT_Supplemental.dcm")]:
        assert outcome(path) == "multi_frame", path.name


def test_silent_error_2_a_sign_that_header_and_codestream_do_not_agree_on(realdata: Path) -> None:
    """The same bytes, declared unsigned and signed: only the signed ones are HU."""
    wrong, right = (
        named(realdata, f"TOSHIBA_J2K_{name}.dcm") for name in ("SIZ1_PixRep0", "SIZ0_PixRep1")
    )
    assert outcome(wrong) == outcome(right) == "not_axial"
    assert outcome(changed(wrong, set_axial)) == "undecodable"
    hu = read_slice(changed(right, set_axial)).hu
    assert (hu.min(), hu.max()) == (-2048, 1717)


def test_silent_error_3_garbage_over_the_whole_range(realdata: Path) -> None:
    garbage = named(realdata, "JPEGLossless_1s_1f_i_16_16_bad.dcm")
    assert outcome(garbage) == "implausible_hu"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("TC0287_buf_2x.dcm", "overlong_pixels"),
        ("TC0289_buf_10x.dcm", "overlong_pixels"),
        ("TC0341_mf_nf1_buf100.dcm", "overlong_pixels"),
        ("TC0307_bits_ba_one.dcm", "unsupported_bits"),
    ],
)
def test_silent_error_4_several_frames_from_a_single_slice(
    realdata: Path, name: str, reason: str
) -> None:
    assert outcome(named(realdata, name)) == reason


def test_silent_error_5_a_damaged_header_without_pixel_data_or_rows(realdata: Path) -> None:
    damaged = 0
    for path in (realdata / "pwnlabmx+dicom-fuzzing-corpus").rglob("*.dcm"):
        try:
            dataset = dcmread(path, force=True)
        except Exception:  # then the error is not silent
            continue
        if "PixelData" not in dataset or "Rows" not in dataset:
            assert outcome(path) == "not_dicom", path.name
            damaged += 1
    assert damaged == 16


@pytest.mark.parametrize(
    ("name", "declared", "low", "high"),
    [
        ("GH1308.dcm", 63536, -3024, 1376),  # which are the bits of -2000
        ("CTImage.dcm", -32768, -3024, 1378),  # where -2000 stands
    ],
)
def test_silent_error_6_padding_that_is_not_what_the_header_declares(
    realdata: Path, name: str, declared: int, low: int, high: int
) -> None:
    assert dcmread(named(realdata, name)).PixelPaddingValue == declared
    hu = read_slice(named(realdata, name)).hu
    assert (hu.min(), hu.max()) == (low, high)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FreezePattern.dcm", "secondary_capture"),  # RGB
        ("S4010/I30", "secondary_capture"),  # a dose sheet
        ("GH178.dcm", "secondary_capture"),
        ("CTImage.dcm_*.4.50.dcm", "eight_bit"),  # 32 HU a grey level
    ],
)
def test_silent_error_7_modality_ct_and_no_hu(realdata: Path, name: str, reason: str) -> None:
    assert outcome(named(realdata, name)) == reason


def test_silent_error_8_intercepts_and_floors_of_no_scanner(realdata: Path) -> None:
    def set_slice(dataset: Dataset) -> None:
        set_axial(dataset)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]

    far_off = named(realdata, "test_1847.dcm")  # intercept -9215
    assert outcome(far_off) == "localizer"
    assert outcome(changed(far_off, set_slice)) == "implausible_hu"
    for name in ("693_UNCI.dcm", "693_J2KI.dcm"):  # 14 bits signed, not clipped below air
        hu = read_slice(named(realdata, name)).hu
        assert (hu.min(), hu.max()) == (-3995, 1812)


def test_silent_error_9_signed_bits_that_the_codestream_calls_unsigned(realdata: Path) -> None:
    hu = read_slice(named(realdata, "J2K_pixelrep_mismatch.dcm")).hu
    assert (hu.min(), hu.max()) == (-2000, 1896)


def test_silent_error_10_a_truncated_ct(realdata: Path) -> None:
    assert outcome(named(realdata, "GH1376.dcm")) == "truncated_pixels"


def test_silent_error_11_big_endian_gives_native_arrays(realdata: Path) -> None:
    for name in ("CT1_UNC.explicit_big_endian.dcm", "CTImage.dcm_BigEndian*"):
        hu = read_slice(named(realdata, name)).hu
        assert hu.dtype == np.dtype("=f4")
        assert hu.min() == -3024

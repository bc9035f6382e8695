"""HU of real files against decoders that are not ours; each silent error refused."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_rescale

from tfrecords_tools.dicom import RefusedSlice, read_slice
from tfrecords_tools.header import REASONS


def realdata_files(folder: Path) -> list[Path]:
    others = {".csv", ".gz", ".md"}
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in others]


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
        file = io.BytesIO()
        dataset.save_as(file)
        return file

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

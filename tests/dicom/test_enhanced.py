"""Enhanced CT is read frame by frame, with the HU of its single slices and of other readers."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, uid

from tests.support.encoders import LOSSLESS
from tests.support.enhanced import compress, enhanced_ct, item
from tests.support.made_dicom import TRUE_HU, make_dataset, saved
from tfrecords_tools.dicom.enhanced import read_frames, read_headers
from tfrecords_tools.dicom.reader import FileHeader, read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice

HEIGHTS = (10.0, 0.0, 5.0)
INTERCEPTS = (-1024.0, -1000.0, -300.0)
HU = [TRUE_HU, TRUE_HU[:, ::-1], TRUE_HU[:, ::2].repeat(2, axis=1)]
LOSSLESS_BY_NAME = {x.name: x for x in LOSSLESS}


def slices() -> list[Dataset]:
    return [
        make_dataset(np.int16(hu + 1024), ImagePositionPatient=[-125, -120, height])
        for hu, height in zip(HU, HEIGHTS, strict=True)
    ]


def made(intercepts: tuple[float, ...] = INTERCEPTS) -> Dataset:
    return enhanced_ct(slices(), intercepts)


def headers_and_hu(file: io.BytesIO) -> tuple[list[FileHeader], list[np.ndarray]]:
    headers = read_headers(file)
    first = headers[0]
    frames = read_frames(file, len(headers), first.format.pixels, first.mark)
    return headers, [frames.read_hu(n, x.format) for n, x in enumerate(headers, start=1)]


def test_each_frame_has_its_own_place_and_rescale():
    headers, hu = headers_and_hu(saved(made()))
    np.testing.assert_array_equal(hu, HU)
    assert [x.slice.position_mm for x in headers] == list(HEIGHTS)
    assert [x.slice.slice_id for x in headers] == ["1.2.3.4#1", "1.2.3.4#2", "1.2.3.4#3"]
    assert headers[0].slice.pixel_spacing == (0.5, 0.4)
    assert headers[0].slice.kernel == "H31s"
    assert [x.frame.count for x in headers if x.frame] == [3, 3, 3]


def test_highdicom_and_itk_read_the_same(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    itk = pytest.importorskip("SimpleITK")
    made().save_as(tmp_path / "own.dcm", enforce_file_format=True)
    image = highdicom.imread(tmp_path / "own.dcm")
    np.testing.assert_array_equal([image.get_frame(n) for n in (1, 2, 3)], HU)
    # ITK, as GDCM, takes the rescale of the first frame for all.
    made((-1024.0,) * 3).save_as(tmp_path / "shared.dcm", enforce_file_format=True)
    volume = itk.GetArrayFromImage(itk.ReadImage(str(tmp_path / "shared.dcm")))
    np.testing.assert_array_equal(volume, HU)
    _, hu = headers_and_hu(io.BytesIO((tmp_path / "shared.dcm").read_bytes()))
    np.testing.assert_array_equal(hu, HU)


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("name", ["RLE", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000"])
def test_compressed_frames(name, table):
    whole, encoder = made(), LOSSLESS_BY_NAME[name]
    stored = np.frombuffer(whole.PixelData, "<i2").reshape(len(HU), *TRUE_HU.shape)
    frames = [encoder.encode(x.astype(np.int64), 16) for x in stored]
    compress(whole, encoder.syntax, frames, table=table)
    _, hu = headers_and_hu(saved(whole))
    np.testing.assert_array_equal(hu, HU)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
def test_other_forms_of_elements(syntax):
    whole = made()
    whole.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    whole.save_as(file, enforce_file_format=True, implicit_vr=syntax == uid.ImplicitVRLittleEndian)
    _, hu = headers_and_hu(file)
    np.testing.assert_array_equal(hu, HU)


def test_a_legacy_converted_ct_is_the_series_that_it_was_made_of(realdata, tmp_path):
    legacy = pytest.importorskip("highdicom.legacy")
    paths = sorted((realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE").glob("*.dcm"))[:4]
    single = [pydicom.dcmread(path) for path in paths]
    new = {x: pydicom.uid.generate_uid() for x in ("series_instance_uid", "sop_instance_uid")}
    whole = legacy.LegacyConvertedEnhancedCTImage(single, **new, series_number=1, instance_number=1)
    whole.save_as(tmp_path / "whole.dcm")
    headers, hu = headers_and_hu(io.BytesIO((tmp_path / "whole.dcm").read_bytes()))
    expected = {x.header.position: x for x in map(read_slice, paths)}
    assert len(expected) == len(headers)
    for header, own in zip(headers, hu, strict=True):
        of_slice = expected[header.slice.position]
        np.testing.assert_array_equal(own, of_slice.hu)
        for field in ("position_mm", "orientation", "pixel_spacing", "kernel", "contrast"):
            assert getattr(header.slice, field) == getattr(of_slice.header, field), field
        assert header.slice.body_part.upper() == of_slice.header.body_part.upper()


def test_maps_of_perfusion_are_not_hu(realdata):
    paths = [*realdata.rglob("CT0012*"), *realdata.rglob("eCT_Supplemental.dcm")]
    assert len(paths) > 1
    for path in paths:
        with pytest.raises(RejectedSlice, match="not_hu: frame 1 of an enhanced CT"):
            read_headers(io.BytesIO(path.read_bytes()))


def test_real_frames_in_many_fragments(realdata):
    paths = {x.name.split(".", 1)[1]: x for x in realdata.rglob("CT0012*")}
    plain = pydicom.dcmread(paths["explicit_little_endian.dcm"]).pixel_array.astype(int) - 1024
    for name, path in paths.items():
        if name.endswith(".51.dcm"):  # lossy JPEG of other values than the plain file's
            expected = pydicom.dcmread(path).pixel_array.astype(int) - 1024
            np.testing.assert_array_equal(pixels_of(path), expected)
        else:
            loss = 3 if name.endswith(".81.dcm") else 0
            assert np.abs(pixels_of(path) - plain).max() <= loss, name
    assert len(paths) == 10


def pixels_of(path: Path) -> np.ndarray:
    """As if the maps were HU."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence[0].RescaleType = "HU"
    file = io.BytesIO()
    dataset.save_as(file)
    return np.stack(headers_and_hu(file)[1])


def test_what_the_groups_say_about_a_series():
    whole = made()
    shared = whole.SharedFunctionalGroupsSequence[0]
    shared.ContrastBolusUsageSequence = item(ContrastBolusAgentAdministered="YES")
    region = item(CodeValue="69536005", CodingSchemeDesignator="SCT", CodeMeaning="Head")
    shared.FrameAnatomySequence = item(FrameLaterality="U", AnatomicRegionSequence=region)
    shared.CTImageFrameTypeSequence[0].VolumeBasedCalculationTechnique = "MAX_IP"
    header = read_headers(saved(whole))[0].slice
    assert header.contrast
    assert header.body_part == "Head"
    assert header.image_type[-1] == "MAX_IP"


def missing_plane(whole: Dataset) -> None:
    del whole.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def rescale_twice(whole: Dataset) -> None:
    whole.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = item(
        RescaleIntercept=0, RescaleSlope=1
    )


def no_rescale_but_at_the_top(whole: Dataset) -> None:
    del whole.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence
    whole.RescaleIntercept, whole.RescaleSlope = -1024, 1


def other_count(whole: Dataset) -> None:
    whole.NumberOfFrames = 2


def short_pixels(whole: Dataset) -> None:
    whole.PixelData = whole.PixelData[:-200]


def long_pixels(whole: Dataset) -> None:
    whole.PixelData += bytes(200)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (missing_plane, "bad_header: frame 2 .*PlanePositionSequence is missing"),
        (rescale_twice, "bad_header: frame 1 .*both shared and per frame"),
        (no_rescale_but_at_the_top, "no_rescale: frame 3"),
        (other_count, "bad_header: 3 frames have functional groups"),
        (short_pixels, "truncated_pixels: frame 1"),
        (long_pixels, "overlong_pixels"),
    ],
)
def test_what_is_not_certain_is_refused(change: Callable[[Dataset], None], expected: str):
    whole = made()
    change(whole)
    with pytest.raises(RejectedSlice, match=expected):
        headers_and_hu(saved(whole))


def test_damaged_files_are_refused_or_read_and_nothing_else():
    content = saved(made()).getvalue()
    header = len(content) - len(made().PixelData)
    rng, read = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[int(rng.integers(132, header))] = int(rng.integers(256))
        try:
            headers_and_hu(io.BytesIO(bytes(damaged)))
            read += 1
        except RejectedSlice:
            continue
    assert 0 < read < 300

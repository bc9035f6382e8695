"""Class maps as DICOM objects: their contents, and their validity by dicom3tools."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ich_keras.data.slice_file import SliceFile
from ich_keras.data.sources import Source
from ich_keras.data.studies import find_studies
from ich_keras.predict.dicom.captures import overlay
from ich_keras.predict.dicom.objects import write_dicom
from ich_keras.predict.dicom.sources import NOTICE, PredictedSlice
from tests.support.enhanced import enhanced_ct
from tests.support.exports import read_study
from tests.support.predicted_slices import ALGORITHM, CELLS, UNFITTED, predicted, written
from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.dicom.square_pixels import with_square_pixels
from tfrecords_tools.phantom.rsna_files import synth


def captures_in(folder: Path) -> list[pydicom.Dataset]:
    return [x for name, x in written(folder).items() if "capture" in name]


def test_captures_show_the_overlay_and_belong_to_patient_and_study(head, tmp_path):
    assert write_dicom(tmp_path / "out", 1, head, ALGORITHM) == 0
    objects = written(tmp_path / "out")
    assert len(objects) == 9
    captures = captures_in(tmp_path / "out")
    assert len(captures) == 6
    for capture, one in zip(captures, head, strict=True):
        np.testing.assert_array_equal(capture.pixel_array, overlay(one))
        assert capture.StudyInstanceUID == one.ct.header.study_id
        assert capture.PatientID == one.ct.header.patient_id
        assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == one.ct.header.slice_id
        assert NOTICE.lower() in capture.SeriesDescription
        assert capture.BurnedInAnnotation == "YES"
        assert capture.ImageComments == "It never saw a patient."
    assert len({x.SeriesInstanceUID for x in captures}) == 1
    assert captures[0].SeriesInstanceUID != head[0].ct.header.series_id


def test_the_segmentation_holds_the_class_maps_at_their_places(head, tmp_path):
    write_dicom(tmp_path / "out", 1, head, UNFITTED)
    maps = written(tmp_path / "out")["series_1_class_maps.dcm"]
    assert [x.SegmentLabel for x in maps.SegmentSequence] == list(SUBTYPES)
    spacing = head[0].ct.header.pixel_spacing
    rows, columns = head[0].ct.hu.shape
    found = np.zeros((len(head), len(SUBTYPES)), bool)
    for frame, groups in zip(maps.pixel_array, maps.PerFrameFunctionalGroupsSequence, strict=True):
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1
        place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        # The cell's centre is 3.5 of its eighths of the slice, less half a pixel, from the first.
        cell = np.array([rows, columns]) / CELLS
        shift = [(cell[1] - 1) / 2 * spacing[1], (cell[0] - 1) / 2 * spacing[0]]
        axes = np.reshape(head[0].ct.header.orientation, (2, 3))
        expected = [np.array(x.ct.header.position) + shift @ axes for x in head]
        slice_number = int(np.argmin([np.abs(x - place).max() for x in expected]))
        np.testing.assert_allclose(place, expected[slice_number], atol=1e-3)
        said = head[slice_number].maps[..., segment]
        np.testing.assert_allclose(frame / 255, said, atol=1 / 254)
        found[slice_number, segment] = True
    assert found.all()
    measures = maps.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    np.testing.assert_allclose(
        [float(x) for x in measures.PixelSpacing], np.array(spacing) * [rows, columns] / CELLS
    )
    assert maps.FrameOfReferenceUID


def test_captures_of_an_enhanced_ct_refer_to_its_frames(tmp_path):
    synth(tmp_path / "data", patients=2, slices=3, size=64, seed=1)
    studies, _ = find_studies([tmp_path / "data" / "stage_2_train"])
    slices = read_study([file.source.path for file in studies[0].files])
    (tmp_path / "enhanced").mkdir()
    enhanced_ct(slices[::-1]).save_as(tmp_path / "enhanced" / "a.dcm", enforce_file_format=True)
    (study,), _ = find_studies([tmp_path / "enhanced"])
    read, _ = study.series[0].read()
    assert write_dicom(tmp_path / "out", 1, predicted(read), UNFITTED) == 0
    captures = captures_in(tmp_path / "out")
    sources = [x.SourceImageSequence[0] for x in captures]
    assert [x.ReferencedFrameNumber for x in sources] == list(range(len(slices), 0, -1))
    assert len(captures) == len(slices)
    assert {x.ReferencedSOPInstanceUID for x in sources} == {"1.2.3.4"}
    assert len({x.SOPInstanceUID for x in captures}) == len(slices)


def test_a_prone_patient_is_not_shown_as_supine(head, tmp_path):
    prone = [
        replace(
            x, ct=replace(x.ct, header=replace(x.ct.header, orientation=(-1.0, 0, 0, 0, -1.0, 0)))
        )
        for x in head
    ]
    for members, name, expected in ((head, "supine", ["L", "P"]), (prone, "prone", ["R", "A"])):
        write_dicom(tmp_path / name, 1, members, UNFITTED)
        capture = written(tmp_path / name)["series_1_capture_0001.dcm"]
        assert list(capture.PatientOrientation) == expected


@pytest.mark.parametrize("change", ["spacing", "shape"])
def test_class_maps_without_a_position_are_captures_only(head, tmp_path, change):
    first, *others = head
    if change == "spacing":
        header = replace(first.ct.header, pixel_spacing=None)
        changed = replace(first, ct=replace(first.ct, header=header))
    else:
        changed = replace(first, ct=replace(first.ct, hu=first.ct.hu[:-2]))
    assert write_dicom(tmp_path, 1, [changed, *others], ALGORITHM) == 0
    names = {path.name for path in tmp_path.glob("*.dcm") if "capture" not in path.name}
    assert names == {"series_1_report.dcm"}
    assert len(captures_in(tmp_path)) == len(head)


def test_identifiers_that_are_no_uids_are_replaced_by_derived_ones(tmp_path):
    synth(tmp_path / "data", patients=2, slices=3, size=64, seed=1)
    studies, _ = find_studies([tmp_path / "data" / "stage_2_train"])
    read, _ = studies[0].series[0].read()
    for name in ("first", "second"):
        write_dicom(tmp_path / name, 1, predicted(read), UNFITTED)
    first, second = (list(written(tmp_path / name).values()) for name in ("first", "second"))
    assert len(first) == len(read) + 1  # no maps, as these files have no frame of reference
    for one, again in zip(first, second, strict=True):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            assert pydicom.uid.UID(one[keyword].value).is_valid
            assert one[keyword].value == again[keyword].value


def test_objects_of_long_pixels_cover_the_area_of_the_slice(head, tmp_path):
    """Every second row of a slice alone: pixels twice as high, over the same patient."""
    ct = head[0].ct
    rows, columns = ct.header.pixel_spacing
    first_row_mm = np.reshape(ct.header.orientation, (2, 3))[1] * rows / 2  # of two, the middle
    long = CTSlice(
        replace(
            ct.header,
            rows=ct.header.rows // 2,
            pixel_spacing=(2 * rows, columns),
            position=tuple(np.add(ct.header.position, first_row_mm)),
        ),
        ct.hu[::2],
    )
    square = with_square_pixels(long)
    assert square.hu.shape == ct.hu.shape
    np.testing.assert_allclose(square.header.pixel_spacing, ct.header.pixel_spacing)
    np.testing.assert_allclose(square.header.position, ct.header.position)
    assert with_square_pixels(ct) is ct
    assert write_dicom(tmp_path, 1, [replace(head[0], ct=square)], UNFITTED) == 0
    assert written(tmp_path)["series_1_capture_0001.dcm"].Rows == ct.header.rows


def test_slices_that_are_not_square_keep_their_shape():
    rng = np.random.default_rng(0)
    header = type("Header", (), {})()
    one = PredictedSlice(
        SliceFile(Source("x", Path("x")), header),
        CTSlice(header, rng.normal(30, 5, (64, 96)).astype(np.float32)),
        np.pad(np.ones((CELLS, CELLS // 2, 6)), ((0, 0), (0, CELLS // 2), (0, 0))),
        np.ones(6),
    )
    image = overlay(one).astype(int)
    assert image.shape == (64, 96, 3)
    coloured = np.ptp(image, axis=-1) > 20
    assert coloured[20:, :40].all()  # below the words
    assert not coloured[20:, 56:].any()


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools is not installed")
def test_dicom3tools_finds_no_error(head, tmp_path):
    synth(tmp_path / "data", patients=1, slices=2, size=64, seed=2)
    studies, _ = find_studies([tmp_path / "data" / "stage_2_train"])
    read, _ = studies[0].series[0].read()
    write_dicom(tmp_path / "out", 1, head, ALGORITHM)
    write_dicom(tmp_path / "rsna", 1, predicted(read), ALGORITHM)
    for path in [*(tmp_path / "out").iterdir(), *(tmp_path / "rsna").iterdir()]:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        faults = [x for x in done.stderr.splitlines() if x.startswith("Error")]
        assert not faults, f"{path.name}: {faults}"

"""What the page of a study holds, from files to its blocks."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.studies import ReadSeries, find_studies, read_series
from ich_keras.view import study_page as module
from ich_keras.view.html import write_page
from ich_keras.view.study_page import StudyPage, study_page
from tests.support.made_dicom import make_dataset, saved
from tests.support.study_pages import blocks_of, made_page
from tfrecords_tools.dicom.orientation import usual_view
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.windows import AIR, WINDOWS, pad_square

INPUT = NetworkInput(16, 16, (WINDOWS["brain"], WINDOWS["bone"]), neighbours=1)
TRUE_HU = np.random.default_rng(1).integers(-1000, 1900, (3, 40, 48))
TRUE_HU[:, :4] = -1000


def read(folder: Path, **elements: object) -> ReadSeries:
    """A series of three slices in files."""
    folder.mkdir()
    for number, hu in enumerate(TRUE_HU):
        values = {"PixelSpacing": [0.5, 0.5], "SOPInstanceUID": f"ID_slice{number}", **elements}
        values["ImagePositionPatient"] = [0, 0, 5 * number]
        dataset = make_dataset(np.int16(hu + 1024), **values)
        (folder / f"{number}.dcm").write_bytes(saved(dataset).getvalue())
    (study,), _ = find_studies([folder])
    (series,) = read_series(study.series, INPUT, [])
    return series


def page_of(series: ReadSeries, masks: dict[str, Path] | None = None) -> StudyPage:
    raw, maps = np.full((3, 6), 0.25, np.float32), np.full((3, 2, 2, 6), 0.5, np.float32)
    rejects = [{"path": "DOE^JANE.dcm", "reason": "not_ct", "detail": "DOE^JANE"}]
    said = {"smooth": False, "rejects": rejects, "notice": "research"}
    return study_page(1, series, INPUT, raw, maps, None, **said, masks=masks)


STORED = pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PixelSpacing": [1.0, 0.5]},
        {"ImageOrientationPatient": [0, -1, 0, 1, 0, 0], "PixelSpacing": [0.5, 0.75]},
        {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    ],
    ids=["as usual", "high pixels", "turned by a quarter, wide pixels", "turned by half"],
)


@STORED
def test_slices_lie_in_the_square_of_the_class_maps_as_the_network_saw_them(tmp_path, elements):
    series = read(tmp_path / "study", **elements)
    page = page_of(series)
    for ct, hu in zip(series.slices, page.hu, strict=True):
        np.testing.assert_array_equal(hu, usual_view(ct.header).turn.apply(ct.hu))
        seen, plane = pad_square(usual_view(ct.header).apply(ct.hu)), page.plane
        assert seen.shape == (plane.edge, plane.edge)
        inside = np.zeros(seen.shape, bool)
        inside[plane.top :, plane.left :][: plane.height, : plane.width] = True
        assert (seen[~inside] == AIR).all()
        assert inside.sum() == plane.height * plane.width
    assert page.plane.pixel_mm == pytest.approx(0.5)
    np.testing.assert_array_equal(page.network, series.images[..., [1, 4]])


@STORED
@pytest.mark.parametrize("most", [10**6, 3 * 2 * 20 * 20 + 1], ids=["as they are", "averaged"])
def test_masks_lie_where_their_slices_are(tmp_path, monkeypatch, elements, most):
    monkeypatch.setattr(module, "MAX_BYTES", most)
    halves = np.zeros(TRUE_HU[0].shape, np.uint8)
    halves[20:, 24:] = 1 << 4
    cv2.imwrite(str(tmp_path / "ID_slice1.png"), halves)
    series = read(tmp_path / "study", **elements)
    marked = [CTSlice(x.header, np.where(halves, 1000.0, -1000.0)) for x in series.slices]
    series = replace(series, slices=tuple(marked))
    page = page_of(series, {"ID_slice1": tmp_path / "ID_slice1.png"})
    where = page.hu[1] >= 0
    assert where.any()
    np.testing.assert_array_equal(page.masks[1], 16 * where)
    assert not page.masks[[0, 2]].any()
    assert page.labels.tolist() == [[0] * 6, [0, 0, 0, 0, 1, 1], [0] * 6]


def test_a_study_that_is_too_large_is_averaged_as_little_as_possible(tmp_path, monkeypatch):
    series = read(tmp_path / "study")
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 2 * 20 * 20 + 1)
    page = page_of(series)
    assert page.hu.shape == (3, 20, 20)
    assert page.plane.pixel_mm == pytest.approx(0.5 * 48 / 20)
    assert page.network_windows == ("brain", "bone")
    expected = pad_square(series.slices[0].hu).mean()
    assert page.hu[0].mean() == pytest.approx(expected, abs=2)


def test_distances_larger_than_those_beside_them_are_gaps():
    z = np.array([0, 5, 10, 30, 35, 45, 55.0])  # thicker from 35 on, which is no gap
    assert made_page(7, position_mm=z).gaps() == [2]
    assert made_page(7, position_mm=np.full(7, np.nan)).gaps() == []
    assert made_page(1).gaps() == []


def test_the_page_says_nothing_of_who_it_is(tmp_path):
    secret = {"PatientID": "DOE^JANE", "StudyInstanceUID": "1.2.840.1", "PatientName": "DOE^JANE"}
    series = read(tmp_path / "DOE^JANE", **secret, StudyDate="19991231")
    write_page(tmp_path / "study_001.html", page_of(series))
    text = (tmp_path / "study_001.html").read_text("utf-8")
    content = blocks_of(tmp_path / "study_001.html")["study"].decode()
    for word in ("DOE", "JANE", "1.2.840", "ID_slice", "ID_series", "1999"):
        assert word not in content
        assert word not in re.sub(r'"data-\w+">[^<]*<', "", text)
    assert json.loads(content)["rejects"][0][:2] == ["not_ct", 1]


def test_a_written_page_is_for_its_owner_alone(tmp_path):
    (tmp_path / ".partial-study_001.html").touch(mode=0o666)  # of an interrupted attempt
    write_page(tmp_path / "study_001.html", made_page(1))
    assert (tmp_path / "study_001.html").stat().st_mode & 0o777 == 0o600

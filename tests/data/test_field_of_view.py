"""A head in a large field of view is cropped, and never cut."""

import numpy as np
import pytest

from ich_keras.data.field_of_view import CROPPED_MM, cropped_to_head
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.studies import find_studies, read_series, series_images
from tests.support.dicom_header import header
from tests.support.exports import read_study, save, set_pixels
from tests.support.scanner_objects import SIZE, from_middle
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.windows import WINDOWS

EDGE = 500.0  # mm
MM = EDGE / SIZE


def ellipse(x_mm: float, y_mm: float, across_mm: float = 160, long_mm: float = 200) -> np.ndarray:
    x, y = from_middle(SIZE, EDGE)
    inside = np.hypot((x - x_mm) / across_mm, (y - y_mm) / long_mm) < 0.5
    return np.where(inside, 30, -1000).astype(np.float32)


def in_field(hu: np.ndarray, edge_mm: float = EDGE, **changes: object) -> CTSlice:
    spacing = (edge_mm / SIZE, edge_mm / SIZE)
    shape = {"rows": SIZE, "columns": SIZE, "pixel_spacing": spacing}
    return CTSlice(header(**(shape | changes)), hu)


@pytest.mark.parametrize("at", [(0, 0), (100, -80), (-165, 140)])
def test_the_head_is_whole_in_the_crop_and_where_it_was(at):
    whole = [in_field(ellipse(*at)), in_field(ellipse(at[0], at[1] + 20))]
    cropped = cropped_to_head(whole)
    for before, after in zip(whole, cropped, strict=True):
        assert after.hu.shape == (round(CROPPED_MM / MM),) * 2 == (after.header.rows,) * 2
        assert (after.hu > 0).sum() == (before.hu > 0).sum()
        places = [first_tissue_mm(x) for x in (before, after)]
        np.testing.assert_allclose(*places)


def first_tissue_mm(ct: CTSlice) -> np.ndarray:
    row, column = np.argwhere(ct.hu > 0)[0]
    along_row, along_column = np.reshape(ct.header.orientation, (2, 3))
    height, width = ct.header.pixel_spacing
    return ct.header.position + along_row * column * width + along_column * row * height


def test_what_might_be_cut_is_left_as_it_is():
    usual = [in_field(ellipse(0, 0), edge_mm=350.0)]
    trunk = [in_field(ellipse(0, 0, 350, 250))]
    far_apart = [in_field(ellipse(0, -140)), in_field(ellipse(0, 140))]
    mixed = [in_field(ellipse(0, 0)), in_field(ellipse(0, 0), edge_mm=400.0)]
    nothing = [in_field(np.full((SIZE, SIZE), -1000, np.float32))]
    unknown = [in_field(ellipse(0, 0), pixel_spacing=None)]
    for slices in (usual, trunk, far_apart, mixed, nothing, unknown):
        for before, after in zip(slices, cropped_to_head(slices), strict=True):
            assert before is after


def test_shoulders_do_not_keep_a_head_from_being_cropped():
    head, shoulders = in_field(ellipse(0, 0)), in_field(ellipse(0, 0, 450, 200))
    assert cropped_to_head([shoulders, head, head])[1].hu.shape != head.hu.shape


def test_a_phantom_in_a_large_field_is_seen_as_large_as_before_and_remarked(tmp_path):
    synth(tmp_path / "data", patients=2, slices=4, size=128, seed=3, workers=1)
    studies, _ = find_studies([tmp_path / "data" / "stage_2_train"])
    whole = next(x for x in studies if len(x.files) == 4)

    def widen(dataset, _number):
        """Air around the slice."""
        stored, edge = dataset.pixel_array, dataset.Rows // 2
        air = round((-1000 - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
        set_pixels(dataset, np.pad(stored, edge, constant_values=air))

    save(read_study([x.source.path for x in whole.files]), tmp_path / "wide", widen)
    (study,), _ = find_studies([tmp_path / "wide"])
    network_input = NetworkInput(128, 128, (WINDOWS["brain"],), 0)
    (read,) = read_series(study.series, network_input, [])
    assert {"larger than a head", "cropped to the head"} <= set(read.remarks())
    assert read.slices[0].header.edge_mm == pytest.approx(CROPPED_MM, abs=5)
    wide = series_images([file.read() for file in read.files], network_input)
    tissue = [(x > 0).sum() for x in (wide, read.images)]
    scale = study.files[0].header.slice.edge_mm / CROPPED_MM
    assert tissue[1] / tissue[0] == pytest.approx(scale**2, rel=0.15)

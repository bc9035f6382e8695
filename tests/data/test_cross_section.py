"""What is too large for a head by its pixels, and that heads are not."""

from pathlib import Path

import numpy as np
import pytest

from ich_keras.data.cross_section import is_larger_than_a_head, outline_cm2
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.studies import find_studies, read_series
from tests.support.dicom_header import header
from tests.support.scanner_objects import FOV, SIZE, disc, from_middle
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.windows import WINDOWS

INPUT = NetworkInput(shard_size=64, size=64, windows=(WINDOWS["brain"],), neighbours=0)
LARGE = "cross-section larger than a head's"


def as_slice(hu: np.ndarray, edge_mm: float = FOV) -> CTSlice:
    rows, columns = hu.shape
    spacing = (edge_mm / rows, edge_mm / columns)
    return CTSlice(header(rows=rows, columns=columns, pixel_spacing=spacing), hu)


def remarks(*paths: Path) -> list[list[str]]:
    studies, _ = find_studies(paths)
    return [x.remarks() for s in studies for x in read_series(s.series, INPUT, [])]


def test_the_outline_is_that_of_the_body_with_its_air():
    hollow = np.where(disc(60) > -1000, -1000, disc(90)).astype(np.float32)
    assert outline_cm2(as_slice(hollow)) == pytest.approx(np.pi * 9**2, rel=0.03)
    assert outline_cm2(as_slice(hollow[:, ::2])) == pytest.approx(np.pi * 9**2, rel=0.03)


def test_a_head_holder_does_not_count():
    x, y = from_middle()
    ring = np.hypot(x, y)
    holder = (ring > 112) & (ring < 116)
    head = np.where(holder, 100.0, disc(80)).astype(np.float32)
    assert outline_cm2(as_slice(head)) == pytest.approx(np.pi * 8**2, rel=0.03)


def test_most_slices_decide():
    head, trunk = as_slice(disc(90)), as_slice(disc(90), edge_mm=2 * FOV)
    assert not is_larger_than_a_head([trunk, trunk, head, head, head])  # shoulders below
    assert is_larger_than_a_head([head, trunk, trunk])
    assert not is_larger_than_a_head([as_slice(np.full((SIZE, SIZE), -1000, np.float32))])


def test_a_slice_of_unknown_scale_is_not_doubted():
    assert not is_larger_than_a_head([CTSlice(header(pixel_spacing=None), disc(110))])


def test_no_phantom_is_remarked(tmp_path):
    synth(tmp_path, patients=6, slices=8, size=64, seed=5)
    found = remarks(tmp_path / "stage_2_train")
    assert len(found) >= 6
    assert not any(LARGE in x for x in found)


def test_real_trunks_are_remarked_and_the_real_head_is_not(realdata):
    (head,) = remarks(realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE")
    assert head == []
    test_images = realdata / "cornerstonejs+cornerstoneWADOImageLoader" / "examples"
    found = remarks(test_images / "test-images" / "CTImage.dcm")
    assert [LARGE in x for x in found] == [True]  # its header names no body part

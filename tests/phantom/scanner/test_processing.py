"""Calibration, resampling and loss between the scanner and the file."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tests.support.scanner_objects import AS_MEASURED, disc, skull
from tfrecords_tools.phantom.sampling import sample_study
from tfrecords_tools.phantom.scanner.processing import Grid, sample_processing
from tfrecords_tools.phantom.scanner.storage import RARE
from tfrecords_tools.phantom.study import make_study


def test_an_error_of_the_calibration_shifts_and_stretches_hu():
    shown = replace(AS_MEASURED, scale=1.02, offset=3.0).apply(
        np.array([[[0.0, 100.0, 1000.0]]], np.float32)
    )
    np.testing.assert_allclose(shown, [[[3, 105, 1023]]], rtol=1e-6)
    assert shown.dtype == np.float32


@pytest.mark.parametrize("grid", [Grid(0.7, 0.0), Grid(0.9, 7.0)])
def test_resampling_moves_nothing_and_smooths_the_noise(grid):
    blob = disc(20, 60.0, x=40.0) + 1000
    noise = np.random.default_rng(0).standard_normal(blob.shape).astype(np.float32)
    inside = slice(80, 176), slice(80, 176)
    moved, smoothed = (
        replace(AS_MEASURED, grid=grid).apply(hu[None])[0] for hu in (blob - 1000, noise)
    )
    np.testing.assert_allclose(
        ndimage.center_of_mass(moved + 1000), ndimage.center_of_mass(blob), atol=0.2
    )
    assert smoothed[inside].std() < 0.85 * noise[inside].std()


def test_pictures_keep_even_soft_tissue_and_lose_detail():
    hu = skull()
    hu[120:136, 120:136] = 70
    kept = replace(AS_MEASURED, quality=75).apply(hu[None])[0]
    even = ndimage.minimum_filter(hu, 25) == ndimage.maximum_filter(hu, 25)
    soft, air = even & (hu == 30), even & (hu == -1000)
    np.testing.assert_allclose(kept[soft], 30, atol=1.5)
    assert (kept[air] == -1000).all()
    assert kept[124:132, 124:132].mean() == pytest.approx(70, abs=1)
    assert np.median(kept[hu == 1000]) == pytest.approx(1000, abs=80)
    assert not np.array_equal(kept, hu)


def test_limits_cut_hu_off():
    kept = replace(AS_MEASURED, limits=(0.0, 255.0)).apply(skull()[None])
    assert set(np.unique(kept)) == {0.0, 30.0, 255.0}


def test_most_studies_lose_nothing_and_some_do():
    drawn = [sample_processing(np.random.default_rng(i), keeps_air=False) for i in range(500)]
    shares = [
        np.mean([getattr(x, name) is not None for x in drawn])
        for name in ("grid", "quality", "limits")
    ]
    assert (np.abs(np.subtract(shares, [0.25, 0.12, 0.05])) < 0.05).all()
    assert max(abs(x.offset) for x in drawn) <= 4
    assert all(0.97 <= x.scale <= 1.03 for x in drawn)


def test_files_whose_hu_only_air_confirms_keep_it():
    scans = [sample_study(i, study=0, slices=2, seed=0).scan for i in range(400)]
    rare = [scan.processing.limits for scan in scans if scan.storage in RARE]
    assert rare and set(rare) == {None}
    assert any(scan.processing.limits for scan in scans)


def test_a_study_of_pictures_is_reproducible_and_stores_what_it_shows():
    patient = next(
        i
        for i in range(60)
        if sample_study(i, study=0, slices=2, seed=0).scan.processing.quality is not None
    )
    first, second = (make_study(patient, slices=2, size=64) for _ in range(2))
    np.testing.assert_array_equal(first.stored, second.stored)
    np.testing.assert_array_equal(first.hu, first.scan.storage.decode(first.stored))

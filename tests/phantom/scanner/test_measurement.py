"""Beam hardening, motion and rings."""

import cv2
import numpy as np
import pytest

from tests.support.scanner_objects import (
    CELL,
    FOV,
    SIZE,
    disc,
    error_map,
    from_middle,
    scan,
    skull,
    two_dense_discs,
)
from tfrecords_tools.phantom.scanner import acquisition, beam, measurement
from tfrecords_tools.phantom.scanner.measurement import Helix, Motion
from tfrecords_tools.phantom.scanner.projection import CHANNELS


def test_the_beam_has_the_energy_of_a_head_scan():
    """120 kV through 20 cm of water: 68 to 75 keV, where NISTIR 5632 gives 0.0196 to 0.0188/mm."""
    near, far = beam.through_water(np.array([200.0, 201.0]))
    assert 0.0188 < np.log(near / far) < 0.0196


@pytest.mark.parametrize("radius", [40, 70, 100])
def test_water_is_flat_after_the_water_correction(radius):
    assert np.abs(error_map(disc(radius))).max() < 0.1  # HU


def test_a_skull_causes_cupping_of_a_few_hu():
    error = error_map(skull())
    radius = np.hypot(*from_middle())
    middle, rim = error[radius < 20].mean(), error[np.abs(radius - 66) < 3].mean()
    assert 2 < rim - middle < 15
    half = error_map(skull(), hardening=0.5)
    np.testing.assert_allclose(half, error / 2, atol=0.05)


def test_scattered_rays_darken_the_middle():
    scattered, removed = (
        error_map(skull(), hardening=0.0, scatter=share) for share in (0.01, -0.01)
    )
    radius = np.hypot(*from_middle())
    middle, rim = radius < 20, np.abs(radius - 66) < 3
    assert -8 < scattered[middle].mean() < scattered[rim].mean() - 1
    assert removed[middle].mean() > removed[rim].mean() + 1


def test_dense_bones_have_a_dark_band_between_them():
    x, y = from_middle()
    error = error_map(two_dense_discs())
    between = error[(np.abs(x) < 10) & (np.abs(y) < 6)].mean()
    beyond = error[(np.abs(x) < 10) & (np.abs(np.abs(y) - 40) < 6)].mean()
    assert -60 < between < beyond - 10


def test_metal_causes_streaks_of_hundreds_of_hu():
    x, y = from_middle()
    metal = np.where(np.hypot(x - 8, y) < 4, 15000, skull()).astype(np.float32)
    around = (np.hypot(x - 8, y) > 9) & (np.hypot(x - 8, y) < 20)
    streaks = error_map(metal)[around] - error_map(skull())[around]
    assert np.ptp(streaks) > 100
    assert streaks.min() < -20 and streaks.max() > 5


def test_only_a_moving_head_has_a_double_contour():
    moved = Motion(0.3, (3.0, 0.0), 0.0)
    edge = np.abs(np.hypot(*from_middle()) - 78) < 8
    still = error_map(skull(), hardening=0.0)
    assert np.abs(still).max() < 1e-2
    assert np.abs(error_map(skull(), moved, hardening=0.0)[edge]).max() > 100


def test_a_head_that_moves_before_the_first_view_is_only_displaced():
    """Then all views agree, and the error is the blurred difference between two positions."""
    moved = error_map(skull(), Motion(1.0, (6.0, 0.0), 0.0), hardening=0.0)
    shift = np.array([[1, 0, 6 * SIZE / FOV], [0, 1, 0]])
    there = cv2.warpAffine(skull() + 1000, shift, (SIZE, SIZE)) - 1000
    difference = cv2.GaussianBlur(there - skull(), (0, 0), 3 * SIZE / FOV)
    assert np.corrcoef(difference.ravel(), moved.ravel())[0, 1] > 0.95


def windmills(helix: Helix, *slices: np.ndarray) -> np.ndarray:
    """The errors that a spiral scan of several slices adds; (slices, CELLS, CELLS)."""
    parts = np.stack([measurement.materials(hu) for hu in slices])
    none = np.zeros(CHANNELS, np.float32)
    return measurement.measure(
        parts,
        CELL,
        hardening=0.0,
        scatter=0.0,
        modulation=0.0,
        gains=none,
        motions=[None] * len(slices),
        helix=helix,
    ).error


def test_a_spiral_scan_has_windmills_where_bone_changes_from_slice_to_slice():
    base, vault = two_dense_discs(), skull()
    errors = windmills(Helix(0.1, 3, 1.0), base, vault, vault, vault, vault)
    assert np.ptp(errors[1][20:60, 20:60]) > 10  # HU within the skull
    assert np.abs(errors[3:]).max() < 1e-2


def test_windmills_turn_from_slice_to_slice():
    """A phase of half a turn exchanges bright and dark vanes."""
    slices = [skull() + np.float32(100 * number) for number in range(4)]
    errors = windmills(Helix(0.1, 2, np.pi), *slices)
    np.testing.assert_allclose(errors[1], -errors[2], atol=0.05 * np.abs(errors[1]).max())
    assert np.abs(errors[1]).max() > 1


def test_a_drift_rises_towards_one_side():
    level = acquisition.acquire(
        scan(noise=0.0, drift=(3.0, 0.0)),
        np.random.default_rng(0),
        np.zeros((1, SIZE, SIZE), np.float32),
        np.array([5.0]),
    )[0]
    x, _ = from_middle()
    inside = np.abs(x) < 0.4 * FOV
    np.testing.assert_allclose(level[inside], (x * 0.03)[inside], atol=0.3)


def test_a_faulty_channel_causes_a_ring():
    rng = np.random.default_rng
    plain, ringed = (
        acquisition.acquire(scan(rings=rings), rng(0), disc(90)[None], np.array([5.0]))[0]
        for rings in ((), ((40.0, 0.3),))
    )
    added = np.abs(ringed - plain)
    radius = np.hypot(*from_middle())
    on = added[np.abs(radius - 40) < 1.5].mean()
    assert 2 < on < 20  # HU
    assert added[np.abs(radius - 60) < 5].mean() < 0.3 * on

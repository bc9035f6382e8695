"""Beam hardening, motion and rings."""

import cv2
import numpy as np
import pytest

from tests.support.scanner_objects import (
    FOV,
    SIZE,
    disc,
    error_map,
    from_middle,
    scan,
    skull,
    two_dense_discs,
)
from tfrecords_tools.phantom.scanner import acquisition, beam
from tfrecords_tools.phantom.scanner.measurement import Motion


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

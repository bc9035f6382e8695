"""Strength, direction and spectrum of the noise."""

import numpy as np
import pytest

from tests.support.scanner_objects import (
    CELL,
    acquired_noise,
    disc,
    from_middle,
    skull,
    two_dense_discs,
)
from tfrecords_tools.phantom.scanner import beam, measurement, projection
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.projection import CHANNELS, VIEWS


def test_noise_has_the_requested_strength():
    middle = np.hypot(*from_middle()) < 15
    for noise in (2.0, 6.0):
        measured = [acquired_noise(disc(100), seed, noise=noise)[middle].std() for seed in range(6)]
        assert np.mean(measured) == pytest.approx(noise, rel=0.08)


def test_noise_scales_with_the_root_of_the_thickness():
    thick = acquired_noise(disc(100), thickness=(5.0, 5.0))
    thin = acquired_noise(disc(100), thickness=(1.25, 1.25))
    np.testing.assert_allclose(thin, 2 * thick, atol=0.01)


def test_small_heads_have_less_noise_unless_the_tube_current_is_modulated():
    middle = np.hypot(*from_middle()) < 30

    def strength(modulation: float) -> float:
        return float(acquired_noise(disc(60), modulation=modulation)[middle].std())

    assert strength(0.0) < 0.6 * 4.0
    assert strength(1.0) == pytest.approx(4.0, rel=0.12)


def noise_by_photons(hu: np.ndarray, draws: int = 60) -> np.ndarray:
    """Reconstructions of independently drawn rays; (draws, CELLS, CELLS), in arbitrary units."""
    lengths = projection.project(measurement.materials(hu)[None]) * np.float32(CELL)
    passed = beam.transmission(lengths)[0]
    white = np.random.default_rng(0).standard_normal((draws, VIEWS, CHANNELS), dtype=np.float32)
    return projection.reconstruct(white / np.sqrt(passed))


def slant(noise: np.ndarray) -> float:
    """Correlation of neighbours in a row minus that of neighbours in a column."""
    sideways = (noise[:, :, 1:] * noise[:, :, :-1]).mean()
    return float((sideways - (noise[:, 1:] * noise[:, :-1]).mean()) / noise.var())


def test_noise_between_dense_bones_equals_that_of_simulated_rays():
    def between(noise: np.ndarray) -> np.ndarray:
        x, y = from_middle(noise.shape[1])
        rows, columns = np.nonzero((np.abs(x) < 18) & (np.abs(y) < 8))
        return noise[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    measured, expected = (
        [between(draw(hu)) for hu in (two_dense_discs(), skull())]
        for draw in (
            lambda hu: np.stack([acquired_noise(hu, seed) for seed in range(6)]),
            noise_by_photons,
        )
    )
    ratio = expected[0].std() / expected[1].std()
    assert ratio > 1.1
    assert measured[0].std() / measured[1].std() == pytest.approx(ratio, rel=0.04)
    for bones, none in (measured, expected):  # streaks run from bone to bone
        assert slant(bones) > slant(none) + 0.05


def radial_power(noise: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequency in 1/mm, and the mean power on the ring about it."""
    power = np.abs(np.fft.fft2(noise)) ** 2
    frequency = np.fft.fftfreq(len(noise), pixel)
    radius = np.hypot(frequency[:, None], frequency)
    bins = np.arange(0, 0.5 / pixel, 0.03)
    ring = np.digitize(radius.ravel(), bins)
    mean = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    return bins[:-1] + 0.015, mean[1 : len(bins)]


def test_the_power_spectrum_of_the_noise_follows_the_kernel():
    """A ramp times a squared Gaussian of deviation s peaks at 1 / (pi s sqrt(8)): no noise at 0."""
    size, fov, peaks = 192, 96.0, []
    for blur in (0.7, 0.5, 0.35):
        total = np.zeros(8)
        changes = {"fov": fov, "kernel": Kernel(blur, 0.0, 0.0, 0.0)}
        water = np.zeros((size, size), np.float32)
        spectra = [radial_power(acquired_noise(water, i, **changes), fov / size) for i in range(8)]
        frequency, total = spectra[0][0], np.mean([power for _, power in spectra], axis=0)
        peaks.append(frequency[total.argmax()])
        assert peaks[-1] == pytest.approx(1 / (np.pi * blur * np.sqrt(8)), abs=0.05)
        assert total[0] < 0.35 * total.max()
    assert peaks == sorted(peaks) and peaks[0] < peaks[-1]


def test_denoised_noise_is_blotchy_and_edges_stay_sharp():
    plain, denoised = Kernel(0.5, 0.0, 0.0, 0.0), Kernel(0.5, 0.0, 1.2, 0.0)
    strength, neighbours = [], []
    for kernel in (plain, denoised):
        noise = acquired_noise(disc(100), kernel=kernel)[96:160, 96:160]
        strength.append(noise.std())
        neighbours.append((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())
    assert strength[1] == pytest.approx(strength[0], rel=0.15)
    assert neighbours[1] > neighbours[0] + 0.2
    np.testing.assert_array_equal(*(x.resolve(skull(), 1.0) for x in (plain, denoised)))

"""Projection and filtered back-projection."""

import numpy as np
import pytest

from tests.support.scanner_objects import from_middle
from tfrecords_tools.phantom.scanner import projection
from tfrecords_tools.phantom.scanner.projection import CELLS, CHANNELS, VIEWS

# Round Gaussians, whose projections are known exactly: middle x and y, deviation, height; cells.
BLOBS = ((9.0, -5.0, 4.0, 1.0), (-14.0, 12.0, 6.0, 0.5), (0.0, 25.0, 3.0, -0.4))


def blobs() -> np.ndarray:
    x, y = from_middle(CELLS, CELLS)
    parts = (a * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * d * d)) for u, v, d, a in BLOBS)
    return np.sum(list(parts), axis=0).astype(np.float32)


def test_projections_equal_the_radon_transform():
    """That of a Gaussian is a Gaussian in every direction, sqrt(2 pi) times its deviation high."""
    views = projection.project(blobs())
    channel = np.arange(CHANNELS) - (CHANNELS - 1) / 2
    for view, angle in zip(views, projection.view_angles(), strict=True):
        expected = np.zeros(CHANNELS)
        for u, v, d, height in BLOBS:
            away = channel - (u * np.cos(angle) + v * np.sin(angle))
            expected += height * np.sqrt(2 * np.pi) * d * np.exp(-(away**2) / (2 * d * d))
        np.testing.assert_allclose(view, expected, atol=0.01 * views.max())


def test_every_view_sees_the_whole_slice():
    image = np.random.default_rng(0).random((CELLS, CELLS)).astype(np.float32)
    np.testing.assert_allclose(projection.project(image).sum(axis=-1), image.sum(), rtol=1e-5)


def test_back_projection_is_the_transpose_of_projection():
    rng = np.random.default_rng(1)
    image = rng.random((CELLS, CELLS)).astype(np.float32)
    views = rng.random((VIEWS, CHANNELS)).astype(np.float32)
    forward = float((projection.project(image) * views).sum())
    assert forward == pytest.approx(float((image * projection.back_project(views)).sum()), rel=1e-4)


def test_reconstruction_returns_the_slice():
    image = blobs()
    again = projection.reconstruct(projection.project(image))
    assert np.abs(again - image).max() < 0.06 * image.max()

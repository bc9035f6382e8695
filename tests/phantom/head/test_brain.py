"""The brain of a head without hemorrhage: its depth, and its grey and white matter."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from benchmarks.real_head import grid
from tfrecords_tools.phantom.folds import fold_volume, folds_at
from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Points
from tfrecords_tools.phantom.head.patient import sample_head


@pytest.fixture(scope="module")
def heads():
    drawn = (sample_head(np.random.default_rng(number)) for number in range(100))
    return list(islice((head for head in drawn if 30 < head.age < 60), 3))


def test_depth_is_the_distance_from_the_nearest_bone(heads):
    """Also high above the ridges of the skull base, where their slope says little."""
    for head in heads:
        depth = grid.render(head).depth
        reference = distance_transform_edt(depth > 0) * grid.STEP
        heights = grid.LOW[2] + grid.STEP * np.arange(len(depth))
        deep = (reference > 15) & ((heights > 5) & (heights < 60))[:, None, None]
        ratio = depth[deep] / reference[deep]
        assert np.quantile(ratio, 0.01) > 0.6 and np.quantile(ratio, 0.05) > 0.85
        assert np.median(ratio) == pytest.approx(1, abs=0.1)


def test_deep_white_matter_is_darker_than_the_cortex(heads):
    """In every adult; how much darker differs between heads, as it does between real ones."""
    for head in heads:
        points = layer(44.0)
        tissue = anatomy.render(head, points, points, 0.0)
        x, y, _ = points.xyz
        deep = (np.abs(np.abs(x) - 28) < 8) & (np.abs(y) < 25)
        cortex = (tissue.depth > 2) & (tissue.depth < 8) & (np.abs(x) > 30)
        assert 3 < np.median(tissue.hu[cortex]) - np.median(tissue.hu[deep]) < 15


def test_sulci_run_inward_from_the_surface():
    """Beside the middle of a hemisphere the field changes from front to back, not inward."""
    points = layer(20.0)
    x, y, _ = points.xyz
    lateral = (x > 45) & (x < 64) & (np.abs(y) < 40)
    forward, inward = np.gradient(points.folds)
    assert np.abs(forward[lateral]).mean() > 1.7 * np.abs(inward[lateral]).mean()


def test_folds_have_unit_variance_and_differ_between_the_sides():
    folds = layer(20.0, seed=1).folds
    assert folds.std() == pytest.approx(1, abs=0.25)
    assert abs(np.corrcoef(folds.ravel(), folds[:, ::-1].ravel())[0, 1]) < 0.3


def layer(z: float, seed: int = 0) -> Points:
    """A whole slice with the folds of a seed, without texture."""
    size, down, along = (200, 170), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    points = grid.plain_points(np.array([-84.5, -99.5, z]), down, along, size, 2.5)
    return replace(points, folds=folds_at(fold_volume(np.random.default_rng(seed)), points))

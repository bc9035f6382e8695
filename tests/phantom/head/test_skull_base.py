"""Partial volume where a slice meets the skull base at a slant."""

from dataclasses import replace

import numpy as np

from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Points
from tfrecords_tools.phantom.head.patient import Head, sample_head

SIZE = 180


def layer(z: float, thickness: float) -> Points:
    none = np.zeros((SIZE, SIZE), np.float32)
    down, along = np.eye(3)[[1, 0]]
    origin = np.array([-SIZE / 2, -SIZE / 2, z])
    return Points(origin, down, along, none.shape, thickness, none, none, none)


def adult() -> Head:
    heads = (sample_head(np.random.default_rng(number)) for number in range(100))
    return next(head for head in heads if 30 < head.age < 60)


def rendered(head: Head, z: float, thickness: float) -> anatomy.Tissue:
    points = layer(z, thickness)
    return anatomy.render(head, points, points, 0.0)


def test_a_thick_layer_shows_the_mean_of_the_thin_ones_in_it():
    """Weighted by a slice's sensitivity, which falls linearly from its middle."""
    head = adult()
    error = alternative = 0.0
    offsets = np.arange(-5.7, 5.8, 0.6)
    for z in (-30.0, -24.0, -14.0):  # petrous ridges, sella, orbital roofs
        thin = [rendered(head, z + dz, 0.25).inside for dz in offsets]
        mean = np.average(thin, axis=0, weights=1 - np.abs(offsets) / 6)
        error += np.abs(rendered(head, z, 5.0).inside - mean).mean()
        alternative += np.abs(rendered(head, z, 0.25).inside - mean).mean()
    assert error < 0.4 * alternative


def test_ridges_differ_between_heads():
    head = adult()
    high = replace(head, base=replace(head.base, ridge=head.base.ridge + 6))
    beside_pons = (slice(90, 130), slice(100, 140))
    dense = [(rendered(x, -27.0, 5.0).hu[beside_pons] > 200).sum() for x in (head, high)]
    assert dense[1] > dense[0] + 50

"""Windows around what a slice shows: they leave nothing out, and little else in."""

from dataclasses import replace

import numpy as np
import pytest

from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Plane, Points, Push
from tfrecords_tools.phantom.head.patient import sample_head
from tfrecords_tools.phantom.head.shapes import Capsule, Ellipsoid, Shape
from tfrecords_tools.phantom.sampling import sample_study
from tfrecords_tools.phantom.scanner import acquisition
from tfrecords_tools.phantom.study import _head_window

SIZE = 96
PUSH = Push((30.0, 0.0, 10.0), (-8.0, 2.0, 0.0), 42.0)


def planes() -> list[Plane]:
    """Layers through heads of many poses and sizes."""
    layers = []
    for patient in range(12):
        parameters = sample_study(patient, study=0, slices=6, seed=0)
        for height in parameters.heights:
            frame = acquisition.frame(parameters.scan, (SIZE, SIZE), float(height))
            placed = acquisition.to_head(parameters.scan, parameters.head.size, frame)
            layers.append(Plane(*placed, (SIZE, SIZE), 2.5))
    return layers


def shapes() -> list[Shape]:
    rng = np.random.default_rng(0)
    drawn: list[Shape] = []
    for _ in range(12):
        ends = rng.uniform(-60, 60, (2, 3)).tolist()
        x, y, z = rng.uniform(3, 30, 3).tolist()
        drawn += [Ellipsoid(tuple(ends[0]), (x, y, z)), Capsule(*map(tuple, ends), (x, y))]
    return drawn


@pytest.mark.parametrize("pushes", [(), (PUSH,)])
def test_a_window_holds_all_pixels_of_a_shape(pushes):
    met = 0
    for plane in planes():
        layer = replace(plane, pushes=pushes)
        for shape in shapes():
            within = shape.depth(*layer.xyz) > -2.0
            window = shape.window(layer, 2.0)
            if window is not None:
                within[window] = False
                met += 1
            assert not within.any()
    assert met > 100


def test_a_window_is_as_small_as_the_cut_through_an_ellipsoid():
    shape = Ellipsoid((10.0, -5.0, 8.0), (30.0, 12.0, 20.0))
    for plane in planes():
        rows, columns = (shape.depth(*plane.xyz) > 0).nonzero()
        window = shape.window(plane, 0.0)
        if rows.size:
            assert window is not None
            for span, met in zip(window, (rows, columns), strict=True):
                # The tip of an ellipse may pass between two pixels.
                assert met.min() - span.start in (0, 1)
                assert span.stop - 1 - met.max() in (0, 1)


def test_outside_its_window_a_head_is_air():
    for patient in range(6):
        parameters = sample_study(patient, study=0, slices=5, seed=3)
        for height in parameters.heights:
            frame = acquisition.frame(parameters.scan, (SIZE, SIZE), float(height))
            placed = acquisition.to_head(parameters.scan, parameters.head.size, frame)
            none = np.zeros((SIZE, SIZE), np.float32)
            points = Points(*placed, (SIZE, SIZE), 2.5, none, none, none)
            hu = anatomy.render(parameters.head, points, points, 0.0).hu
            hu[_head_window(parameters, points)] = -1000
            assert (hu < -995).all()


def test_a_part_of_a_layer_shows_the_same_head():
    head = sample_head(np.random.default_rng(1))
    none = np.zeros((SIZE, SIZE), np.float32)
    step = np.eye(3) * 2.0
    points = Points(np.array([-95.0, -95.0, 12.0]), step[1], step[0], none.shape, 2.5, *[none] * 3)
    whole = anatomy.render(head, points, points, 0.0).hu
    window = (slice(20, 80), slice(15, 70))
    part = anatomy.render(head, points.crop(window), points.crop(window), 0.0).hu
    # Where the window cuts the head, the width of its edges is estimated from one side.
    np.testing.assert_allclose(part[4:-4, 4:-4], whole[window][4:-4, 4:-4], atol=2.0)

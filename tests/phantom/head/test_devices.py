"""Metal and openings of a head."""

import numpy as np

from tfrecords_tools.phantom.head import devices, surfaces
from tfrecords_tools.phantom.head.geometry import Points, direction
from tfrecords_tools.phantom.head.patient import sample_head


def layer(z: float, size: int = 256) -> Points:
    none = np.zeros((size, size), np.float32)
    down, along = np.eye(3)[[1, 0]]
    origin = np.array([-size / 2, -size / 2, z])
    return Points(origin, down, along, (size, size), 2.5, none, none, none)


def test_staples_and_electrodes_lie_outside_the_skull_and_clips_inside():
    rng = np.random.default_rng(3)
    head = sample_head(rng)
    outside = devices._staples(rng, head, direction(70, 30))
    outside = [*outside, *devices._electrodes(rng, head)]
    for metal, within in ((outside, False), ([devices._clip(rng)], True)):
        pixels = 0
        for z in np.arange(-40.0, 90.0, 2.5):
            points = layer(z)
            hu = np.zeros(points.shape, np.float32)
            devices.paint_devices(devices.Devices(tuple(metal), (), None), hu, points)
            distance = surfaces.distances(head, points)
            where = hu > 300
            pixels += int(where.sum())
            if within:
                assert (distance.brain[where] > 10).all()
            else:
                assert ((distance.bone[where] < 2) & (distance.scalp[where] > -8)).all()
        assert pixels > 0


def test_a_craniotomy_opens_only_bone():
    rng = np.random.default_rng(3)
    flap, holes = devices._craniotomy(rng, sample_head(rng), direction(70, 30))
    points = layer(holes[0].start[2])
    bone, brain = np.full((2, *points.shape), 1000, np.float32)
    brain[:] = 40.0
    for hu in (bone, brain):
        devices.paint_devices(devices.Devices((), holes, flap), hu, points)
    assert (bone < 100).sum() > 50
    assert (brain == 40).all()

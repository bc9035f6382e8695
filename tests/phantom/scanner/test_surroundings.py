"""Objects around the head."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.scanner_objects import (
    FOV,
    NOTHING,
    SIZE,
    scan,
    skull,
)
from tfrecords_tools.phantom.head.shapes import Capsule
from tfrecords_tools.phantom.scanner import acquisition
from tfrecords_tools.phantom.scanner.rods import FLESH, Rod, sample_rods
from tfrecords_tools.phantom.scanner.surroundings import Sheet, Surroundings

MEAN = (1.0, 1.0, 1.0)  # size of the mean head


def test_surroundings_replace_only_air():
    head = np.stack([skull(), skull()])
    shown = head.copy()
    rod = Rod(Capsule((0.0, 0.0, -90.0), (90.0, 0.0, 90.0), (20.0, 20.0)), 0.0, 100.0)
    sheet = Sheet(5.0, 1.0, 1.0, -300.0, -150.0)
    crowded = Surroundings("trough", 60.0, 100.0, 4.0, 0.0, 3.0, 200.0, 8.0, True, sheet, 1, (rod,))
    acquisition.surround(scan(surroundings=crowded), MEAN, shown, np.array([0.0, 30.0]))
    tissue = head > -500
    np.testing.assert_array_equal(shown[tissue], head[tissue])
    assert (shown[~tissue] > -500).any()


@pytest.mark.parametrize("holder", ["trough", "bars", "flat"])
def test_a_holder_is_placed_as_specified(holder):
    holding = replace(NOTHING, holder=holder, hu=200.0, wall=3.0, width=100.0, back=100.0)
    hu = holding.render((SIZE, SIZE), FOV / SIZE, (0.0, 0.0))
    rows, columns = np.nonzero(hu > 0)
    x, y = (np.array([columns, rows]) - (SIZE - 1) / 2) * FOV / SIZE
    if holder == "bars":
        assert np.abs(x).min() > 80 and y.max() < 76
    else:
        assert y[np.abs(x) < 5].mean() == pytest.approx(100, abs=3)


def around(rods: tuple[Rod, ...], **changes) -> np.ndarray:
    """HU of a slice at the height 0 without a head, with some rods."""
    hu = np.full((1, SIZE, SIZE), -1000, np.float32)
    shown = scan(surroundings=replace(NOTHING, rods=rods), **changes)
    acquisition.surround(shown, MEAN, hu, np.array([0.0]))
    return hu[0]


def upright(x: float, y: float, radius: float) -> Capsule:
    return Capsule((x, y, -50.0), (x, y, 50.0), (radius, radius))


def at(hu: np.ndarray, x: float, y: float) -> float:
    column, row = (round(mm * SIZE / FOV + (SIZE - 1) / 2) for mm in (x, y))
    return float(hu[row, column])


def test_tubes_are_hollow_and_fingers_have_bones():
    tube = Rod(upright(-60, 0, 8), 6.0, 200.0)
    finger = Rod(upright(60, 0, 3), 0.0, 900.0), Rod(upright(60, 0, 8), 0.0, FLESH)
    hu = around((tube, *finger))
    assert at(hu, -60, 0) == -1000 and at(hu, -67, 0) > 100
    assert at(hu, 60, 0) == 900 and at(hu, 66, 0) == pytest.approx(FLESH)
    assert (hu > -500).sum() * (FOV / SIZE) ** 2 == pytest.approx(
        np.pi * (8**2 + 8**2 - 6**2), rel=0.1
    )


def test_rods_turn_with_the_head():
    before_the_face = (Rod(upright(0, -90, 6), 0.0, 100.0),)
    straight, turned = (around(before_the_face, angles=(yaw, 0.0, 0.0)) for yaw in (0.0, 90.0))
    assert at(straight, 0, -90) == 100 and at(turned, 0, -90) == -1000
    assert max(at(turned, side * 90, 0) for side in (-1, 1)) == 100


def test_rods_end():
    low = Rod(Capsule((0.0, 0.0, -90.0), (0.0, 0.0, -30.0), (6.0, 6.0)), 0.0, 100.0)
    assert (around((low,)) == -1000).all()


def test_most_studies_show_few_rods_and_a_few_show_many():
    counts = np.array([len(sample_rods(np.random.default_rng(i))) for i in range(400)])
    assert 0.35 < (counts == 0).mean() < 0.55
    assert 0.08 < (counts > 2).mean() < 0.35

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
from tfrecords_tools.phantom.scanner import acquisition
from tfrecords_tools.phantom.scanner.surroundings import Surroundings


def test_surroundings_replace_only_air():
    head = np.stack([skull(), skull()])
    shown = head.copy()
    crowded = Surroundings("trough", 60.0, 100.0, 3.0, 200.0, 8.0, True, 5.0, 1.0, ())
    acquisition.surround(scan(surroundings=crowded), shown, np.array([0.0, 30.0]))
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

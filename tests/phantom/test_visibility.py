"""Which hemorrhages are labelled."""

import numpy as np
import pytest

from tfrecords_tools.phantom.visibility import visible_pixels


def spot(diameter: float, share: float, contrast: float, pixel: float = 0.5) -> int:
    """The labelled pixels of a disk, mm and HU, of which a share of each pixel is blood."""
    row, column = np.mgrid[:80, :80] * pixel - 20
    disk = np.hypot(row, column) < diameter / 2
    zero = np.zeros(disk.shape, np.float32)
    return int(visible_pixels(zero + share * disk, zero + contrast * disk, pixel).sum())


@pytest.mark.parametrize(
    ("diameter", "share", "contrast", "seen"),
    [
        (4.0, 1.0, 30.0, True),  # a petechia of fresh blood
        (3.0, 1.0, 30.0, False),  # too small
        (4.0, 1.0, 15.0, False),  # small and faint
        (20.0, 1.0, -8.0, True),  # a large, old collection, darker than brain
        (20.0, 1.0, 2.0, False),  # as dense as brain
        (9.0, 0.3, 12.0, True),  # fresh blood in a part of the slice
        (9.0, 0.1, 12.0, False),  # a trace of it
    ],
)
def test_contrast_and_area_decide(diameter, share, contrast, seen):
    assert (spot(diameter, share, contrast) > 0) == seen

"""The plain rule on heads drawn by hand, in HU and mm."""

import cv2
import numpy as np
import pytest

from ich_keras.model.baseline import dense_areas, window_for_rule
from tfrecords_tools.windows import WINDOWS, apply_windows

SUBDURAL = WINDOWS["subdural"]
SIZE, PIXEL_MM = 256, 0.9


def head(*disks: tuple[int, int, int, float], noise: float = 4.0) -> np.ndarray:
    """A skull of 1000 HU around brain of 32 HU, with disks (x, y, radius, HU); float (256, 256)."""
    hu = np.full((SIZE, SIZE), -1000.0)
    centre = (SIZE // 2, SIZE // 2)
    cv2.ellipse(hu, centre, (105, 118), 0, 0, 360, 40.0, -1)  # scalp
    cv2.ellipse(hu, centre, (98, 111), 0, 0, 360, 1000.0, -1)
    cv2.ellipse(hu, centre, (91, 104), 0, 0, 360, 32.0, -1)
    for x, y, radius, value in disks:
        cv2.circle(hu, (x, y), radius, value, -1)
    return hu + np.random.default_rng(0).normal(0, noise, hu.shape)


def area(hu: np.ndarray, pixel_mm: float | None = PIXEL_MM) -> float:
    image = apply_windows(hu, (SUBDURAL,))[..., 0]
    return dense_areas(image[np.newaxis], SUBDURAL, pixel_mm)[0]


def test_the_area_of_a_bleeding_is_measured_in_mm2():
    radius = 15
    expected = np.pi * (radius * PIXEL_MM) ** 2
    assert area(head((120, 130, radius, 65.0))) == pytest.approx(expected, rel=0.2)


def test_of_two_the_larger_counts_and_nothing_is_added():
    both = head((100, 130, 12, 65.0), (160, 130, 6, 65.0))
    assert area(both) == pytest.approx(area(head((100, 130, 12, 65.0))), rel=0.05)


@pytest.mark.parametrize("hu", [32.0, 8.0, 150.0, 400.0])  # brain, fluid, calcification, bone
def test_what_is_not_as_dense_as_blood_does_not_count(hu):
    assert area(head((120, 130, 15, hu))) < 40


def test_skull_and_scalp_are_not_taken_for_blood():
    assert area(head()) < 40
    assert area(head((128, 18, 6, 65.0))) < 40  # on the scalp


def test_no_head_no_area():
    assert area(np.full((SIZE, SIZE), -1000.0)) == 0


def test_the_size_of_a_pixel_is_guessed_where_no_file_tells_it():
    assert area(head((120, 130, 15, 65.0)), None) == pytest.approx(
        area(head((120, 130, 15, 65.0)), 230 / SIZE)
    )


def test_the_narrowest_window_that_shows_all_it_needs_is_taken():
    windows = tuple(WINDOWS[x] for x in ("brain", "bone", "soft", "subdural"))
    assert window_for_rule(windows) == 3
    assert window_for_rule(windows[:1]) is None  # ends at 80 HU

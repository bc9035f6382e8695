"""Slices are turned as they are looked at, by their orientation; pixels are made square."""

import itertools

import numpy as np
import pytest
import SimpleITK

from tests.support.dicom_header import header
from tfrecords_tools.dicom.orientation import NO_TURN, Turn, is_square, turn_of, usual_view

HU = np.arange(6, dtype=np.float32).reshape(2, 3)
SIDES = {"R": (-1, 0, 0), "L": (1, 0, 0), "A": (0, -1, 0), "P": (0, 1, 0)}
AXIAL = [
    (row, column)
    for row, column in itertools.permutations(SIDES, 2)
    if abs(np.dot(SIDES[row], SIDES[column])) == 0
]


@pytest.mark.parametrize(("along_row", "along_column"), AXIAL)
def test_every_axial_orientation_is_turned_as_by_itk(along_row, along_column):
    orientation = tuple(map(float, (*SIDES[along_row], *SIDES[along_column])))
    image = SimpleITK.GetImageFromArray(HU[np.newaxis])
    row, column = np.reshape(orientation, (2, 3))
    image.SetDirection(np.stack([row, column, np.cross(row, column)], axis=1).ravel().tolist())
    expected = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "LPS"))[0]
    np.testing.assert_array_equal(usual_view(header(orientation=orientation)).apply(HU), expected)


def test_a_tilted_slice_stays_as_it_is():
    tilted = (1.0, 0.0, 0.0, 0.0, 0.94, -0.34)
    assert turn_of(header(orientation=tilted)) == NO_TURN


@pytest.mark.parametrize(
    "turn", [Turn(*flags) for flags in itertools.product((False, True), repeat=3)]
)
def test_a_turn_can_be_undone(turn):
    np.testing.assert_array_equal(turn.undo(turn.apply(HU)), HU)


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5), (0.5, 0.5004), (0.0, 0.5)])
def test_pixels_that_are_square_or_unknown_are_left_alone(spacing):
    assert is_square(header(pixel_spacing=spacing))
    np.testing.assert_array_equal(usual_view(header(pixel_spacing=spacing)).apply(HU), HU)


def test_pixels_are_made_square():
    """Twice as high as wide: twice as many rows, with values between those of the file."""
    view = usual_view(header(pixel_spacing=(1.0, 0.5), rows=2, columns=3)).apply(HU)
    assert view.shape == (4, 3)
    np.testing.assert_allclose(view[:, 0], [0.0, 0.75, 2.25, 3.0])

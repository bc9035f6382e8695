"""Turns axial slices as they are looked at: the patient's right on the left, the nose above.

Files may hold a slice upside down, mirrored, or turned by a quarter; their Image Orientation
(Patient) tells (PS3.3 C.7.6.2.1.1). A slice seen from above instead of from below is mirrored.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords_tools.dicom.header import SliceHeader

SQUARE = 0.01  # difference of the spacings of rows and columns that does not count


@dataclass(frozen=True)
class Turn:
    """How rows and columns become those of the usual view: first swapped, then reversed."""

    swapped: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turns an array (rows, columns, ...)."""
        turned = pixels.swapaxes(0, 1) if self.swapped else pixels
        return turned[:: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]

    def undo(self, pixels: np.ndarray) -> np.ndarray:
        """The array that `apply` turned into this one."""
        turned = pixels[:: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]
        return turned.swapaxes(0, 1) if self.swapped else turned


NO_TURN = Turn()


def turn_of(header: SliceHeader) -> Turn:
    """How a slice is to be turned, by its orientation; not at all if the file names none.

    In the usual view, columns count towards the patient's left (+x), rows towards the back (+y).
    """
    along_row, along_column = header.orientation[:3], header.orientation[3:]
    swapped = abs(along_row[0]) < abs(along_column[0])
    across, down = (along_column, along_row) if swapped else (along_row, along_column)
    return Turn(swapped, rows_reversed=down[1] < 0, columns_reversed=across[0] < 0)


def is_square(header: SliceHeader) -> bool:
    """Whether pixels are as high as they are wide, or of unknown shape."""
    if header.pixel_spacing is None or min(header.pixel_spacing) <= 0:
        return True
    return max(header.pixel_spacing) <= (1 + SQUARE) * min(header.pixel_spacing)


@dataclass(frozen=True)
class View:
    """How a slice becomes one with square pixels, turned as it is looked at."""

    turn: Turn = NO_TURN
    square: tuple[int, int] | None = None  # rows and columns of square pixels; None if they are

    def apply(self, hu: np.ndarray) -> np.ndarray:
        """A slice in HU, float32 (rows, columns); longer edges of pixels are divided linearly."""
        if self.square is not None:
            hu = cv2.resize(hu, self.square[::-1], interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(self.turn.apply(hu))


def usual_view(header: SliceHeader) -> View:
    """The view of a slice for networks; that of most files changes nothing."""
    if is_square(header) or header.pixel_spacing is None:
        return View(turn_of(header))
    shortest = min(header.pixel_spacing)
    height, width = (x / shortest for x in header.pixel_spacing)
    return View(turn_of(header), (round(header.rows * height), round(header.columns * width)))

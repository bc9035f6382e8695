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


def square_pixels(hu: np.ndarray, header: SliceHeader) -> np.ndarray:
    """A slice, float32 (rows, columns), with the longer edge of its pixels divided linearly."""
    if is_square(header):
        return hu
    assert header.pixel_spacing is not None
    spacing = np.array(header.pixel_spacing)
    rows, columns = np.round(np.array(hu.shape) * spacing / spacing.min()).astype(int)
    return cv2.resize(hu, (int(columns), int(rows)), interpolation=cv2.INTER_LINEAR)


def usual_view(hu: np.ndarray, header: SliceHeader) -> np.ndarray:
    """A slice in HU, float32 (rows, columns), with square pixels and turned as it is looked at."""
    return np.ascontiguousarray(turn_of(header).apply(square_pixels(hu, header)))

"""Slices with square pixels, in the orientation that their files have."""

from dataclasses import replace

import numpy as np

from tfrecords_tools.dicom.orientation import NO_TURN, usual_view
from tfrecords_tools.dicom.reader import CTSlice


def with_square_pixels(ct: CTSlice) -> CTSlice:
    """The slice over the same area, its pixels and header; itself if they are square."""
    view, header = usual_view(ct.header), ct.header
    if view.square is None or header.pixel_spacing is None:
        return ct
    old = np.array(header.pixel_spacing)
    new = old * (header.rows, header.columns) / view.square
    down, right = (new - old) / 2  # the first pixel's centre moves, not its corner
    along_row, along_column = np.reshape(header.orientation, (2, 3))
    position = np.array(header.position) + along_row * right + along_column * down
    rows, columns = view.square
    square = replace(
        header,
        rows=rows,
        columns=columns,
        pixel_spacing=tuple(new.tolist()),
        position=tuple(position.tolist()),
    )
    return CTSlice(square, replace(view, turn=NO_TURN).apply(ct.hu))

"""Windows of a slice: the pixels in which something is evaluated."""

import math
from collections.abc import Iterable

import numpy as np

Window = tuple[slice, slice]  # rows, columns
Span = tuple[float, float]  # the lowest and the highest


def window_between(rows: Span, columns: Span, shape: tuple[int, int]) -> Window | None:
    """The pixels whose rows and columns lie in two ranges; None if there are none."""
    (top, bottom), (left, right) = rows, columns
    first_row, first_column = max(math.ceil(top), 0), max(math.ceil(left), 0)
    last_row = min(math.floor(bottom), shape[0] - 1)
    last_column = min(math.floor(right), shape[1] - 1)
    if last_row < first_row or last_column < first_column:
        return None
    return slice(first_row, last_row + 1), slice(first_column, last_column + 1)


def bounding_window(mask: np.ndarray) -> Window:
    """The smallest window around all True of a mask.

    If there is none, the first two rows and columns, so that no caller needs to handle empty
    arrays.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 2), slice(0, 2)
    top, bottom, left, right = (int(n) for n in (rows[0], rows[-1], columns[0], columns[-1]))
    return slice(top, bottom + 1), slice(left, right + 1)


def union(windows: Iterable[Window]) -> Window:
    """The smallest window that holds all others."""
    rows, columns = (
        slice(min(span.start for span in spans), max(span.stop for span in spans))
        for spans in zip(*windows, strict=True)
    )
    return rows, columns

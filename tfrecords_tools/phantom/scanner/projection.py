"""Projection along parallel rays, and filtered back-projection (Kak and Slaney 1988, ch. 3).

Both work on a coarse map, whose cells of some 3 mm suffice for smooth errors.
"""

from functools import lru_cache

import numpy as np
from scipy import fft, sparse

from tfrecords_tools.phantom.head.geometry import Array

CELLS = 80  # along each edge of the coarse map
VIEWS = 64  # over 180 degrees
CHANNELS = 116  # of the detector, one cell wide: the diagonal of the map
SECTORS = 2  # of directions, in each of which noise is known: rays from front to back, and sideways


def project(maps: Array) -> Array:
    """Integrals along the rays in cells, from (..., CELLS, CELLS) to (..., VIEWS, CHANNELS)."""
    rows = maps.reshape(-1, CELLS * CELLS)
    views = np.zeros((len(rows), VIEWS * CHANNELS), np.float32)
    full = rows.any(axis=1)  # few slices hold metal
    views[full] = (system_matrix() @ rows[full].T).T
    return views.reshape(*maps.shape[:-2], VIEWS, CHANNELS)


def back_project(views: Array) -> Array:
    """Sums over the rays through each cell; the transpose of `project`."""
    columns = np.ascontiguousarray(views.reshape(-1, VIEWS * CHANNELS).T)
    return (system_matrix().T @ columns).T.reshape(*views.shape[:-2], CELLS, CELLS)


def reconstruct(views: Array) -> Array:
    """Filtered back-projection, by the ramp of Ramachandran and Lakshminarayanan and a Hann window.

    The window suppresses artefacts of the coarse map and of the few views.
    """
    length = fft.next_fast_len(2 * CHANNELS, real=True)
    spectrum = fft.rfft(views, length) * _ramp(length)
    filtered = fft.irfft(spectrum, length)[..., :CHANNELS]
    return back_project(filtered) * np.float32(np.pi / VIEWS)


@lru_cache(maxsize=1)
def system_matrix() -> sparse.csr_array:
    """The area of each strip in each cell; float32, (VIEWS * CHANNELS, CELLS * CELLS).

    A strip is as wide as a cell, so that a row of the matrix sums to the length of its ray.
    """
    row, column = np.divmod(np.arange(CELLS * CELLS), CELLS)
    x, y = column - (CELLS - 1) / 2, row - (CELLS - 1) / 2
    strips, cells, shares = [], [], []
    for view, angle in enumerate(view_angles()):
        wide, high = np.cos(angle), np.sin(angle)
        middle = x * wide + y * high + CHANNELS / 2
        first = np.floor(middle - (abs(wide) + abs(high)) / 2).astype(int)
        for channel in (first, first + 1, first + 2):
            share = _left_of(channel + 1 - middle, wide, high)
            share -= _left_of(channel - middle, wide, high)
            met = share > 1e-6
            strips.append(view * CHANNELS + channel[met])
            cells.append(np.flatnonzero(met))
            shares.append(share[met].astype(np.float32))
    indices = (np.concatenate(strips).astype(np.int32), np.concatenate(cells).astype(np.int32))
    shape = (VIEWS * CHANNELS, CELLS * CELLS)
    return sparse.coo_array((np.concatenate(shares), indices), shape=shape).tocsr()


def view_angles() -> np.ndarray:
    """Angles of the detector's line, from x toward y, radians; none lies on an axis."""
    return (np.arange(VIEWS) + 0.5) * np.pi / VIEWS


def sector_weights(angles: np.ndarray) -> np.ndarray:
    """Weight of each sector in a direction; they sum to 1. Shape (SECTORS, *angles.shape)."""
    middles = np.arange(SECTORS) * np.pi / SECTORS
    return 2 / SECTORS * np.cos(np.subtract.outer(-middles, -angles)) ** 2


def _left_of(line: np.ndarray, wide: float, high: float) -> np.ndarray:
    """Area of a unit square to the left of a line at a distance from its middle.

    The shadow of the square is a trapezoid, so that the area is piecewise quadratic.
    """
    a, b = abs(wide), abs(high)
    corners = (((a + b) / 2, 1), ((a - b) / 2, -1), ((b - a) / 2, -1), (-(a + b) / 2, 1))
    area = np.zeros_like(line)
    for at, sign in corners:
        area += sign * np.maximum(line + at, 0) ** 2
    return area / (2 * a * b)


@lru_cache(maxsize=1)
def _ramp(length: int) -> Array:
    """The ramp filter, from its band-limited impulse response (Kak and Slaney, eq. 3.61).

    Sampling the ramp itself would shift the mean.
    """
    distance = np.minimum(np.arange(length), length - np.arange(length))
    response = np.zeros(length)
    response[0] = 0.25
    odd = distance % 2 == 1
    response[odd] = -1 / (np.pi * distance[odd]) ** 2
    window = np.cos(np.pi / 2 * np.arange(length // 2 + 1) / (length // 2)) ** 2
    return (fft.rfft(response).real * window).astype(np.float32)

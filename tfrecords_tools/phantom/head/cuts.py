"""Which pixels of a slice an ellipsoid or a rod meets, so that nothing is evaluated elsewhere."""

import math

from tfrecords_tools.phantom.head.affine import Affine, Point
from tfrecords_tools.phantom.head.geometry import Plane
from tfrecords_tools.phantom.head.windows import Span, Window, window_between


def cut_ellipsoid(plane: Plane, center: Point, axes: Point) -> Window | None:
    """The smallest window around the cut through an ellipsoid; None if the plane misses it."""
    height, row, column = plane.coordinates
    slack = plane.slack
    x, y, z = axes[0] + slack, axes[1] + slack, axes[2] + slack
    nx, ny, nz = height.x * x, height.y * y, height.z * z  # the normal where it is a unit sphere
    square = nx * nx + ny * ny + nz * nz
    away = height.at(center)
    if away * away >= square:
        return None

    def span(a: Affine) -> Span:
        u, v, w = a.x * x, a.y * y, a.z * z
        tilted = (u * nx + v * ny + w * nz) / square
        middle = a.at(center) - away * tilted
        rest = u * u + v * v + w * w - tilted * tilted * square
        half = math.sqrt(max(rest * (1 - away * away / square), 0))
        return middle - half, middle + half

    return window_between(span(row), span(column), plane.shape)


def cut_rod(plane: Plane, start: Point, end: Point, radius: float) -> Window | None:
    """A window around the cut through a rod with round ends; None if the plane misses it."""
    height, row, column = plane.coordinates
    radius += plane.slack
    first, last = height.at(start), height.at(end)
    if min(first, last) > radius or max(first, last) < -radius:
        return None
    # Only the part of the rod near the plane counts.
    rise = last - first or 1e-9
    low, high = sorted(((-radius - first) / rise, (radius - first) / rise))
    low, high = max(low, 0.0), min(high, 1.0)

    def span(a: Affine) -> Span:
        begin, stop = a.at(start), a.at(end)
        ends = begin + low * (stop - begin), begin + high * (stop - begin)
        half = radius * a.steepest
        return min(ends) - half, max(ends) + half

    return window_between(span(row), span(column), plane.shape)

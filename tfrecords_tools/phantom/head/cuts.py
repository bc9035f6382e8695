"""Which pixels of a slice an ellipsoid or a rod meets, so that nothing is evaluated elsewhere."""

import math

from tfrecords_tools.phantom.head.geometry import Affine, Plane, Point, Window


def cut_ellipsoid(plane: Plane, center: Point, axes: Point) -> Window | None:
    """The smallest window around the cut through an ellipsoid; None if the plane misses it."""
    x, y, z = (axis + plane.slack for axis in axes)
    height, row, column = (
        Affine(a.x * x, a.y * y, a.z * z, a.at(center)) for a in plane.coordinates
    )  # of a unit sphere
    reach = height.length
    away = -height.offset / reach
    if abs(away) >= 1:
        return None
    radius = math.sqrt(1 - away * away)

    def span(a: Affine) -> tuple[float, float]:
        tilted = (a.x * height.x + a.y * height.y + a.z * height.z) / reach
        half = radius * math.sqrt(max(a.length**2 - tilted**2, 0))
        return a.offset + away * tilted - half, a.offset + away * tilted + half

    return plane.window(span(row), span(column))


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

    def span(a: Affine) -> tuple[float, float]:
        begin, stop = a.at(start), a.at(end)
        ends = begin + low * (stop - begin), begin + high * (stop - begin)
        half = radius * a.length
        return min(ends) - half, max(ends) + half

    return plane.window(span(row), span(column))

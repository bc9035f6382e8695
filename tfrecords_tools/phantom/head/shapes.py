"""Ellipsoids and rods with soft edges, and how they are painted into a slice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Point, Points, Window, as_point


@dataclass(frozen=True)
class Ellipsoid:
    """Half axes along x, y and z; `slope` shears it, in mm of z per mm of y."""

    center: Point
    axes: Point
    slope: float = 0.0

    @cached_property
    def bounds(self) -> tuple[Point, float]:
        """Centre and radius, in mm, of a sphere around it."""
        return self.center, max(self.axes) * (1 + abs(self.slope))

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly the depth below the surface in mm; negative outside."""
        (cx, cy, cz), (ax, ay, az) = self.center, self.axes
        back = y - cy
        u, v, w = (x - cx) / ax, back / ay, (z - cz - self.slope * back) / az
        return (1 - np.sqrt(u * u + v * v + w * w)) * min(self.axes)

    @cached_property
    def mirrored(self) -> "Ellipsoid":
        """The same on the other side of the head."""
        return replace(self, center=(-self.center[0], *self.center[1:]))

    def scaled(self, factor: float) -> "Ellipsoid":
        ax, ay, az = self.axes
        return replace(self, axes=(ax * factor, ay * factor, az * factor))


@dataclass(frozen=True)
class Capsule:
    """A rod with round ends whose radius may change from `start` to `end`."""

    start: Point
    end: Point
    radii: tuple[float, float]

    @cached_property
    def bounds(self) -> tuple[Point, float]:
        """Centre and radius, in mm, of a sphere around it."""
        a, b = np.array(self.start), np.array(self.end)
        return as_point((a + b) / 2), float(np.linalg.norm(b - a)) / 2 + max(self.radii)

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly the depth below the surface in mm; negative outside."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        dx, dy, dz = bx - ax, by - ay, bz - az
        u, v, w = x - ax, y - ay, z - az
        share = np.clip((u * dx + v * dy + w * dz) / (dx * dx + dy * dy + dz * dz), 0, 1)
        u, v, w = u - share * dx, v - share * dy, w - share * dz
        first, last = self.radii
        return first + (last - first) * share - np.sqrt(u * u + v * v + w * w)

    @cached_property
    def mirrored(self) -> "Capsule":
        """The same on the other side of the head."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        return replace(self, start=(-ax, ay, az), end=(-bx, by, bz))

    def scaled(self, factor: float) -> "Capsule":
        return replace(self, radii=(self.radii[0] * factor, self.radii[1] * factor))


Shape = Ellipsoid | Capsule


def both_sides(*shapes: Shape) -> Iterator[Shape]:
    """The shapes and their mirror images."""
    for shape in shapes:
        yield shape
        yield shape.mirrored


def inside(depth: Array, width: Array | float) -> Array:
    """Partial volume: 1 inside, 0 outside, and a ramp `width` mm wide between."""
    return np.clip(depth / width + 0.5, 0, 1)


def soft_mask(
    shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> tuple[Window, Array]:
    """The window of a shape in a slice, and its share 0..1 of each pixel there.

    The texture displaces its surface by `rough` mm, and `grow` mm are added on every side.
    """
    center, reach = shape.bounds
    window = points.window(center, reach + grow + 2.5 * rough + points.pixel)
    depth = shape.depth(*(a[window] for a in points.xyz)) + grow
    if rough:
        depth = depth + rough * points.texture[window]
    return window, inside(depth, points.pixel)


def paint(
    hu: Array,
    value: Array | float,
    shape: Shape,
    points: Points,
    *,
    within: Array | None = None,
    rough: float = 0.0,
    grow: float = 0.0,
) -> None:
    """Mixes a shape into a slice, in place; the mask `within` limits it."""
    window, share = soft_mask(shape, points, rough=rough, grow=grow)
    if within is not None:
        share = share * within[window]
    new = value[window] if isinstance(value, np.ndarray) else np.float32(value)
    hu[window] += (new - hu[window]) * share


def join(
    mask: Array, shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> None:
    """Adds a shape to a soft mask, in place."""
    window, share = soft_mask(shape, points, rough=rough, grow=grow)
    np.maximum(mask[window], share, out=mask[window])


def mix(hu: Array, value: Array | float, share: Array) -> None:
    """Mixes a tissue into a slice, in place."""
    hu += (value - hu) * share

"""Ellipsoids and rods with soft edges, and how they are painted into a slice."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.cuts import cut_ellipsoid, cut_rod
from tfrecords_tools.phantom.head.geometry import Array, Plane, Points
from tfrecords_tools.phantom.head.windows import Window

TAILS = 1.2  # half the base of the triangle that approximates a profile, relative to its width


@dataclass(frozen=True)
class Ellipsoid:
    """Half axes along x, y and z."""

    center: Point
    axes: Point

    def window(self, plane: Plane, margin: float) -> Window | None:
        """The pixels whose `depth` is above `-margin` mm are in it; None if there are none."""
        x, y, z = self.axes
        grown = 1 + margin / min(self.axes)
        return cut_ellipsoid(plane, self.center, (x * grown, y * grown, z * grown))

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly the depth below the surface in mm; negative outside."""
        (cx, cy, cz), (ax, ay, az) = self.center, self.axes
        least = min(self.axes)
        return least - _length(
            (x - cx) * (least / ax), (y - cy) * (least / ay), (z - cz) * (least / az)
        )

    @cached_property
    def mirrored(self) -> "Ellipsoid":
        """The same on the other side of the head."""
        x, y, z = self.center
        return Ellipsoid((-x, y, z), self.axes)

    def scaled(self, factor: float) -> "Ellipsoid":
        x, y, z = self.axes
        return Ellipsoid(self.center, (x * factor, y * factor, z * factor))


@dataclass(frozen=True)
class Capsule:
    """A rod with round ends whose radius may change from `start` to `end`."""

    start: Point
    end: Point
    radii: tuple[float, float]

    def window(self, plane: Plane, margin: float) -> Window | None:
        """The pixels whose `depth` is above `-margin` mm are in it; None if there are none."""
        return cut_rod(plane, self.start, self.end, max(self.radii) + margin)

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly the depth below the surface in mm; negative outside."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        dx, dy, dz = bx - ax, by - ay, bz - az
        square = dx * dx + dy * dy + dz * dz
        u, v, w = x - ax, y - ay, z - az
        share = (u * (dx / square) + v * (dy / square) + w * (dz / square)).clip(0, 1)
        first, last = self.radii
        away = _length(u - share * dx, v - share * dy, w - share * dz)
        return first + (last - first) * share - away

    @cached_property
    def mirrored(self) -> "Capsule":
        """The same on the other side of the head."""
        (ax, ay, az), (bx, by, bz) = self.start, self.end
        return Capsule((-ax, ay, az), (-bx, by, bz), self.radii)

    def scaled(self, factor: float) -> "Capsule":
        first, last = self.radii
        return Capsule(self.start, self.end, (first * factor, last * factor))


Shape = Ellipsoid | Capsule


def both_sides(*shapes: Shape) -> Iterator[Shape]:
    """The shapes and their mirror images."""
    for shape in shapes:
        yield shape
        yield shape.mirrored


def inside(depth: Array, width: Array | float) -> Array:
    """Partial volume: 1 inside, 0 outside, and a ramp `width` mm wide between."""
    share = depth / width
    share += 0.5
    return share.clip(0, 1, out=share)


def inside_profile(depth: Array, width: Array) -> Array:
    """Partial volume as `inside`, but with the bell-shaped sensitivity profile of a real slice.

    Its tails make bone that a slice hardly touches a hazy spot (Hu and Fox 1996, Med Phys 23:1943).
    """
    share = (depth / (TAILS * width)).clip(-1, 1)
    return 0.5 + share - 0.5 * share * np.abs(share)


def sheet(away: Array, half: Array | float, width: Array | float) -> Array:
    """Partial volume of a sheet: its share of the `width` mm around a place.

    Args:
        away: distance from the middle of the sheet, mm, at least 0.
        half: half the thickness of the sheet, mm.
        width: over which a pixel of the layer measures, mm.
    """
    share = ((half + width / 2) - away) / width
    return share.clip(0, np.minimum(2 * half / width, 1), out=share)


def soft_mask(
    shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> tuple[Window, Array] | None:
    """The window of a shape in a slice, and its share 0..1 of each pixel there.

    The texture displaces its surface by `rough` mm, and `grow` mm are added on every side.

    Returns:
        None if the slice misses the shape.
    """
    window = shape.window(points, grow + 2.5 * rough + points.pixel / 2)
    if window is None:
        return None
    depth = shape.depth(*(a[window] for a in points.xyz))
    if grow:
        depth += grow
    if rough:
        depth += rough * points.texture[window]
    return window, inside(depth, points.pixel)


def paint(
    hu: Array,
    value: Array | float,
    shape: Shape,
    points: Points,
    *,
    grain: float = 0.0,
    within: Array | None = None,
    rough: float = 0.0,
    grow: float = 0.0,
) -> None:
    """Mixes a shape into a slice, in place.

    Args:
        hu: of the slice.
        value: HU of the shape.
        shape: see `soft_mask`, also for `rough` and `grow`.
        points: of the slice.
        grain: HU by which the grain of the tissue changes `value`.
        within: a mask that limits the shape.
        rough: mm.
        grow: mm.
    """
    masked = soft_mask(shape, points, rough=rough, grow=grow)
    if masked is None:
        return
    window, share = masked
    if within is not None:
        share *= within[window]
    if isinstance(value, np.ndarray):
        value = value[window]
    mix(hu[window], value + grain * points.grain[window] if grain else value, share)


def join(
    mask: Array, shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> None:
    """Adds a shape to a soft mask, in place."""
    masked = soft_mask(shape, points, rough=rough, grow=grow)
    if masked is not None:
        window, share = masked
        np.maximum(mask[window], share, out=mask[window])


def mix(hu: Array, value: Array | float, share: Array) -> None:
    """Mixes a tissue into a slice, in place."""
    hu += (value - hu) * share


def _length(u: Array, v: Array, w: Array) -> Array:
    """Of vectors, whose components it overwrites."""
    u *= u
    v *= v
    w *= w
    u += v
    u += w
    return np.sqrt(u, out=u)

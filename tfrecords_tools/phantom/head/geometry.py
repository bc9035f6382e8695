"""Where the pixels of a slice lie in the head, and soft-edged shapes evaluated there.

Everything is in millimetres of a head of mean size: x to the patient's left, y to the back, z up,
the origin between the foramina of Monro. Heads of other sizes are scaled to it, so that anatomy
is written down once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

Array = np.ndarray  # float32, shape (rows, columns), unless said otherwise
Point = tuple[float, float, float]  # x, y, z in mm
Window = tuple[slice, slice]  # rows, columns

COARSE = 3.5  # mm; smooth distances evaluated at this step and interpolated err by 0.02 mm


@dataclass(frozen=True)
class Push:
    """How a mass moves the brain about it: a shift that fades over `reach` mm from `center`."""

    center: Point
    shift: Point
    reach: float

    def fading(self, x: Array, y: Array, z: Array) -> Array:
        """1 at the centre, falling as a Gaussian."""
        cx, cy, cz = self.center
        return np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * self.reach**2))


@dataclass(frozen=True, eq=False)
class Points:
    """The pixels of a slice, as an affine map from (row, column), and the random fields there.

    Attributes:
        origin: of the first pixel; float64, shape (3,).
        down: from row to row, mm; likewise.
        along: from column to column.
        shape: rows, columns.
        thickness: of the layer that the pixels stand for, mm.
        folds: zero where a sulcus runs; unit variance, smooth over some 4 mm.
        texture: unit variance, smooth over some 7 mm.
        grain: unit variance, smooth over some 2.5 mm.
        pushes: by which the coordinates are those of tissue that a mass has moved.
    """

    origin: np.ndarray
    down: np.ndarray
    along: np.ndarray
    shape: tuple[int, int]
    thickness: float
    folds: Array
    texture: Array
    grain: Array
    pushes: tuple[Push, ...] = ()

    @cached_property
    def pixel(self) -> float:
        """Edge of a pixel in mm."""
        return float(np.linalg.norm(self.along))

    @cached_property
    def xyz(self) -> tuple[Array, Array, Array]:
        """Coordinates of every pixel."""
        return self._grid(1)

    def smooth(self, function: Callable[[Array, Array, Array], Array]) -> Array:
        """A smooth function of x, y, z, evaluated every few pixels and interpolated."""
        step = max(1, int(COARSE / self.pixel))
        values = function(*self._grid(step)).astype(np.float32, copy=False)
        if step == 1:
            return values
        rows, columns = (n * step for n in values.shape)
        large = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return large[: self.shape[0], : self.shape[1]]

    def edge(self, depth: Array) -> Array:
        """Over how many mm of depth a surface blurs: partial volume of pixel and layer.

        A surface that the layer cuts at a slant, as at the vertex, blurs by its thickness.

        Args:
            depth: mm from the surface, anywhere about as steep as a distance.
        """
        step = max(1, int(COARSE / self.pixel))
        coarse = np.ascontiguousarray(depth[::step, ::step])
        down, along = (np.abs(g) / (step * self.pixel) for g in np.gradient(coarse))
        steep = np.clip(1 - down * down - along * along, 0, 1)
        width = self.pixel * np.maximum(down, along) + self.thickness * np.sqrt(steep)
        width = np.maximum(width, self.pixel / 2).astype(np.float32)
        return cv2.resize(width, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def window(self, center: Point, reach: float) -> Window | None:
        """The pixels within `reach` mm of a point; None if there are none."""
        reach += self._pushed
        x, y, z = center
        nx, ny, nz, height = self._plane
        if abs(nx * x + ny * y + nz * z - height) > reach:
            return None
        toward = np.asarray(center) - self.origin
        row, column = self._inverse @ toward
        pixels = reach / self.pixel * 1.15 + 1  # a head's scaling differs between the axes
        rows = slice(max(int(row - pixels), 0), max(int(row + pixels) + 2, 0))
        columns = slice(max(int(column - pixels), 0), max(int(column + pixels) + 2, 0))
        if rows.start >= self.shape[0] or columns.start >= self.shape[1]:
            return None
        return (rows, columns) if rows.stop and columns.stop else None

    def _grid(self, step: int) -> tuple[Array, Array, Array]:
        rows, columns = (np.arange(-(-n // step)) * step + (step - 1) / 2 for n in self.shape)
        start = self.origin[:, None] + self.down[:, None] * rows  # (3, rows)
        across = self.along[:, None] * columns  # (3, columns)
        x, y, z = ((a[:, None] + b).astype(np.float32) for a, b in zip(start, across, strict=True))
        for push in self.pushes:
            fading = push.fading(x, y, z)
            x, y, z = (a - s * fading for a, s in zip((x, y, z), push.shift, strict=True))
        return x, y, z

    @cached_property
    def _pushed(self) -> float:
        """The farthest that tissue may have moved, mm."""
        return sum(float(np.linalg.norm(push.shift)) for push in self.pushes)

    @cached_property
    def _plane(self) -> tuple[float, float, float, float]:
        """Unit normal of the slice, and how far along it the slice lies, mm."""
        normal = np.cross(self.along, self.down)
        normal = normal / np.linalg.norm(normal)
        x, y, z = (float(v) for v in normal)
        return x, y, z, float(normal @ self.origin)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.pinv(np.stack([self.down, self.along], axis=1))


@dataclass(frozen=True)
class Ellipsoid:
    """Half axes along x, y and z; `slope` shears it, in mm of z a mm of y."""

    center: Point
    axes: Point
    slope: float = 0.0

    @cached_property
    def bounds(self) -> tuple[Point, float]:
        """A sphere about it: centre and radius, mm."""
        return self.center, max(self.axes) * (1 + abs(self.slope))

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly mm inside; negative outside."""
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
    """A rod with round ends that may grow thicker from `start` to `end`."""

    start: Point
    end: Point
    radii: tuple[float, float]

    @cached_property
    def bounds(self) -> tuple[Point, float]:
        """A sphere about it: centre and radius, mm."""
        a, b = np.array(self.start), np.array(self.end)
        x, y, z = (float(v) for v in (a + b) / 2)
        return (x, y, z), float(np.linalg.norm(b - a)) / 2 + max(self.radii)

    def depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly mm inside; negative outside."""
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
        return replace(
            self, start=(-self.start[0], *self.start[1:]), end=(-self.end[0], *self.end[1:])
        )

    def scaled(self, factor: float) -> "Capsule":
        return replace(self, radii=(self.radii[0] * factor, self.radii[1] * factor))


Shape = Ellipsoid | Capsule


def both_sides(*shapes: Shape) -> Iterator[Shape]:
    """The shapes and their mirror images."""
    for shape in shapes:
        yield shape
        yield shape.mirrored


def inside(depth: Array, width: Array | float) -> Array:
    """1 inside, 0 outside, a ramp of `width` mm between: partial volume."""
    return np.clip(depth / width + 0.5, 0, 1)


def soft_mask(
    shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> tuple[Window, Array] | None:
    """Where a shape lies in a slice: its window and the share 0..1 of each pixel there.

    Args:
        shape: to be found.
        points: the slice.
        rough: mm by which the texture moves the surface.
        grow: mm added all around.
    """
    center, reach = shape.bounds
    window = points.window(center, reach + grow + 2.5 * rough + points.pixel)
    if window is None:
        return None
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
    """Mixes a shape into a slice, in place; `within` limits it to a mask."""
    found = soft_mask(shape, points, rough=rough, grow=grow)
    if found is None:
        return
    window, share = found
    if within is not None:
        share = share * within[window]
    new = value[window] if isinstance(value, np.ndarray) else np.float32(value)
    hu[window] += (new - hu[window]) * share


def join(
    mask: Array, shape: Shape, points: Points, *, rough: float = 0.0, grow: float = 0.0
) -> None:
    """Adds a shape to a soft mask, in place."""
    found = soft_mask(shape, points, rough=rough, grow=grow)
    if found is not None:
        window, share = found
        np.maximum(mask[window], share, out=mask[window])


def mix(hu: Array, value: Array | float, share: Array) -> None:
    """Mixes a tissue into a slice, in place."""
    hu += (value - hu) * share

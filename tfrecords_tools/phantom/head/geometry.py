"""Where the pixels of a slice lie in the head, and the random fields there.

Everything is in millimetres of a head of mean size: x to the patient's left, y to the back, z up,
the origin between the foramina of Monro. Heads of other sizes are scaled to it, so that anatomy
is written down once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

Array = np.ndarray  # float32, shape (rows, columns), unless stated otherwise
Point = tuple[float, float, float]  # x, y, z in mm
Window = tuple[slice, slice]  # rows, columns

COARSE = 3.5  # mm; smooth distances evaluated at this step and interpolated err by 0.02 mm


@dataclass(frozen=True)
class Push:
    """A shift of the brain around a mass, which fades over `reach` mm from `center`."""

    center: Point
    shift: Point
    reach: float

    def falloff(self, x: Array, y: Array, z: Array) -> Array:
        """1 at the centre, falling as a Gaussian."""
        cx, cy, cz = self.center
        return np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * self.reach**2))


@dataclass(frozen=True, eq=False)
class Plane:
    """The pixel grid of one layer of a slice, placed in the head by an affine map.

    Attributes:
        origin: centre of the first pixel; float64, shape (3,).
        down: step from row to row, mm; likewise.
        along: step from column to column, mm; likewise.
        shape: rows, columns.
        thickness: of the layer, mm.
        pushes: displace the coordinates to those of the tissue that a mass has moved here.
    """

    origin: np.ndarray
    down: np.ndarray
    along: np.ndarray
    shape: tuple[int, int]
    thickness: float
    pushes: tuple[Push, ...] = field(default=(), kw_only=True)

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
        """Width over which a surface blurs, in mm of depth: partial volume of pixel and layer.

        A surface that is oblique to the layer, as at the vertex, blurs by its thickness. `depth`
        is in mm, with a gradient of about 1 everywhere, as a distance has.
        """
        step = max(1, int(COARSE / self.pixel))
        coarse = np.ascontiguousarray(depth[::step, ::step])
        down, along = (np.abs(g) / (step * self.pixel) for g in np.gradient(coarse))
        steep = np.clip(1 - down * down - along * along, 0, 1)
        width = self.pixel * np.maximum(down, along) + self.thickness * np.sqrt(steep)
        width = np.maximum(width, self.pixel / 2).astype(np.float32)
        return cv2.resize(width, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def window(self, center: Point, reach: float) -> Window:
        """The pixels within `reach` mm of a point; empty if there are none."""
        reach += self._largest_shift
        x, y, z = center
        nx, ny, nz, height = self._normal_and_height
        if abs(nx * x + ny * y + nz * z - height) > reach:
            return slice(0), slice(0)
        row, column = self._inverse @ (np.asarray(center) - self.origin)
        pixels = reach / self.pixel * 1.15 + 1  # a head's scaling differs between the axes
        rows = slice(max(int(row - pixels), 0), max(int(row + pixels) + 2, 0))
        columns = slice(max(int(column - pixels), 0), max(int(column + pixels) + 2, 0))
        return rows, columns

    def _grid(self, step: int) -> tuple[Array, Array, Array]:
        rows, columns = (np.arange(-(-n // step)) * step + (step - 1) / 2 for n in self.shape)
        start = self.origin[:, None] + self.down[:, None] * rows  # (3, rows)
        across = self.along[:, None] * columns  # (3, columns)
        x, y, z = ((a[:, None] + b).astype(np.float32) for a, b in zip(start, across, strict=True))
        for push in self.pushes:
            falloff = push.falloff(x, y, z)
            x, y, z = (a - s * falloff for a, s in zip((x, y, z), push.shift, strict=True))
        return x, y, z

    @cached_property
    def _largest_shift(self) -> float:
        """Upper bound of how far tissue was displaced, mm."""
        return sum(float(np.linalg.norm(push.shift)) for push in self.pushes)

    @cached_property
    def _normal_and_height(self) -> tuple[float, float, float, float]:
        """Unit normal of the plane, and its distance along it from the origin of the head, mm."""
        normal = np.cross(self.along, self.down)
        normal = normal / np.linalg.norm(normal)
        return *as_point(normal), float(normal @ self.origin)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.pinv(np.stack([self.down, self.along], axis=1))


@dataclass(frozen=True, eq=False)
class Points(Plane):
    """The pixels of a layer, and the random fields there, each of unit variance.

    Attributes:
        folds: 0 along each sulcus; smooth over some 4 mm.
        texture: smooth over some 7 mm.
        grain: smooth over some 2.5 mm.
    """

    folds: Array
    texture: Array
    grain: Array


def as_point(xyz: np.ndarray) -> Point:
    """An array of three numbers as Python floats, which leave float32 arrays as they are."""
    x, y, z = (float(v) for v in xyz)
    return x, y, z


def direction(azimuth: float, elevation: float) -> np.ndarray:
    """A unit vector; azimuth from the front to the patient's left, elevation upwards, degrees."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])

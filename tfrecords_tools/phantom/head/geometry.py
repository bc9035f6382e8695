"""Where the pixels of a slice lie in the head, and the random fields there.

Everything is in millimetres of a head of mean size: x to the patient's left, y to the back, z up,
the origin between the foramina of Monro. Heads of other sizes are scaled to it, so that anatomy
is written down once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import cv2
import numpy as np

from tfrecords_tools.phantom.head.affine import Affine, Point, cross, per_step, unit
from tfrecords_tools.phantom.head.windows import Window, bounding_window

Array = np.ndarray  # float32, shape (rows, columns), unless stated otherwise

COARSE = 3.5  # mm; smooth distances evaluated at this step and interpolated err by 0.02 mm
RELIEF = 14.0  # mm; more than the ridges of the skull base rise above their flanks


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
        return self.every(1)

    @cached_property
    def step(self) -> int:
        """Pixels between the places at which smooth functions are evaluated."""
        return max(1, int(COARSE / self.pixel))

    @cached_property
    def _coarse_xyz(self) -> tuple[Array, Array, Array]:
        return self.every(self.step)

    def smooth(self, function: Callable[[Array, Array, Array], Array]) -> Array:
        """A smooth function of x, y, z, evaluated every few pixels and interpolated."""
        return self._interpolated(function(*self._coarse_xyz))

    def _interpolated(self, coarse: Array) -> Array:
        values = coarse.astype(np.float32, copy=False)
        if self.step == 1:
            return values
        rows, columns = (n * self.step for n in values.shape)
        large = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return large[: self.shape[0], : self.shape[1]]

    def around(self, function: Callable[[Array, Array, Array], Array]) -> Window:
        """A window around the pixels at which a smooth function of x, y, z is positive."""
        rows, columns = (
            slice(max((span.start - 1) * self.step, 0), min((span.stop + 1) * self.step, n))
            for span, n in zip(
                bounding_window(function(*self._coarse_xyz) > 0), self.shape, strict=True
            )
        )
        return rows, columns

    def crop(self, window: Window) -> Self:
        """The part of the grid in a window."""
        rows, columns = window
        return replace(
            self,
            origin=self.origin + rows.start * self.down + columns.start * self.along,
            shape=(rows.stop - rows.start, columns.stop - columns.start),
        )

    def edge(self, depth: Array) -> Array:
        """Width over which a surface blurs, in mm of depth: partial volume of pixel and layer.

        A surface that is oblique to the layer, as at the vertex, blurs by its thickness. `depth`
        is in mm, with a gradient of about 1 everywhere, as a distance has.
        """
        coarse = np.ascontiguousarray(depth[:: self.step, :: self.step])
        down, along = (np.abs(slope) for slope in self._slopes(coarse))
        steep = np.clip(1 - down * down - along * along, 0, 1)
        width = self.pixel * np.maximum(down, along) + self.thickness * np.sqrt(steep)
        width = np.maximum(width, self.pixel / 2).astype(np.float32)
        return cv2.resize(width, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def above(self, height: Callable[[Array, Array], Array]) -> tuple[Array, Array]:
        """Distance above a surface, and the width over which it blurs in a layer at a slant, mm.

        Args:
            height: z of the surface at x and y; smooth, with ridges at most RELIEF mm high.
        """
        x, y, z = self._coarse_xyz
        above = z - height(x, y)
        down, along = self._slopes(above)
        square = down * down + along * along
        steep = np.sqrt(1 + square)
        width = (self.thickness + self.pixel * np.sqrt(square)) / steep
        # The slope tells the distance only nearby: high above a flank, the ridge is near.
        distance = np.maximum(above / steep, above - RELIEF)
        return self._interpolated(distance), self._interpolated(width)

    def _slopes(self, coarse: Array) -> tuple[Array, Array]:
        """Change of a coarse function per mm, from row to row and from column to column."""
        down, along = np.gradient(coarse, self.step * self.pixel)
        return down, along

    def every(self, step: int) -> tuple[Array, Array, Array]:
        """Coordinates of the middles of blocks of `step` x `step` pixels, as `resize` has it."""
        rows, columns = (np.arange(-(-n // step)) * step + (step - 1) / 2 for n in self.shape)
        start = (self.origin[:, None] + self.down[:, None] * rows).astype(np.float32)
        across = (self.along[:, None] * columns).astype(np.float32)
        x, y, z = (np.add.outer(a, b) for a, b in zip(start, across, strict=True))
        for push in self.pushes:
            falloff = push.falloff(x, y, z)
            x, y, z = (a - s * falloff for a, s in zip((x, y, z), push.shift, strict=True))
        return x, y, z

    @cached_property
    def slack(self) -> float:
        """Upper bound of how far tissue was displaced, mm."""
        return sum(math.hypot(*push.shift) for push in self.pushes)

    @cached_property
    def coordinates(self) -> tuple[Affine, Affine, Affine]:
        """Height above the plane in mm, row, and column of a point in the head."""
        down, along, origin = as_point(self.down), as_point(self.along), as_point(self.origin)
        normal = cross(along, down)
        return (
            per_step(normal, unit(normal), origin),
            per_step(cross(along, normal), down, origin),
            per_step(cross(normal, down), along, origin),
        )


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

    def crop(self, window: Window) -> Self:
        fields = {name: getattr(self, name)[window] for name in ("folds", "texture", "grain")}
        return replace(super().crop(window), **fields)


def as_point(xyz: np.ndarray) -> Point:
    """An array of three numbers as Python floats, which leave float32 arrays as they are."""
    x, y, z = (float(v) for v in xyz)
    return x, y, z


def direction(azimuth: float, elevation: float) -> np.ndarray:
    """A unit vector; azimuth from the front to the patient's left, elevation upwards, degrees."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])

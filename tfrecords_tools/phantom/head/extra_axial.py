"""Blood and fluid between skull and brain: epidural and subdural hemorrhages, hygromas."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array, Points, Push
from tfrecords_tools.phantom.head.lesions import Lesion, distance, inward, window_around
from tfrecords_tools.phantom.head.shapes import inside
from tfrecords_tools.phantom.head.windows import Window


@dataclass(frozen=True)
class Epidural(Lesion):
    """Between bone and dura: a lens, bounded by the sutures, with a smooth inner edge."""

    subtype: ClassVar[str | None] = "epidural"
    center: Point
    extent: float
    thickness: float

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, self.extent, points)
        if window is None:
            return None
        reach = distance(self.center, points, window) / self.extent
        thickness = self.thickness * np.clip(1 - reach * reach, 0, 1)
        return window, _layer(thickness, tissue.depth[window], tissue.edge[window])

    def push(self) -> Push | None:
        return inward(self.center, 0.35 * self.thickness)


@dataclass(frozen=True)
class Subdural(Lesion):
    """Between dura and brain: a crescent, above or below the tentorium."""

    subtype: ClassVar[str | None] = "subdural"
    center: Point
    extent: float
    thickness: float
    below: bool = False

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, self.extent, points)
        if window is None:
            return None
        reach = distance(self.center, points, window) / self.extent
        shape = np.sqrt(np.clip(1 - np.square(reach * reach), 0, 1))
        uneven = min(0.7, 0.15 * self.thickness) * points.texture[window]
        crescent = _layer(
            shape * self.thickness + uneven, tissue.table[window], tissue.edge[window]
        )
        below = tissue.brain.dura.below[window]
        if self.below:
            return window, crescent * below * _fade(reach)
        side = np.sign(self.center[0]) * tissue.brain.dura.falx[window]
        return window, crescent * inside(side - 2, points.pixel) * (1 - below) * _fade(reach)

    def push(self) -> Push | None:
        return inward(self.center, 0.6 * self.thickness)


@dataclass(frozen=True)
class Hygroma(Subdural):
    """CSF in the subdural space, after a blow or an operation, or since the brain has shrunk."""

    subtype: ClassVar[str | None] = None


@dataclass(frozen=True)
class FalxSubdural(Lesion):
    """A sheet along one side of the falx."""

    subtype: ClassVar[str | None] = "subdural"
    center: Point
    extent: float
    thickness: float

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, self.extent, points)
        if window is None:
            return None
        dura = tissue.brain.dura
        side = np.sign(self.center[0]) * dura.falx[window]
        reach = distance(self.center, points, window) / self.extent
        thickness = self.thickness * (1 - 0.5 * reach) + 0.5 * points.texture[window]
        sheet = inside(thickness - side, points.pixel) * inside(side, points.pixel)
        return window, sheet * dura.falx_reach[window] * _fade(reach)


@dataclass(frozen=True)
class TentorialSubdural(Lesion):
    """A sheet on one half of the tentorium, which the slices cut at a slant."""

    subtype: ClassVar[str | None] = "subdural"
    center: Point
    extent: float
    thickness: float

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, self.extent, points)
        if window is None:
            return None
        above = tissue.brain.dura.tentorium[window]
        reach = distance(self.center, points, window) / self.extent
        blur = points.thickness + 0.3 * points.pixel
        sheet = _layer(self.thickness * (1 - 0.5 * reach), above, blur) * inside(above, blur)
        side = np.sign(self.center[0]) * points.xyz[0][window]
        return window, sheet * inside(side - 5, 4.0) * _fade(reach)


def _layer(thickness: Array, depth: Array, edge: Array | float) -> Array:
    """The share of a layer that begins at depth 0; one thinner than the blur fills a part of it."""
    return inside(thickness - depth, edge) * np.clip(2 * thickness / edge, 0, 1)


def _fade(reach: Array) -> Array:
    return np.clip((1 - reach) * 10, 0, 1)

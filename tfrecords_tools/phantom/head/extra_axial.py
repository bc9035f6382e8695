"""Blood and fluid between skull and brain: epidural and subdural hemorrhages, hygromas."""

from abc import abstractmethod
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
class ExtraAxial(Lesion):
    """Blood or fluid around a point on the dura; lengths in mm.

    Attributes:
        center: its middle.
        extent: its radius along the dura.
        thickness: at its middle.
    """

    center: Point
    extent: float
    thickness: float

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, self.extent, points)
        if window is None:
            return None
        reach = distance(self.center, points, window) / self.extent
        return window, self._share(points, tissue, window, reach)

    @abstractmethod
    def _share(self, points: Points, tissue: Tissue, window: Window, reach: Array) -> Array:
        """Its share of each pixel of a window, 0..1; `reach` is 0 in its middle, 1 at its rim."""


@dataclass(frozen=True)
class Epidural(ExtraAxial):
    """Between bone and dura: a lens, bounded by the sutures, with a smooth inner edge."""

    subtype: ClassVar[str | None] = "epidural"

    def _share(self, points: Points, tissue: Tissue, window: Window, reach: Array) -> Array:
        thickness = self.thickness * np.clip(1 - reach * reach, 0, 1)
        return _layer(thickness, tissue.depth[window], tissue.edge[window])

    def push(self) -> Push | None:
        return inward(self.center, 0.35 * self.thickness)


@dataclass(frozen=True)
class Subdural(ExtraAxial):
    """Between dura and brain: a crescent, above or below the tentorium."""

    subtype: ClassVar[str | None] = "subdural"
    below: bool = False

    def _share(self, points: Points, tissue: Tissue, window: Window, reach: Array) -> Array:
        shape = np.sqrt(np.clip(1 - np.square(reach * reach), 0, 1))
        uneven = min(0.7, 0.15 * self.thickness) * points.texture[window]
        crescent = _layer(
            shape * self.thickness + uneven, tissue.table[window], tissue.edge[window]
        )
        below = tissue.brain.dura.below[window]
        if self.below:
            return crescent * below * _fade(reach)
        side = np.sign(self.center[0]) * tissue.brain.dura.falx[window]
        return crescent * inside(side - 2, points.pixel) * (1 - below) * _fade(reach)

    def push(self) -> Push | None:
        return inward(self.center, 0.6 * self.thickness)


@dataclass(frozen=True)
class Hygroma(Subdural):
    """CSF in the subdural space, after a blow or an operation, or since the brain has shrunk."""

    subtype: ClassVar[str | None] = None


@dataclass(frozen=True)
class FalxSubdural(ExtraAxial):
    """A sheet along one side of the falx."""

    subtype: ClassVar[str | None] = "subdural"

    def _share(self, points: Points, tissue: Tissue, window: Window, reach: Array) -> Array:
        dura = tissue.brain.dura
        side = np.sign(self.center[0]) * dura.falx[window]
        thickness = self.thickness * (1 - 0.5 * reach) + 0.5 * points.texture[window]
        sheet = inside(thickness - side, points.pixel) * inside(side, points.pixel)
        return sheet * dura.falx_reach[window] * _fade(reach)


@dataclass(frozen=True)
class TentorialSubdural(ExtraAxial):
    """A sheet on one half of the tentorium, which the slices cut at a slant."""

    subtype: ClassVar[str | None] = "subdural"

    def _share(self, points: Points, tissue: Tissue, window: Window, reach: Array) -> Array:
        above = tissue.brain.dura.tentorium[window]
        blur = points.thickness + 0.3 * points.pixel
        sheet = _layer(self.thickness * (1 - 0.5 * reach), above, blur) * inside(above, blur)
        side = np.sign(self.center[0]) * points.xyz[0][window]
        return sheet * inside(side - 5, 4.0) * _fade(reach)


def _layer(thickness: Array, depth: Array, edge: Array | float) -> Array:
    """The share of a layer that begins at depth 0; one thinner than the blur fills a part of it."""
    return inside(thickness - depth, edge) * np.clip(2 * thickness / edge, 0, 1)


def _fade(reach: Array) -> Array:
    return np.clip((1 - reach) * 10, 0, 1)

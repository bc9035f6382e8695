"""Blood in the brain, its ventricles and its sulci."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array, Points, Push
from tfrecords_tools.phantom.head.lesions import Lesion, distance, inward, window_around
from tfrecords_tools.phantom.head.shapes import Ellipsoid, inside, soft_mask
from tfrecords_tools.phantom.head.windows import Window, union


@dataclass(frozen=True)
class Subarachnoid(Lesion):
    """In sulci, fissures and cisterns around a point; blood makes them look slightly wider."""

    subtype: ClassVar[str | None] = "subarachnoid"
    center: Point
    extent: float

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window = window_around(self.center, 1.3 * self.extent, points)
        if window is None:
            return None
        brain = tissue.brain
        edge = self.extent - distance(self.center, points, window)
        edge += 0.12 * self.extent * points.texture[window]
        ball = inside(edge, 4.0)  # blood gets thinner toward the edge
        return window, np.maximum(brain.near_sulci[window], brain.sulci[window]) * ball


@dataclass(frozen=True)
class Intraparenchymal(Lesion):
    """Clots in the brain, and the oedema around them, which grows over days.

    Attributes:
        lobes: that form one clot, or several small ones; the largest first.
        rough: mm by which their surface is irregular, as a share of their radius.
        swollen: the oedema.
    """

    subtype: ClassVar[str | None] = "intraparenchymal"
    lobes: tuple[Ellipsoid, ...]
    rough: float
    swollen: Ellipsoid | None

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        cuts = [soft_mask(x, points, rough=self.rough * max(x.axes)) for x in self.lobes]
        found = [cut for cut in cuts if cut is not None]
        if not found:
            return None
        window = union(part for part, _ in found)
        mask = np.zeros(points.shape, np.float32)
        for part, share in found:
            np.maximum(mask[part], share, out=mask[part])
        return window, mask[window] * inside(tissue.depth[window] - 1, points.pixel)

    def push(self) -> Push | None:
        return inward(self.lobes[0].center, 0.22 * max(self.lobes[0].axes))

    def oedema(self) -> Ellipsoid | None:
        return self.swollen


@dataclass(frozen=True)
class Intraventricular(Lesion):
    """Blood in the ventricles; in a supine patient it sinks to the occipital horns.

    Attributes:
        level: y in mm behind which the ventricles hold blood; all of them if it lies in front of
            the frontal horns (a cast).
        sides: whether the left and the right ventricle hold blood.
        clot: a ball beyond which there is none; its center and radius in mm.
    """

    subtype: ClassVar[str | None] = "intraventricular"
    level: float
    sides: tuple[bool, bool]
    clot: tuple[Point, float] | None = None

    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        window: Window | None = (slice(None), slice(None))
        if self.clot is not None:
            window = window_around(*self.clot, points)
        if window is None:
            return None
        x, y = points.xyz[0][window], points.xyz[1][window]
        left, right = self.sides
        layer = inside(y - self.level, points.pixel) * ((left | (x < 0)) & (right | (x > 0)))
        if self.clot is not None:
            center, radius = self.clot
            away = distance(center, points, window) - 0.15 * radius * points.texture[window]
            layer *= inside(radius - away, points.pixel)
        return window, tissue.brain.ventricles[window] * layer

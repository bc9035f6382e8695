"""The five hemorrhages: location, density, and how each displaces the brain.

To add one, write its class here, and its sampler in `lesion_sampling.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array, Points, Push, as_point
from tfrecords_tools.phantom.head.shapes import Ellipsoid, inside, join, mix, soft_mask

MEMBRANE = 0.25  # of the texture's range on either side of zero: sheets about 3 mm thick
VISIBLE = 0.9  # share of a pixel inside the skull from which its blood is told from bone


@dataclass(frozen=True)
class Blood:
    """The density of a hemorrhage.

    Attributes:
        hu: 50 to 90 when fresh, falling by about 1.5 per day to that of CSF.
        swirl: HU by which unclotted parts are darker.
        level: y in mm behind which blood has sunk; in front of it, HU are `swirl` lower. None
            without such a level.
        membranes: HU by which the sheets that divide an old hemorrhage are denser.
    """

    hu: float
    swirl: float = 0.0
    level: float | None = None
    membranes: float = 0.0

    def density(self, points: Points) -> Array:
        """HU of the blood at the pixels of a slice."""
        hu = self.hu + 2.5 * points.texture
        if self.membranes:
            hu += self.membranes * np.clip(1 - np.abs(points.texture) / MEMBRANE, 0, 1)
        if self.level is not None:
            return hu - self.swirl * inside(self.level - points.xyz[1], 4.0)
        return hu - self.swirl * np.clip(points.texture - 0.3, 0, 1) if self.swirl else hu


@dataclass(frozen=True)
class Lesion(ABC):
    """One hemorrhage."""

    subtype: ClassVar[str]
    blood: Blood

    @abstractmethod
    def mask(self, points: Points, tissue: Tissue) -> Array:
        """Its share of each pixel of a slice, 0..1."""

    def push(self) -> Push | None:
        """How it displaces the brain."""
        return None

    def oedema(self) -> Ellipsoid | None:
        """The dark rim around it."""
        return None


@dataclass(frozen=True)
class Epidural(Lesion):
    """Between bone and dura: a lens, bounded by the sutures, with a smooth inner edge."""

    subtype: ClassVar[str] = "epidural"
    center: Point
    extent: float
    thickness: float

    def mask(self, points: Points, tissue: Tissue) -> Array:
        reach = _distance(self.center, points) / self.extent
        thickness = self.thickness * np.clip(1 - reach * reach, 0, 1)
        return inside(thickness - tissue.table, tissue.edge) * tissue.inside * (reach < 1)

    def push(self) -> Push | None:
        return _inward(self.center, 0.35 * self.thickness)


@dataclass(frozen=True)
class Subdural(Lesion):
    """Between dura and brain: a crescent over a hemisphere, or a sheet along the falx."""

    subtype: ClassVar[str] = "subdural"
    center: Point
    extent: float
    thickness: float
    along_falx: bool

    def mask(self, points: Points, tissue: Tissue) -> Array:
        reach = _distance(self.center, points) / self.extent
        thickness = (
            self.thickness * np.sqrt(np.clip(1 - np.square(reach * reach), 0, 1))
            + 0.7 * points.texture
        )
        side = np.sign(self.center[0]) * tissue.brain.dura.falx
        if self.along_falx:
            sheet = inside(thickness - side, points.pixel) * inside(side, points.pixel)
            return sheet * tissue.brain.dura.falx_reach * tissue.inside * _fade(reach)
        crescent = inside(thickness - tissue.table, tissue.edge) * inside(side - 2, points.pixel)
        above = 1 - tissue.brain.dura.below
        return crescent * above * tissue.inside * _fade(reach)

    def push(self) -> Push | None:
        return None if self.along_falx else _inward(self.center, 0.6 * self.thickness)


@dataclass(frozen=True)
class Subarachnoid(Lesion):
    """In sulci, fissures and cisterns around a point; blood makes them look slightly wider."""

    subtype: ClassVar[str] = "subarachnoid"
    center: Point
    extent: float

    def mask(self, points: Points, tissue: Tissue) -> Array:
        ball = _ball(self.center, self.extent, points)
        return np.maximum(tissue.brain.near_sulci, tissue.brain.sulci) * ball * tissue.inside


@dataclass(frozen=True)
class Intraparenchymal(Lesion):
    """A lobed clot in the brain, with a rim of oedema that grows over days."""

    subtype: ClassVar[str] = "intraparenchymal"
    lobes: tuple[Ellipsoid, ...]
    rim: float

    def mask(self, points: Points, tissue: Tissue) -> Array:
        mask = np.zeros(points.shape, np.float32)
        for lobe in self.lobes:
            join(mask, lobe, points, rough=0.13 * max(lobe.axes))
        return mask * inside(tissue.depth - 1.5, points.pixel)

    def push(self) -> Push | None:
        return _inward(self.lobes[0].center, 0.22 * max(self.lobes[0].axes))

    def oedema(self) -> Ellipsoid | None:
        ax, ay, az = self.lobes[0].axes
        axes = (ax + self.rim, ay + self.rim, az + self.rim)
        return Ellipsoid(self.lobes[0].center, axes)


@dataclass(frozen=True)
class Intraventricular(Lesion):
    """Blood in the ventricles; in a supine patient it sinks to the occipital horns.

    Attributes:
        level: y in mm behind which the ventricles hold blood; all of them if it lies in front of
            the frontal horns (a cast).
        sides: whether the left and the right ventricle hold blood.
    """

    subtype: ClassVar[str] = "intraventricular"
    level: float
    sides: tuple[bool, bool]

    def mask(self, points: Points, tissue: Tissue) -> Array:
        x, y, _ = points.xyz
        left, right = self.sides
        allowed = (left | (x < 0)) & (right | (x > 0))
        layer = inside(y - self.level, points.pixel) * allowed
        return tissue.brain.ventricles * layer * tissue.inside


def pushes(lesions: Sequence[Lesion]) -> tuple[Push, ...]:
    """How all hemorrhages of a patient displace the brain."""
    return tuple(push for lesion in lesions if (push := lesion.push()) is not None)


def paint_lesions(
    lesions: Sequence[Lesion], points: Points, tissue: Tissue
) -> tuple[Array, dict[str, Array]]:
    """Paints the hemorrhages into a slice.

    Returns:
        HU with them, and a soft mask 0..1 by subtype, 0 where bone in the same pixel hides the
        blood.
    """
    hu, masks = tissue.hu.copy(), {}
    for lesion in lesions:
        rim = lesion.oedema()
        if rim is not None:
            _paint_oedema(rim, hu, points, tissue)
    for lesion in lesions:
        mask = lesion.mask(points, tissue)
        mix(hu, lesion.blood.density(points), mask)
        masks[lesion.subtype] = mask * (tissue.inside > VISIBLE)
    return hu, masks


def _paint_oedema(rim: Ellipsoid, hu: Array, points: Points, tissue: Tissue) -> None:
    """Darkens the brain, but not the CSF, in place."""
    masked = soft_mask(rim, points, rough=2.5)
    if masked is not None:
        window, share = masked
        csf = np.maximum(tissue.brain.ventricles[window], tissue.brain.sulci[window])
        hu[window] -= 10 * share * (1 - csf) * tissue.inside[window]


def _inward(center: Point, amount: float) -> Push:
    """A push toward the midline and slightly toward the middle of the head."""
    away = np.array([center[0], 0.3 * center[1], 0.0])
    shift = -amount * away / max(float(np.linalg.norm(away)), 1.0)
    return Push(center, as_point(shift), 42.0)


def _distance(center: Point, points: Points) -> Array:
    x, y, z = center
    px, py, pz = points.xyz
    return np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2)


def _ball(center: Point, radius: float, points: Points) -> Array:
    edge = radius - _distance(center, points) + 0.12 * radius * points.texture
    return inside(edge, 4.0)  # blood gets thinner toward the edge


def _fade(reach: Array) -> Array:
    return np.clip((1 - reach) * 20, 0, 1)

"""Hemorrhages: their density, how they displace the brain, and how they are painted.

To add one, write its class in `extra_axial.py` or `intra_axial.py`, and its sampler in
`lesion_sampling.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array, Points, Push, as_point
from tfrecords_tools.phantom.head.shapes import Ellipsoid, inside, mix, soft_mask
from tfrecords_tools.phantom.head.windows import Window

MEMBRANE = 0.25  # of the texture's range on either side of zero: sheets about 3 mm thick
VISIBLE = 0.95  # share of a pixel inside the skull from which its blood is told from bone
SLIGHT = 0.8  # mm; smaller shifts of the brain are left out
WIDEST = 42.0  # mm over which a shift fades


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

    def density(self, points: Points, window: Window) -> Array:
        """HU of the blood at the pixels of a window."""
        texture = points.texture[window]
        hu = self.hu + 2.5 * texture + 3 * points.grain[window]
        if self.membranes:
            hu += self.membranes * np.clip(1 - np.abs(texture) / MEMBRANE, 0, 1)
        if self.level is not None:
            return hu - self.swirl * inside(self.level - points.xyz[1][window], 4.0)
        return hu - self.swirl * np.clip(texture - 0.3, 0, 1) if self.swirl else hu


@dataclass(frozen=True)
class Lesion(ABC):
    """One hemorrhage.

    Attributes:
        subtype: its label; None for a collection that is no hemorrhage.
        blood: its density.
    """

    subtype: ClassVar[str | None]
    blood: Blood

    @abstractmethod
    def mask(self, points: Points, tissue: Tissue) -> tuple[Window, Array] | None:
        """A window, and its share 0..1 of what is inside the dura; None if it is elsewhere."""

    def push(self) -> Push | None:
        """How it displaces the brain."""
        return None

    def oedema(self) -> Ellipsoid | None:
        """The dark tissue around it."""
        return None


def fresh(rng: np.random.Generator, *, mixed: float = 0.0) -> Blood:
    """Acute blood; with probability `mixed` the bleeding goes on, with unclotted parts."""
    swirl = rng.uniform(8, 26) if rng.random() < mixed else 0.0
    return Blood(rng.uniform(52, 84), swirl)


def pushes(lesions: Sequence[Lesion]) -> tuple[Push, ...]:
    """How all hemorrhages of a patient displace the brain."""
    return tuple(push for lesion in lesions if (push := lesion.push()) is not None)


def paint_lesions(
    lesions: Sequence[Lesion], points: Points, tissue: Tissue
) -> tuple[Array, dict[str, Array]]:
    """Paints the hemorrhages into a slice, each over those before it.

    Returns:
        HU with them, and a soft mask 0..1 by subtype, 0 where bone in the same pixel hides the
        blood.
    """
    content = tissue.brain.hu.copy()
    masks: dict[str | None, Array] = {}
    for lesion in lesions:
        rim = lesion.oedema()
        if rim is not None:
            _paint_oedema(rim, content, points, tissue)
    for lesion in lesions:
        masks.setdefault(lesion.subtype, np.zeros(points.shape, np.float32))
        masked = lesion.mask(points, tissue)
        if masked is not None:
            window, share = masked
            mix(content[window], lesion.blood.density(points, window), share)
            _cover(masks, lesion.subtype, window, share)
    seen = tissue.inside * (tissue.inside > VISIBLE)
    # Bone that shares a pixel with blood keeps its share.
    hu = tissue.hu + tissue.inside * (content - tissue.brain.hu)
    return hu, {subtype: mask * seen for subtype, mask in masks.items() if subtype is not None}


def _cover(
    masks: dict[str | None, Array], subtype: str | None, window: Window, share: Array
) -> None:
    """Adds a hemorrhage to its mask, and takes its place from those painted before; in place."""
    for other, mask in masks.items():
        if other == subtype:
            np.maximum(mask[window], share, out=mask[window])
        else:
            mask[window] *= 1 - share


def _paint_oedema(rim: Ellipsoid, hu: Array, points: Points, tissue: Tissue) -> None:
    """Darkens the brain, most of all the white matter, but not the CSF; in place."""
    masked = soft_mask(rim, points, rough=2.5)
    if masked is not None:
        window, share = masked
        csf = np.maximum(tissue.brain.ventricles[window], tissue.brain.sulci[window])
        hu[window] -= share * (1 - csf) * (12 - 6 * tissue.brain.grey[window])


def inward(center: Point, amount: float) -> Push | None:
    """A push toward the midline and slightly toward the middle of the head."""
    if amount < SLIGHT:
        return None
    away = np.array([center[0], 0.3 * center[1], 0.0])
    shift = -amount * away / max(float(np.linalg.norm(away)), 1.0)
    return Push(center, as_point(shift), min(WIDEST, 12 + 8 * amount))


def window_around(center: Point, radius: float, points: Points) -> Window | None:
    """The pixels within `radius` mm of a point."""
    return Ellipsoid(center, (radius,) * 3).window(points, points.pixel)


def distance(center: Point, points: Points, window: Window) -> Array:
    """From a point, mm."""
    x, y, z = (a[window] - c for a, c in zip(points.xyz, center, strict=True))
    return np.sqrt(x * x + y * y + z * z)

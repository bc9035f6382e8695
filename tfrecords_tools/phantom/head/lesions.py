"""The five bleedings: where each lies, how it looks, and how it pushes the brain.

To add a bleeding, write its class here and name it in `_SAMPLERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import (
    Array,
    Ellipsoid,
    Point,
    Points,
    Push,
    inside,
    soft_mask,
)
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.skull import inner_table

MEMBRANE = 0.25  # of the texture's range to either side of zero: sheets about 3 mm thick
OLD_SUBDURAL = 0.5  # share of the subdurals over a hemisphere
SEEN = 0.9  # share of a pixel inside the skull from which its blood is told from bone


@dataclass(frozen=True)
class Blood:
    """How dense a bleeding is.

    Attributes:
        hu: 50 to 90 when fresh, falling by about 1.5 a day to that of CSF.
        swirl: HU by which parts that have not clotted are darker.
        level: y in mm behind which blood has sunk, HU above it `swirl` lower; None without.
        membranes: HU by which the sheets that part an old bleeding are denser.
    """

    hu: float
    swirl: float = 0.0
    level: float | None = None
    membranes: float = 0.0

    def density(self, points: Points) -> Array:
        """HU of the blood in a slice."""
        hu = self.hu + 2.5 * points.texture
        if self.membranes:
            hu += self.membranes * np.clip(1 - np.abs(points.texture) / MEMBRANE, 0, 1)
        if self.level is not None:
            return hu - self.swirl * inside(self.level - points.xyz[1], 4.0)
        return hu - self.swirl * np.clip(points.texture - 0.3, 0, 1) if self.swirl else hu


@dataclass(frozen=True)
class Lesion(ABC):
    """One bleeding."""

    kind: ClassVar[str]
    blood: Blood

    @abstractmethod
    def mask(self, points: Points, tissue: Tissue) -> Array:
        """Where it lies in a slice, 0..1."""

    def push(self) -> Push | None:
        """How it moves the brain."""
        return None

    def oedema(self) -> Ellipsoid | None:
        """The dark rim about it."""
        return None


@dataclass(frozen=True)
class Epidural(Lesion):
    """Between bone and dura: a lens, bounded by the sutures, with a smooth inner edge."""

    kind: ClassVar[str] = "epidural"
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

    kind: ClassVar[str] = "subdural"
    center: Point
    extent: float
    thickness: float
    along_falx: bool

    def mask(self, points: Points, tissue: Tissue) -> Array:
        reach = _distance(self.center, points) / self.extent
        thickness = self.thickness * np.sqrt(np.clip(1 - reach**4, 0, 1)) + 0.7 * points.texture
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
    """In sulci, fissures and cisterns about a point, which the blood widens a little."""

    kind: ClassVar[str] = "subarachnoid"
    center: Point
    extent: float

    def mask(self, points: Points, tissue: Tissue) -> Array:
        found = _ball(self.center, self.extent, points)
        return np.maximum(tissue.brain.near_sulci, tissue.brain.sulci) * found * tissue.inside


@dataclass(frozen=True)
class Intraparenchymal(Lesion):
    """A clot in the brain, lobed, with a rim of oedema that grows over days."""

    kind: ClassVar[str] = "intraparenchymal"
    lobes: tuple[Ellipsoid, ...]
    rim: float

    def mask(self, points: Points, tissue: Tissue) -> Array:
        mask = np.zeros(points.shape, np.float32)
        for lobe in self.lobes:
            found = soft_mask(lobe, points, rough=0.13 * max(lobe.axes))
            if found is not None:
                np.maximum(mask[found[0]], found[1], out=mask[found[0]])
        return mask * inside(tissue.depth - 1.5, points.pixel)

    def push(self) -> Push | None:
        return _inward(self.lobes[0].center, 0.22 * max(self.lobes[0].axes))

    def oedema(self) -> Ellipsoid | None:
        ax, ay, az = self.lobes[0].axes
        axes = (ax + self.rim, ay + self.rim, az + self.rim)
        return Ellipsoid(self.lobes[0].center, axes)


@dataclass(frozen=True)
class Intraventricular(Lesion):
    """Blood sinks to the occipital horns of a patient on the back, and makes a level.

    A level before the frontal horns fills the ventricles: a cast.
    """

    kind: ClassVar[str] = "intraventricular"
    level: float
    sides: tuple[bool, bool]

    def mask(self, points: Points, tissue: Tissue) -> Array:
        x, y, _ = points.xyz
        left, right = self.sides
        allowed = (left | (x < 0)) & (right | (x > 0))
        layer = inside(y - self.level, points.pixel) * allowed
        return tissue.brain.ventricles * layer * tissue.inside


def sample_lesions(
    rng: np.random.Generator, head: Head, kinds: tuple[str, ...]
) -> tuple[Lesion, ...]:
    """Draws the bleedings of a patient, one a kind: below the blow, or opposite to it."""
    blow = float(rng.choice([-1.0, 1.0]))
    opposite = {"subdural"} if "epidural" in kinds else set()  # two layers on one side would hide
    return tuple(_SAMPLERS[kind](rng, head, -blow if kind in opposite else blow) for kind in kinds)


def pushes(lesions: tuple[Lesion, ...]) -> tuple[Push, ...]:
    """How all bleedings of a patient move the brain."""
    return tuple(push for lesion in lesions if (push := lesion.push()) is not None)


def bleed(
    lesions: tuple[Lesion, ...], points: Points, tissue: Tissue
) -> tuple[Array, dict[str, Array]]:
    """Sets the bleedings into a slice.

    Returns:
        HU with them, and a soft mask 0..1 a kind, 0 where bone in the same pixel hides the blood.
    """
    hu, masks = tissue.hu.copy(), {}
    free = (1 - tissue.brain.ventricles) * (1 - tissue.brain.sulci) * tissue.inside
    for lesion in lesions:
        rim = lesion.oedema()
        found = soft_mask(rim, points, rough=2.5) if rim else None
        if found is not None:
            hu[found[0]] -= 10 * found[1] * free[found[0]]
    seen = tissue.inside > SEEN
    for lesion in lesions:
        mask = lesion.mask(points, tissue)
        hu += (lesion.blood.density(points) - hu) * mask
        masks[lesion.kind] = mask * seen
    return hu, masks


def _fresh(rng: np.random.Generator, *, swirl: float = 0.0) -> Blood:
    """Acute blood; a share `swirl` of the bleedings still goes on and is mixed."""
    mixed = float(rng.uniform(8, 22)) if rng.random() < swirl else 0.0
    return Blood(float(rng.uniform(55, 84)), mixed)


def _old(rng: np.random.Generator, level: float) -> Blood:
    """Subdural blood of days to weeks: subacute, sedimented, chronic, chronic with membranes."""
    age = rng.random()
    if age < 0.12:
        return Blood(float(rng.uniform(42, 54)))
    if age < 0.24:  # bled anew: the fresh part has sunk
        return Blood(float(rng.uniform(52, 66)), float(rng.uniform(20, 34)), level)
    if age < 0.4:
        return Blood(float(rng.uniform(40, 55)), float(rng.uniform(24, 34)))
    membranes = float(rng.uniform(12, 30)) if rng.random() < 0.5 else 0.0
    return Blood(float(rng.uniform(10, 26)), membranes=membranes)


def _epidural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    center = _on_inner_table(head, side * rng.uniform(45, 130), rng.uniform(2, 45))
    extent = float(rng.uniform(16, 24))
    return Epidural(_fresh(rng, swirl=0.3), center, extent, extent * float(rng.uniform(0.5, 0.75)))


def _subdural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.12:
        center = (side * 3.0, float(rng.choice([-55.0, 60.0])), float(rng.uniform(20, 50)))
        extent, thickness = float(rng.uniform(35, 55)), float(rng.uniform(3.5, 6))
        return Subdural(_fresh(rng), center, extent, thickness, along_falx=True)
    center = _on_inner_table(head, side * rng.uniform(60, 120), rng.uniform(18, 48))
    blood, extent, thickness = _fresh(rng, swirl=0.2), rng.uniform(46, 74), rng.uniform(5, 14)
    if rng.random() < OLD_SUBDURAL:
        # Those that were small are gone by then, or were never scanned.
        blood, thickness = _old(rng, center[1] + float(rng.uniform(-15, 15))), rng.uniform(10, 28)
    return Subdural(blood, center, float(extent), float(thickness), along_falx=False)


def _subarachnoid(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.5:  # an aneurysm: the basal cisterns
        x, y, z = rng.normal(0, 7), -4 + rng.normal(0, 7), -16 + rng.normal(0, 5)
        return Subarachnoid(_fresh(rng), (float(x), float(y), float(z)), rng.uniform(33, 51))
    # An injury: over the convexity.
    center = _on_inner_table(head, side * rng.uniform(30, 140), rng.uniform(0, 60))
    return Subarachnoid(_fresh(rng), center, float(rng.uniform(27, 45)))


def _intraparenchymal(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.5:  # hypertensive: basal ganglia and thalamus
        x, y, z = side * rng.normal(23, 4), rng.uniform(-14, 18), rng.uniform(2, 16)
    elif rng.random() < 0.12:
        x, y, z = side * rng.uniform(8, 28), rng.uniform(44, 62), rng.uniform(-46, -34)
    else:  # lobar
        inward = rng.uniform(0.5, 0.75)
        surface = _on_inner_table(head, side * rng.uniform(15, 165), rng.uniform(5, 60))
        x, y, z = (v * inward for v in surface)
    size = float(np.exp(rng.uniform(np.log(9.5), np.log(26))))
    lobes = []
    for number in range(int(rng.integers(1, 4))):
        offset = rng.normal(0, 0.45 * size, 3) * (number > 0)
        axes = size * (0.65 if number else 1.0) * rng.uniform(0.75, 1.25, 3)
        center = (float(x + offset[0]), float(y + offset[1]), float(z + offset[2]))
        lobes.append(Ellipsoid(center, (float(axes[0]), float(axes[1]), float(axes[2]))))
    blood = Blood(float(rng.uniform(42, 50))) if rng.random() < 0.06 else _fresh(rng, swirl=0.15)
    return Intraparenchymal(blood, tuple(lobes), float(rng.uniform(1.5, 8)))


def _intraventricular(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    cast = rng.random() < 0.3
    level = rng.uniform(-45, -10) if cast else rng.uniform(4, 30)
    alone = rng.random() < 0.25
    sides = (not alone or side > 0, not alone or side < 0)
    return Intraventricular(_fresh(rng), float(level), sides)


def _on_inner_table(head: Head, azimuth: float, elevation: float) -> Point:
    """A point of the vault; azimuth from the front to the patient's left, both in degrees."""
    a, e = np.radians([azimuth, elevation])
    return inner_table(head, np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)]))


def _inward(center: Point, amount: float) -> Push:
    """Towards the midline and a little away from front and back."""
    away = np.array([center[0], 0.3 * center[1], 0.0])
    x, y, z = (float(v) for v in -amount * away / max(float(np.linalg.norm(away)), 1.0))
    return Push(center, (x, y, z), 42.0)


def _distance(center: Point, points: Points) -> Array:
    x, y, z = center
    px, py, pz = points.xyz
    return np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2)


def _ball(center: Point, radius: float, points: Points) -> Array:
    edge = radius - _distance(center, points) + 0.12 * radius * points.texture
    return inside(edge, 4.0)  # blood thins out towards its edge


def _fade(reach: Array) -> Array:
    return np.clip((1 - reach) * 20, 0, 1)


_SAMPLERS: dict[str, Callable[[np.random.Generator, Head, float], Lesion]] = {
    "epidural": _epidural,
    "intraparenchymal": _intraparenchymal,
    "intraventricular": _intraventricular,
    "subarachnoid": _subarachnoid,
    "subdural": _subdural,
}

"""What resembles a hemorrhage without being one, or changes the image without blood.

To add a finding, write its sampler here and name it in `_SAMPLERS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Points, as_point, direction
from tfrecords_tools.phantom.head.shapes import Capsule, Ellipsoid, Shape, paint, soft_mask

WATER = 8.0  # HU; of CSF


@dataclass(frozen=True)
class Finding:
    """A shape that replaces the tissue by its HU, or changes the tissue's.

    Attributes:
        shape: where it lies.
        hu: its HU; if `relative`, added to those of the tissue.
        rough: mm by which its surface is irregular.
        relative: True for infarcts, oedema and tumours.
    """

    shape: Shape
    hu: float
    rough: float
    relative: bool = False


Findings = Iterable[Finding]


def sample_findings(rng: np.random.Generator, age: float) -> tuple[Finding, ...]:
    """Draws a patient's findings; older patients have more of most."""
    return tuple(finding for sampler in _SAMPLERS for finding in sampler(rng, age))


def change_density(findings: Findings, hu: Array, points: Points) -> None:
    """Adds the relative findings to the HU of the brain, in place."""
    for finding in findings:
        if finding.relative:
            masked = soft_mask(finding.shape, points, rough=finding.rough)
            if masked is not None:
                window, share = masked
                hu[window] += finding.hu * share


def replace_tissue(findings: Findings, hu: Array, points: Points, brain: Array) -> None:
    """Paints calcifications, arteries and shunts into brain and ventricles, in place."""
    for finding in findings:
        if not finding.relative:
            value, grain = finding.hu, 0.3 * finding.hu
            paint(hu, value, finding.shape, points, grain=grain, within=brain, rough=finding.rough)


def _near(rng: np.random.Generator, x: float, y: float, z: float, spread: float) -> Ellipsoid:
    axes = rng.uniform(0.7, 1.4, 3)
    center = np.array([x, y, z]) + rng.normal(0, spread, 3)
    return Ellipsoid(as_point(center), as_point(axes))


def _plexus(rng: np.random.Generator, age: float) -> Findings:
    """Choroid plexus in the atria, calcified in most adults; usually on both sides."""
    if rng.random() < np.interp(age, (6, 20, 80), (0.25, 0.55, 0.8)):
        hard = rng.random() < np.interp(age, (6, 20, 80), (0, 0.7, 0.9))
        radius, hu = rng.uniform(1.5, 5.0), rng.uniform(70, 500) if hard else rng.uniform(35, 65)
        for side in (-1, 1):
            if rng.random() < 0.85:
                shape = _near(rng, side * 22, 33, 8, 1.5).scaled(radius)
                yield Finding(shape, hu, 0.8)


def _pineal(rng: np.random.Generator, age: float) -> Findings:
    if rng.random() < np.interp(age, (5, 25), (0, 0.7)):
        shape = _near(rng, 0, 30, 0, 1.0).scaled(rng.uniform(1.3, 3.5))
        yield Finding(shape, rng.uniform(80, 450), 0.6)


def _falx(rng: np.random.Generator, age: float) -> Findings:
    """Plates of calcium or bone in the falx."""
    for _ in range(rng.poisson(np.interp(age, (10, 60), (0, 1)))):
        x, y, z = rng.normal(0, 0.7), rng.uniform(-75, -38), rng.uniform(15, 75)
        axes = (rng.uniform(1, 2.5), rng.uniform(2, 9), rng.uniform(2, 9))
        yield Finding(Ellipsoid((x, y, z), axes), rng.uniform(90, 600), 0.5)


def _basal_ganglia(rng: np.random.Generator, age: float) -> Findings:
    if rng.random() < np.interp(age, (10, 30, 80), (0, 0.05, 0.2)):
        hu, radius = rng.uniform(60, 180), rng.uniform(1.5, 4.5)
        for side in (-1, 1):  # always on both sides, unlike a hemorrhage
            yield Finding(_near(rng, side * 20, -6, 4, 1).scaled(radius), hu, 1.2)


def _infarct(rng: np.random.Generator, age: float) -> Findings:
    """Large; recent ones are slightly darker than brain, old ones are scars filled with CSF."""
    if rng.random() < np.interp(age, (10, 80), (0.03, 0.35)):
        side = rng.choice([-1.0, 1.0])
        x, y, z = side * rng.uniform(25, 60), rng.uniform(-55, 65), rng.uniform(-5, 55)
        axes = as_point(rng.uniform(9, 28, 3))
        shape = Ellipsoid((float(x), float(y), float(z)), axes)
        yield Finding(shape, -rng.uniform(5, 24), 3.0, relative=True)


def _lacunes(rng: np.random.Generator, age: float) -> Findings:
    for _ in range(rng.poisson(np.interp(age, (30, 80), (0, 1.2)))):
        x, y, z = rng.uniform(-32, 32), rng.uniform(-35, 30), rng.uniform(0, 35)
        shape = _near(rng, x, y, z, 0).scaled(rng.uniform(2, 5))
        yield Finding(shape, -rng.uniform(8, 22), 0.6, relative=True)


def _oedema(rng: np.random.Generator, age: float) -> Findings:
    """Oedema around a tumour that is as dense as brain or slightly denser."""
    if rng.random() < 0.03:
        side = rng.choice([-1.0, 1.0])
        center = (float(side * rng.uniform(20, 45)), rng.uniform(-50, 60), rng.uniform(10, 60))
        radius = rng.uniform(6, 14)
        rim = radius + rng.uniform(6, 14)
        yield Finding(Ellipsoid(center, (rim, rim * 1.3, rim)), -12.0, 4.0, relative=True)
        hu = rng.uniform(8, 16)
        yield Finding(Ellipsoid(center, (radius, radius, radius)), 12.0 + hu, 1.5, relative=True)


def _shunt(rng: np.random.Generator, age: float) -> Findings:
    if rng.random() < 0.02:
        side = float(rng.choice([-1.0, 1.0]))
        rod = Capsule((side * 5, -24, 12), (side * 28, -45, 75), (1.3, 1.3))
        yield Finding(rod, rng.uniform(250, 900), 0.0)


def _sellar_bone(rng: np.random.Generator, age: float) -> Findings:
    """Dorsum sellae and anterior clinoids, between the cisterns."""
    hu, y, z = 400 + 12 * min(age, 30), rng.normal(-4, 1.5), rng.normal(-26, 1.5)
    bar = Capsule((-6, y, z), (6, y, z), (rng.uniform(1, 2.2), rng.uniform(1, 2.2)))
    yield Finding(bar, hu, 0.3)
    for side in (-1, 1):
        tip = (side * rng.normal(12, 1), y - rng.uniform(12, 17), z + rng.normal(0.5, 1))
        root = (side * 19, y - 20, z + 1)
        yield Finding(Capsule(root, tip, (2.2, 1.4)), hu, 0.3)


def _cysts(rng: np.random.Generator, age: float) -> Findings:
    """Cavum septi pellucidi, wide cisterna magna, arachnoid cyst: variants filled with CSF."""
    if rng.random() < np.interp(age, (0, 1, 3), (0.8, 0.3, 0.06)):
        width = rng.uniform(1.2, 4)
        yield Finding(Ellipsoid((0, -20, 12), (width, 11, 7)), WATER, 0.2)
    if rng.random() < 0.03:
        wide, high = rng.uniform(10, 26), rng.uniform(12, 24)
        yield Finding(Ellipsoid((0, 64, -52), (wide, rng.uniform(7, 13), high)), WATER, 0.6)
    if rng.random() < 0.02:
        places = ((44, -34, -22), (58, -10, 10), (48, 60, -40), (40, -30, 62))
        x, y, z = places[rng.integers(len(places))]
        x *= int(rng.choice([-1, 1]))
        yield Finding(Ellipsoid((x, y, z), as_point(rng.uniform(9, 20, 3))), WATER, 0.8)


def _meningioma(rng: np.random.Generator, age: float) -> Findings:
    """At falx or convexity, denser than brain or calcified (Wiemels et al. 2010)."""
    if rng.random() < np.interp(age, (30, 80), (0, 0.04)):
        azimuth = rng.uniform(-180, 180)
        place = np.array([70, 88, 90]) * direction(azimuth, rng.uniform(5, 70))
        if rng.random() < 0.3:
            place[0] = rng.choice([-6, 6])
        hu = rng.uniform(42, 56) if rng.random() < 0.6 else rng.uniform(80, 500)
        radius = rng.uniform(4, 16)
        yield Finding(
            Ellipsoid(as_point(place), as_point(radius * rng.uniform(0.8, 1.2, 3))), hu, 1
        )


def _arteries(rng: np.random.Generator, age: float) -> Findings:
    """Carotids and the basilar artery at the skull base; calcified in older patients."""
    hu = rng.uniform(44, 58)
    hard = rng.random() < np.interp(age, (35, 80), (0, 0.6))
    yield Finding(Capsule((0, 2, -26), (0, 8, -50), (1.9, 1.9)), hu, 0.0)
    for side in (-1, 1):
        yield Finding(Capsule((side * 10, -12, -25), (side * 24, -13, -20), (1.8, 1.5)), hu, 0.0)
        if hard:
            yield Finding(_near(rng, side * 11, -11, -26, 1).scaled(2.0), rng.uniform(120, 500), 0)


_SAMPLERS: tuple[Callable[[np.random.Generator, float], Findings], ...] = (
    _plexus,
    _pineal,
    _falx,
    _basal_ganglia,
    _infarct,
    _lacunes,
    _oedema,
    _shunt,
    _arteries,
    _sellar_bone,
    _cysts,
    _meningioma,
)

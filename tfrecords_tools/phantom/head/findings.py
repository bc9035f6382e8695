"""What resembles a hemorrhage without being one, or changes the image without blood.

To add a finding, write its sampler here and name it in `_SAMPLERS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Points, as_point
from tfrecords_tools.phantom.head.shapes import Capsule, Ellipsoid, Shape, paint, soft_mask


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


def sample_findings(rng: np.random.Generator, atrophy: float) -> tuple[Finding, ...]:
    """Draws a patient's findings; older patients have more of them."""
    return tuple(finding for sampler in _SAMPLERS for finding in sampler(rng, atrophy))


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


def _plexus(rng: np.random.Generator, atrophy: float) -> Findings:
    """Calcified choroid plexus in the atria: in most adults, usually on both sides."""
    if rng.random() < 0.35 + 0.5 * atrophy:
        radius, hu = rng.uniform(1.5, 5.0), rng.uniform(70, 500)
        for side in (-1, 1):
            if rng.random() < 0.85:
                shape = _near(rng, side * 22, 33, 8, 1.5).scaled(radius)
                yield Finding(shape, hu, 0.8)


def _pineal(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.65:
        shape = _near(rng, 0, 30, 0, 1.0).scaled(rng.uniform(1.3, 3.5))
        yield Finding(shape, rng.uniform(80, 450), 0.6)


def _falx(rng: np.random.Generator, atrophy: float) -> Findings:
    """Plates of calcium or bone in the falx."""
    for _ in range(rng.poisson(0.7)):
        x, y, z = rng.normal(0, 0.7), rng.uniform(-75, -38), rng.uniform(15, 75)
        axes = (rng.uniform(1, 2.5), rng.uniform(2, 9), rng.uniform(2, 9))
        yield Finding(Ellipsoid((x, y, z), axes), rng.uniform(90, 600), 0.5)


def _basal_ganglia(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.05 + 0.2 * atrophy:
        hu, radius = rng.uniform(60, 180), rng.uniform(1.5, 4.5)
        for side in (-1, 1):  # always on both sides, unlike a hemorrhage
            yield Finding(_near(rng, side * 20, -6, 4, 1).scaled(radius), hu, 1.2)


def _infarct(rng: np.random.Generator, atrophy: float) -> Findings:
    """Large; recent ones are slightly darker than brain, old ones are scars filled with CSF."""
    if rng.random() < 0.08 + 0.3 * atrophy:
        side = rng.choice([-1.0, 1.0])
        x, y, z = side * rng.uniform(25, 60), rng.uniform(-55, 65), rng.uniform(-5, 55)
        axes = as_point(rng.uniform(9, 28, 3))
        shape = Ellipsoid((float(x), float(y), float(z)), axes)
        yield Finding(shape, -rng.uniform(5, 24), 3.0, relative=True)


def _lacunes(rng: np.random.Generator, atrophy: float) -> Findings:
    for _ in range(rng.poisson(1.5 * atrophy)):
        x, y, z = rng.uniform(-32, 32), rng.uniform(-35, 30), rng.uniform(0, 35)
        shape = _near(rng, x, y, z, 0).scaled(rng.uniform(2, 5))
        yield Finding(shape, -rng.uniform(8, 22), 0.6, relative=True)


def _oedema(rng: np.random.Generator, atrophy: float) -> Findings:
    """Oedema around a tumour that is as dense as brain or slightly denser."""
    if rng.random() < 0.03:
        side = rng.choice([-1.0, 1.0])
        center = (float(side * rng.uniform(20, 45)), rng.uniform(-50, 60), rng.uniform(10, 60))
        radius = rng.uniform(6, 14)
        rim = radius + rng.uniform(6, 14)
        yield Finding(Ellipsoid(center, (rim, rim * 1.3, rim)), -12.0, 4.0, relative=True)
        hu = rng.uniform(8, 16)
        yield Finding(Ellipsoid(center, (radius, radius, radius)), 12.0 + hu, 1.5, relative=True)


def _shunt(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.02:
        side = float(rng.choice([-1.0, 1.0]))
        rod = Capsule((side * 5, -24, 12), (side * 28, -45, 75), (1.3, 1.3))
        yield Finding(rod, rng.uniform(250, 900), 0.0)


def _arteries(rng: np.random.Generator, atrophy: float) -> Findings:
    """Carotids and the basilar artery at the skull base; calcified in older patients."""
    hu = rng.uniform(44, 58)
    hard = rng.random() < 0.6 * atrophy
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
)

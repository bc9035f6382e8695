"""What is not bleeding and looks like it, or changes the picture without blood.

To add a finding, write its sampler here and name it in `_SAMPLERS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import (
    Array,
    Capsule,
    Ellipsoid,
    Points,
    Shape,
    paint,
    soft_mask,
)


@dataclass(frozen=True)
class Finding:
    """A shape that replaces the tissue by its HU, or darkens it.

    Attributes:
        shape: where.
        hu: of it; added to the tissue's where `relative`.
        rough: mm by which its surface wanders.
        relative: an infarct or oedema rather than a thing of its own.
    """

    shape: Shape
    hu: float
    rough: float
    relative: bool = False


Findings = Iterable[Finding]


def sample_findings(rng: np.random.Generator, atrophy: float) -> tuple[Finding, ...]:
    """Draws a patient's findings; the old have more of them."""
    return tuple(finding for sampler in _SAMPLERS for finding in sampler(rng, atrophy))


def darken(findings: Findings, hu: Array, points: Points) -> None:
    """Sets infarcts and oedema into brain, in place."""
    for finding in findings:
        if finding.relative:
            found = soft_mask(finding.shape, points, rough=finding.rough)
            if found is not None:
                window, share = found
                hu[window] += finding.hu * share


def set_in(findings: Findings, hu: Array, points: Points, brain: Array) -> None:
    """Sets calcifications and devices into brain and ventricles, in place."""
    for finding in findings:
        if not finding.relative:
            value = finding.hu * (1 + 0.3 * points.grain)
            paint(hu, value, finding.shape, points, within=brain, rough=finding.rough)


def _near(rng: np.random.Generator, x: float, y: float, z: float, spread: float) -> Ellipsoid:
    axes = rng.uniform(0.7, 1.4, 3)
    place = np.array([x, y, z]) + rng.normal(0, spread, 3)
    return Ellipsoid(
        (float(place[0]), float(place[1]), float(place[2])),
        (float(axes[0]), float(axes[1]), float(axes[2])),
    )


def _plexus(rng: np.random.Generator, atrophy: float) -> Findings:
    """Calcified choroid plexus in the atria: in most adults, mostly on both sides."""
    if rng.random() < 0.35 + 0.5 * atrophy:
        radius, hu = rng.uniform(1.5, 5.0), rng.uniform(70, 500)
        for side in (-1, 1):
            if rng.random() < 0.85:
                shape = _near(rng, side * 22, 33, 8, 1.5).scaled(float(radius))
                yield Finding(shape, float(hu), 0.8)


def _pineal(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.65:
        shape = _near(rng, 0, 30, 0, 1.0).scaled(float(rng.uniform(1.3, 3.5)))
        yield Finding(shape, float(rng.uniform(80, 450)), 0.6)


def _falx(rng: np.random.Generator, atrophy: float) -> Findings:
    """Plates of calcium or bone in the falx."""
    for _ in range(rng.poisson(0.7)):
        x, y, z = rng.normal(0, 0.7), rng.uniform(-75, -38), rng.uniform(15, 75)
        axes = (float(rng.uniform(1, 2.5)), float(rng.uniform(2, 9)), float(rng.uniform(2, 9)))
        yield Finding(Ellipsoid((float(x), float(y), float(z)), axes), rng.uniform(90, 600), 0.5)


def _basal_ganglia(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.05 + 0.2 * atrophy:
        hu, radius = rng.uniform(60, 180), rng.uniform(1.5, 4.5)
        for side in (-1, 1):  # always on both sides, as a bleeding never is
            yield Finding(_near(rng, side * 20, -6, 4, 1).scaled(float(radius)), float(hu), 1.2)


def _infarct(rng: np.random.Generator, atrophy: float) -> Findings:
    """Fresh ones are a little darker than brain and large, old ones are scars of CSF."""
    if rng.random() < 0.08 + 0.3 * atrophy:
        side = rng.choice([-1.0, 1.0])
        x, y, z = side * rng.uniform(25, 60), rng.uniform(-55, 65), rng.uniform(-5, 55)
        axes = rng.uniform(9, 28, 3)
        shape = Ellipsoid((float(x), float(y), float(z)), (axes[0], axes[1], axes[2]))
        yield Finding(shape, float(-rng.uniform(5, 24)), 3.0, relative=True)


def _lacunes(rng: np.random.Generator, atrophy: float) -> Findings:
    for _ in range(rng.poisson(1.5 * atrophy)):
        x, y, z = rng.uniform(-32, 32), rng.uniform(-35, 30), rng.uniform(0, 35)
        shape = _near(rng, x, y, z, 0).scaled(float(rng.uniform(2, 5)))
        yield Finding(shape, float(-rng.uniform(8, 22)), 0.6, relative=True)


def _oedema(rng: np.random.Generator, atrophy: float) -> Findings:
    """About a tumour as dense as brain or a little denser."""
    if rng.random() < 0.03:
        side = rng.choice([-1.0, 1.0])
        center = (float(side * rng.uniform(20, 45)), rng.uniform(-50, 60), rng.uniform(10, 60))
        radius = float(rng.uniform(6, 14))
        rim = radius + float(rng.uniform(6, 14))
        yield Finding(Ellipsoid(center, (rim, rim * 1.3, rim)), -12.0, 4.0, relative=True)
        hu = float(rng.uniform(8, 16))
        yield Finding(Ellipsoid(center, (radius, radius, radius)), 12.0 + hu, 1.5, relative=True)


def _shunt(rng: np.random.Generator, atrophy: float) -> Findings:
    if rng.random() < 0.02:
        side = float(rng.choice([-1.0, 1.0]))
        rod = Capsule((side * 5, -24, 12), (side * 28, -45, 75), (1.3, 1.3))
        yield Finding(rod, float(rng.uniform(250, 900)), 0.0)


def _arteries(rng: np.random.Generator, atrophy: float) -> Findings:
    """Carotids and the basilar artery at the base, hardened in the old."""
    hu = rng.uniform(44, 58)
    hard = rng.random() < 0.6 * atrophy
    yield Finding(Capsule((0, 2, -26), (0, 8, -50), (1.9, 1.9)), float(hu), 0.0)
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

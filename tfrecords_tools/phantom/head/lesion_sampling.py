"""Draws the hemorrhages of a patient."""

from collections.abc import Callable, Sequence

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.geometry import as_point, direction
from tfrecords_tools.phantom.head.lesions import (
    Blood,
    Epidural,
    Intraparenchymal,
    Intraventricular,
    Lesion,
    Subarachnoid,
    Subdural,
)
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import Ellipsoid
from tfrecords_tools.phantom.head.surfaces import inner_table

OLD_SUBDURAL = 0.5  # share of the subdurals over a hemisphere


def sample_lesions(
    rng: np.random.Generator, head: Head, subtypes: Sequence[str]
) -> tuple[Lesion, ...]:
    """Draws one hemorrhage per subtype, on the side of the blow or opposite to it."""
    blow = float(rng.choice([-1.0, 1.0]))
    # On the same side, the epidural would hide the subdural.
    opposite = {"subdural"} if "epidural" in subtypes else set()
    return tuple(_SAMPLERS[x](rng, head, -blow if x in opposite else blow) for x in subtypes)


def _fresh(rng: np.random.Generator, *, swirl: float = 0.0) -> Blood:
    """Acute blood; with probability `swirl` the hemorrhage is active, with unclotted parts."""
    mixed = rng.uniform(8, 22) if rng.random() < swirl else 0.0
    return Blood(rng.uniform(55, 84), mixed)


def _old(rng: np.random.Generator, level: float) -> Blood:
    """Subdural blood of days to weeks: subacute, sedimented, chronic, chronic with membranes."""
    age = rng.random()
    if age < 0.12:
        return Blood(rng.uniform(42, 54))
    if age < 0.24:  # a second hemorrhage, whose blood has sunk
        return Blood(rng.uniform(52, 66), rng.uniform(20, 34), level)
    if age < 0.4:
        return Blood(rng.uniform(40, 55), rng.uniform(24, 34))
    membranes = rng.uniform(12, 30) if rng.random() < 0.5 else 0.0
    return Blood(rng.uniform(10, 26), membranes=membranes)


def _epidural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    center = _on_inner_table(head, side * rng.uniform(45, 130), rng.uniform(2, 45))
    extent = rng.uniform(16, 24)
    return Epidural(_fresh(rng, swirl=0.3), center, extent, extent * rng.uniform(0.5, 0.75))


def _subdural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.12:
        center = (side * 3.0, float(rng.choice([-55.0, 60.0])), rng.uniform(20, 50))
        extent, thickness = rng.uniform(35, 55), rng.uniform(3.5, 6)
        return Subdural(_fresh(rng), center, extent, thickness, along_falx=True)
    center = _on_inner_table(head, side * rng.uniform(60, 120), rng.uniform(18, 48))
    blood, extent, thickness = _fresh(rng, swirl=0.2), rng.uniform(46, 74), rng.uniform(5, 14)
    if rng.random() < OLD_SUBDURAL:
        # Small ones are resorbed by then, or were never scanned.
        blood, thickness = _old(rng, center[1] + rng.uniform(-15, 15)), rng.uniform(10, 28)
    return Subdural(blood, center, extent, thickness, along_falx=False)


def _subarachnoid(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.5:  # from an aneurysm: basal cisterns
        x, y, z = rng.normal(0, 7), -4 + rng.normal(0, 7), -16 + rng.normal(0, 5)
        return Subarachnoid(_fresh(rng), (x, y, z), rng.uniform(33, 51))
    # Trauma: over the convexity.
    center = _on_inner_table(head, side * rng.uniform(30, 140), rng.uniform(0, 60))
    return Subarachnoid(_fresh(rng), center, rng.uniform(27, 45))


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
        lobes.append(Ellipsoid(as_point(np.array([x, y, z]) + offset), as_point(axes)))
    blood = Blood(rng.uniform(42, 50)) if rng.random() < 0.06 else _fresh(rng, swirl=0.15)
    return Intraparenchymal(blood, tuple(lobes), rng.uniform(1.5, 8))


def _intraventricular(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    cast = rng.random() < 0.3
    level = rng.uniform(-45, -10) if cast else rng.uniform(4, 30)
    alone = rng.random() < 0.25
    sides = (not alone or side > 0, not alone or side < 0)
    return Intraventricular(_fresh(rng), level, sides)


def _on_inner_table(head: Head, azimuth: float, elevation: float) -> Point:
    return inner_table(head, direction(azimuth, elevation))


_SAMPLERS: dict[str, Callable[[np.random.Generator, Head, float], Lesion]] = {
    "epidural": _epidural,
    "intraparenchymal": _intraparenchymal,
    "intraventricular": _intraventricular,
    "subarachnoid": _subarachnoid,
    "subdural": _subdural,
}

"""Draws hemorrhages of the brain, its ventricles and its sulci."""

from collections.abc import Callable, Iterator

import numpy as np

from tfrecords_tools.phantom.head.geometry import as_point, direction
from tfrecords_tools.phantom.head.intra_axial import (
    Intraparenchymal,
    Intraventricular,
    Subarachnoid,
)
from tfrecords_tools.phantom.head.lesions import Blood, Lesion, fresh
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import Ellipsoid
from tfrecords_tools.phantom.head.story import Story
from tfrecords_tools.phantom.head.surfaces import inner_table

LAST = 54.0  # mm; y of the ends of the occipital horns
CAST = -45.0  # mm; y in front of the frontal horns
THIRD, FOURTH = (0.0, 6.0, -2.0), (0.0, 37.0, -40.0)
Rng = np.random.Generator


def intraparenchymal(rng: Rng, head: Head, story: Story) -> Iterator[Lesion]:
    """Contusions and sheared axons after a blow; else hypertensive, lobar, or of the stem."""
    kinds, shares = _BY_CAUSE[story.cause]
    places = int(rng.choice([1, 2, 3])) if story.cause == "trauma" else 1
    for number in rng.choice(len(kinds), places, p=shares):
        yield kinds[int(number)](rng, head, story)


def subarachnoid(rng: Rng, head: Head, story: Story) -> Iterator[Lesion]:
    """From an aneurysm in the cisterns; after a blow in a few sulci or around the midbrain."""
    if story.cause == "disease" and rng.random() < 0.65:
        x, y, z = rng.normal(0, 9), -4 + rng.normal(0, 8), -16 + rng.normal(0, 5)
        yield Subarachnoid(fresh(rng), (x, y, z), rng.uniform(24, 56))
        return
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        yield _thin_subarachnoid(rng, head, story)


def intraventricular(rng: Rng, head: Head, story: Story) -> Iterator[Lesion]:
    """Casts, levels in the occipital horns, and clots in one place."""
    alone = rng.random() < 0.3
    sides = (not alone or story.side > 0, not alone or story.side < 0)
    kind = rng.random()
    if kind < 0.3:
        yield Intraventricular(fresh(rng), rng.uniform(CAST, -5), sides)
    elif kind < 0.62:
        yield Intraventricular(fresh(rng), rng.uniform(-5, 34), sides)
    elif kind < 0.84:
        yield Intraventricular(_diluted(rng), LAST - rng.uniform(4, 15), sides)
    else:
        yield _ventricular_clot(rng, story)


def _ventricular_clot(rng: Rng, story: Story) -> Lesion:
    x, y, z = [
        THIRD,
        FOURTH,
        (story.side * 8.0, -27.0, 11.0),
        (story.side * 8.0, 2.0, 20.0),
        (story.side * 20.0, 32.0, 11.0),
    ][rng.integers(5)]
    center = (x, y + rng.normal(0, 4), z + rng.normal(0, 2))
    return Intraventricular(fresh(rng), -99.0, (True, True), (center, rng.uniform(7, 18)))


def _thin_subarachnoid(rng: Rng, head: Head, story: Story) -> Lesion:
    """In a few sulci, a Sylvian fissure, around the midbrain, or between the hemispheres."""
    place, side = rng.random(), story.side * float(rng.choice([-1, 1, 1]))
    if place < 0.2:
        center = (side * rng.uniform(34, 50), rng.uniform(-22, 16), rng.uniform(-6, 14))
        return Subarachnoid(_diluted(rng), center, rng.uniform(12, 30))
    if place < 0.35:
        center = (rng.normal(0, 7), rng.uniform(-4, 26), rng.uniform(-22, -6))
        return Subarachnoid(_diluted(rng), center, rng.uniform(9, 22))
    if place < 0.43:
        center = (0.0, float(rng.choice([-60, 60])) + rng.normal(0, 8), rng.uniform(5, 55))
        return Subarachnoid(_diluted(rng), center, rng.uniform(12, 28))
    outward = story.near(rng, 30, opposite=rng.random() < 0.4)
    return Subarachnoid(_diluted(rng), inner_table(head, outward), rng.uniform(11, 40))


def _contusion(rng: Rng, head: Head, story: Story) -> Lesion:
    """Where brain slides over rough bone: frontal base, temporal pole, or under the blow."""
    site, side = rng.random(), story.side * float(rng.choice([-1, 1]))
    if site < 0.35:
        x, y, z = side * rng.uniform(7, 28), rng.uniform(-74, -48), rng.uniform(-13, 6)
    elif site < 0.65:
        x, y, z = side * rng.uniform(34, 55), rng.uniform(-34, 10), rng.uniform(-34, -6)
    else:
        outward = story.near(rng, 12, opposite=rng.random() < 0.6)
        x, y, z = np.array(inner_table(head, outward)) * rng.uniform(0.8, 0.93)
    return _cluster(rng, np.array([x, y, z]), rng.uniform(5, 20), (2.0, 10.0))


def _petechiae(rng: Rng, head: Head, story: Story) -> Lesion:
    """Small hemorrhages where grey meets white matter, in the corpus callosum or the stem."""
    site = rng.random()
    if site < 0.2:
        center = np.array([story.side * rng.uniform(2, 9), rng.uniform(-25, 35), 26])
    elif site < 0.4:
        center = np.array([rng.normal(0, 7), rng.uniform(8, 24), rng.uniform(-42, -10)])
    else:
        outward = direction(story.side * rng.uniform(10, 150), rng.uniform(15, 65))
        center = np.array(inner_table(head, outward)) * rng.uniform(0.68, 0.86)
    return _cluster(rng, center, rng.uniform(1, 16), (1.5, 3.2))


def _cluster(rng: Rng, center: np.ndarray, spread: float, radii: tuple[float, float]) -> Lesion:
    """Several small clots in swollen brain."""
    count = int(rng.integers(2, 4 + int(spread / 2)))
    least, most = np.log(radii)
    sizes = np.sort(np.exp(rng.uniform(least, most, count)))[::-1]
    lobes = []
    for number, size in enumerate(sizes):
        place = center + rng.normal(0, 0.5 * spread, 3) * (number > 0)
        lobes.append(Ellipsoid(as_point(place), as_point(size * rng.uniform(0.7, 1.5, 3))))
    swollen = None
    if rng.random() < 0.6:
        reach = max(spread, sizes[0]) + rng.uniform(2, 7)
        swollen = Ellipsoid(as_point(center), as_point(reach * rng.uniform(0.8, 1.2, 3)))
    return Intraparenchymal(fresh(rng), tuple(lobes), rng.uniform(0.15, 0.35), swollen)


def _deep(rng: Rng, head: Head, story: Story) -> Lesion:
    """Hypertensive: basal ganglia and thalamus."""
    x, y, z = story.side * rng.normal(22, 5), rng.uniform(-16, 20), rng.uniform(0, 18)
    return _clot(rng, np.array([x, y, z]), _size(rng, 5.0, 28.0))


def _infratentorial(rng: Rng, head: Head, story: Story) -> Lesion:
    """Pons, midbrain or cerebellum."""
    if rng.random() < 0.4:
        center = np.array([rng.normal(0, 4), 17 + rng.normal(0, 3), rng.uniform(-44, -14)])
        return _clot(rng, center, _size(rng, 3.0, 12.0))
    x, y, z = story.side * rng.uniform(7, 32), rng.uniform(42, 64), rng.uniform(-52, -30)
    return _clot(rng, np.array([x, y, z]), _size(rng, 5.0, 22.0))


def _lobar(rng: Rng, head: Head, story: Story) -> Lesion:
    outward = direction(story.side * rng.uniform(15, 165), rng.uniform(2, 62))
    center = np.array(inner_table(head, outward)) * rng.uniform(0.5, 0.82)
    return _clot(rng, center, _size(rng, 5.0, 32.0))


def _clot(rng: Rng, center: np.ndarray, size: float) -> Lesion:
    """A lobed clot; large ones are irregular, and their blood may sink."""
    lobes = []
    for number in range(int(rng.integers(1, 6 if size > 12 else 3))):
        offset = rng.normal(0, 0.5 * size, 3) * (number > 0)
        axes = size * (rng.uniform(0.35, 0.8) if number else 1.0) * rng.uniform(0.7, 1.3, 3)
        lobes.append(Ellipsoid(as_point(center + offset), as_point(axes)))
    rim = rng.uniform(0, 3) + size * rng.uniform(0, 0.35)
    swollen = Ellipsoid(as_point(center), as_point(np.array(lobes[0].axes) + rim))
    return Intraparenchymal(
        _blood_of_clot(rng, size, float(center[1])), tuple(lobes), rng.uniform(0.08, 0.22), swollen
    )


def _blood_of_clot(rng: Rng, size: float, y: float) -> Blood:
    kind = rng.random()
    if kind < 0.08:
        return Blood(rng.uniform(40, 52))  # subacute
    if kind < 0.14 and size > 9:
        return Blood(rng.uniform(58, 76), rng.uniform(14, 30), y + rng.uniform(-3, 0.5 * size))
    return fresh(rng, mixed=0.25)


def _diluted(rng: Rng) -> Blood:
    """A thin film, mixed with CSF."""
    return Blood(rng.uniform(52, 76))


def _size(rng: Rng, least: float, most: float) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


_Sampler = Callable[[Rng, Head, Story], Lesion]
_BY_CAUSE: dict[str, tuple[tuple[_Sampler, ...], tuple[float, ...]]] = {
    "trauma": ((_contusion, _petechiae, _lobar), (0.6, 0.26, 0.14)),
    "operation": ((_lobar, _contusion), (0.6, 0.4)),
    "disease": ((_deep, _lobar, _infratentorial, _petechiae), (0.44, 0.36, 0.14, 0.06)),
}

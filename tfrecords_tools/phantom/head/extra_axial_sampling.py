"""Draws epidural and subdural hemorrhages, and hygromas."""

from collections.abc import Iterator

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.extra_axial import (
    Epidural,
    FalxSubdural,
    Hygroma,
    Subdural,
    TentorialSubdural,
)
from tfrecords_tools.phantom.head.geometry import direction
from tfrecords_tools.phantom.head.lesions import Blood, Lesion, fresh
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.story import Story
from tfrecords_tools.phantom.head.surfaces import inner_table

SMALL_EPIDURAL, THIN_SUBDURAL = 0.55, 0.45  # shares of those that are 2 to 5 mm thick
# Over a hemisphere, along the falx, on the tentorium, in the posterior fossa.
_SITES = (0.7, 0.14, 0.12, 0.04)


def epidurals(rng: np.random.Generator, head: Head, story: Story) -> Iterator[Lesion]:
    """Under the blow; small ones may be several."""
    small = rng.random() < SMALL_EPIDURAL
    count = 2 if small and rng.random() < 0.2 else 1
    for number in range(count):
        center = inner_table(head, story.near(rng, 9 + 25 * number))
        if small:
            extent, thickness = rng.uniform(8, 26), rng.uniform(2, 5.5)
        else:
            extent = rng.uniform(15, 34)
            thickness = min(extent * rng.uniform(0.4, 0.75), 26.0)
        yield Epidural(fresh(rng, mixed=0.25), center, extent, thickness)


def subdurals(rng: np.random.Generator, head: Head, story: Story) -> Iterator[Lesion]:
    """One, or two of different sites; old ones often on both sides."""
    site = int(rng.choice(4, p=_SITES))
    yield _subdural(rng, head, story, site, opposite=rng.random() < 0.5)
    if rng.random() < 0.3:
        other = int(rng.choice(4, p=_SITES))
        yield _subdural(rng, head, story, other, opposite=rng.random() < 0.5)


def hygromas(rng: np.random.Generator, head: Head, story: Story) -> Iterator[Lesion]:
    """CSF under the skull: of an operation, of a blow, of infants and of the old."""
    chance = {"operation": 0.5, "trauma": 0.06, "disease": 0.02}[story.cause]
    if rng.random() > chance + (0.08 if story.age < 2 or story.age > 75 else 0.0):
        return
    both = story.cause != "operation" and rng.random() < 0.5
    for opposite in (False, True)[: 1 + both]:
        center = _over_hemisphere(rng, head, story, opposite=opposite)
        blood = Blood(rng.uniform(5, 15))
        yield Hygroma(blood, center, rng.uniform(35, 75), rng.uniform(2.5, 10))


def _subdural(
    rng: np.random.Generator, head: Head, story: Story, site: int, *, opposite: bool
) -> Lesion:
    side = -story.side if opposite else story.side
    if site == 1:
        y, z = [(-70.0, 20.0), (-30.0, 60.0), (60.0, 25.0), (30.0, 65.0)][rng.integers(4)]
        center = (side * 3, y + rng.normal(0, 12), z + rng.normal(0, 10))
        return FalxSubdural(fresh(rng), center, rng.uniform(18, 55), rng.uniform(2, 6.5))
    if site == 2:
        center = (side * rng.uniform(18, 38), rng.uniform(25, 58), rng.uniform(-12, 0))
        return TentorialSubdural(fresh(rng), center, rng.uniform(20, 42), rng.uniform(2, 6))
    if site == 3:
        center = inner_table(head, direction(180 + side * rng.uniform(-40, -8), -26))
        return Subdural(fresh(rng), center, rng.uniform(15, 30), rng.uniform(2.5, 8), below=True)
    center = _over_hemisphere(rng, head, story, opposite=opposite)
    return _convex(rng, story, center)


def _convex(rng: np.random.Generator, story: Story, center: Point) -> Lesion:
    """Over a hemisphere: old ones are thick, since small ones are resorbed by then."""
    old = {"trauma": 0.25, "operation": 0.3, "disease": 0.6}[story.cause]
    old += 0.25 * (story.age > 65) - 0.2 * (story.age < 18)
    if rng.random() < old:
        blood = _aged(rng, center[1] + rng.uniform(-15, 15))
        return Subdural(blood, center, rng.uniform(40, 76), rng.uniform(6, 26))
    if rng.random() < THIN_SUBDURAL:
        return Subdural(fresh(rng), center, rng.uniform(16, 60), rng.uniform(2, 5))
    return Subdural(fresh(rng, mixed=0.25), center, rng.uniform(42, 76), rng.uniform(4, 15))


def _aged(rng: np.random.Generator, level: float) -> Blood:
    """Blood of days to weeks: subacute, sedimented, mixed, chronic, chronic with membranes."""
    age = rng.random()
    if age < 0.22:
        return Blood(rng.uniform(34, 54))
    if age < 0.36:  # a second hemorrhage, whose blood has sunk
        return Blood(rng.uniform(48, 66), rng.uniform(18, 34), level)
    if age < 0.52:
        return Blood(rng.uniform(40, 58), rng.uniform(20, 34))
    membranes = rng.uniform(12, 30) if rng.random() < 0.4 else 0.0
    return Blood(rng.uniform(17, 30), membranes=membranes)


def _over_hemisphere(
    rng: np.random.Generator, head: Head, story: Story, *, opposite: bool
) -> Point:
    """Over the cerebrum, on the side of the blow or opposite to it; or under the opening."""
    if story.cause == "operation":
        return inner_table(head, story.near(rng, 10))
    side = -story.side if opposite else story.side
    return inner_table(head, direction(side * rng.uniform(25, 155), rng.uniform(2, 62)))

"""What a blow or an operation does to a head besides hemorrhages.

Bruises of the scalp, fractures, air, fluid in the cells of the skull base, and swelling of the
brain belong together, and most of them occur without hemorrhage too.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.face import AIR, ETHMOID, MAXILLARY_SINUS
from tfrecords_tools.phantom.head.findings import Finding
from tfrecords_tools.phantom.head.geometry import Array, Points, Push, as_point, direction
from tfrecords_tools.phantom.head.patient import Cap, Head, Swelling
from tfrecords_tools.phantom.head.shapes import Ellipsoid, Shape, inside, mix, paint, soft_mask
from tfrecords_tools.phantom.head.skull import FRONTAL_SINUS, MASTOID, SPHENOID_SINUS
from tfrecords_tools.phantom.head.story import Story
from tfrecords_tools.phantom.head.surfaces import inner_table

FLUID, CLOT_IN_BONE = 38.0, 45.0  # HU
SUTURES_FIRM = 14.0  # years; a blow may open the sutures of younger heads
BONE_FROM, AIR_BELOW = 150.0, -300.0  # HU


@dataclass(frozen=True)
class Fracture:
    """A gap through bone: the part of a plane that lies in a ball.

    Attributes:
        center: a point of it on the inner table.
        normal: unit vector across the gap.
        reach: radius of the ball, mm.
        gap: its width, mm; hairlines are finer than a pixel.
    """

    center: Point
    normal: Point
    reach: float
    gap: float


@dataclass(frozen=True)
class Wound:
    """Changes that are painted over a slice of the head.

    Attributes:
        fractures: linear ones, and the edges of fragments.
        air: bubbles inside the skull, and in the scalp.
        wet: air spaces of the skull base, and the y behind which fluid fills them.
        swelling: of a hemisphere, which closes its sulci.
    """

    fractures: tuple[Fracture, ...] = ()
    air: tuple[Ellipsoid, ...] = ()
    wet: tuple[tuple[Shape, float], ...] = ()
    swelling: tuple[Push, ...] = ()


def paint_wound(wound: Wound, hu: Array, points: Points) -> None:
    """Paints fractures, fluid and air, in place."""
    for fracture in wound.fractures:
        _paint_fracture(fracture, hu, points)
    for cells, level in wound.wet:
        _paint_fluid(cells, level, hu, points)
    for bubble in wound.air:
        paint(hu, AIR, bubble, points, within=np.abs(hu) < BONE_FROM)


def _paint_fracture(fracture: Fracture, hu: Array, points: Points) -> None:
    ball = Ellipsoid(fracture.center, (fracture.reach,) * 3)
    window = ball.window(points, 0.0)
    if window is None:
        return
    xyz = tuple(a[window] for a in points.xyz)
    across = sum(n * (a - c) for n, a, c in zip(fracture.normal, xyz, fracture.center, strict=True))
    across = across + 1.2 * points.texture[window]
    width = _blur(fracture.normal, points)
    # A gap finer than the blur only lowers the density of the bone.
    share = inside(fracture.gap / 2 - np.abs(across), width) * min(1.0, 2 * fracture.gap / width)
    share *= ball.depth(*xyz) > 0
    mix(hu[window], CLOT_IN_BONE, share * (hu[window] > BONE_FROM))


def _blur(normal: Point, points: Points) -> float:
    """Partial volume of a plane: more, the more oblique it is to the slice; mm."""
    slanted = abs(float(np.dot(normal, np.cross(points.along, points.down)))) / points.pixel**2
    return points.pixel + points.thickness * min(slanted, 1.0)


def _paint_fluid(cells: Shape, level: float, hu: Array, points: Points) -> None:
    masked = soft_mask(cells, points, grow=3.0)
    if masked is not None:
        window, share = masked
        behind = inside(points.xyz[1][window] - level, points.pixel)
        mix(hu[window], FLUID, share * behind * (hu[window] < AIR_BELOW))


def sample_wound(
    rng: np.random.Generator, head: Head, story: Story, subtypes: Collection[str]
) -> tuple[Head, Wound]:
    """Draws what a blow or an operation did to a head and its scalp."""
    if story.cause == "disease":  # some fell when they lost consciousness
        return (_bruised(rng, head, story) if rng.random() < 0.06 else head), Wound()
    head = _bruised(rng, head, story) if rng.random() < 0.8 else head
    if story.cause == "operation":
        return head, Wound(air=_air(rng, head, story))
    wound = Wound()
    if rng.random() < (0.8 if "epidural" in subtypes else 0.35 if subtypes else 0.15):
        head, wound = _broken(rng, head, story), _gaps(rng, head, story)
    if head.swellings and rng.random() < 0.2:
        wound = replace(wound, air=(*wound.air, *_bubbles_in_scalp(rng, head, story)))
    return _swollen(rng, head, story, wound, 0.2 if subtypes else 0.07)


def _bruised(rng: np.random.Generator, head: Head, story: Story) -> Head:
    """One bruise at the blow, sometimes another elsewhere; or one that spread under the galea."""
    hu = rng.uniform(20, 72)
    places = [as_point(story.near(rng, 5))]
    if rng.random() < 0.2:
        places.append(as_point(direction(rng.uniform(-180, 180), rng.uniform(-10, 60))))
    if rng.random() < 0.15:
        cap = Cap(places[0], rng.uniform(50, 100), rng.uniform(3, 12), rng.uniform(0.3, 0.6))
        return replace(head, swellings=(Swelling(cap, hu),))
    caps = [
        Cap(place, rng.uniform(12, 38), float(np.exp(rng.uniform(0.9, 3.1))), rng.uniform(0.5, 1))
        for place in places
    ]
    return replace(head, swellings=tuple(Swelling(cap, hu) for cap in caps))


def _broken(rng: np.random.Generator, head: Head, story: Story) -> Head:
    """A depressed fracture, whose fragments the blow drove in; or sutures that it tore open."""
    if rng.random() < 0.3:
        place = as_point(story.near(rng, 3))
        head = replace(head, dent=Cap(place, rng.uniform(8, 18), rng.uniform(2, 9), 0.35))
    if head.age < SUTURES_FIRM and rng.random() < 0.3:
        head = replace(head, suture=head.suture + rng.uniform(0.7, 2.5))
    return head


def _gaps(rng: np.random.Generator, head: Head, story: Story) -> Wound:
    """One to three gaps that meet at the blow; those at the base reach the air cells."""
    outward = story.near(rng, 4)
    center = inner_table(head, outward)
    lines = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        normal = np.cross(outward, rng.normal(0, 1, 3))
        normal /= np.linalg.norm(normal)
        reach, gap = rng.uniform(15, 55), float(np.exp(rng.uniform(-0.7, 1.1)))
        lines.append(Fracture(center, as_point(normal), reach, gap))
    low = story.elevation < 12
    wet = _wet(rng, story) if rng.random() < (0.6 if low else 0.15) else ()
    air = _air(rng, head, story) if rng.random() < 0.3 else ()
    return Wound(tuple(lines), air, wet)


def _wet(rng: np.random.Generator, story: Story) -> tuple[tuple[Shape, float], ...]:
    """Fluid in the cells next to a fracture of the base; y of its level in the large ones."""
    if abs(np.cos(np.radians(story.azimuth))) < 0.8:
        mastoid = MASTOID if story.side > 0 else MASTOID.mirrored
        return (mastoid, -99.0), (SPHENOID_SINUS, rng.uniform(-24, -10))
    sinus, jaw = FRONTAL_SINUS, MAXILLARY_SINUS
    if story.side < 0:
        sinus, jaw = sinus.mirrored, jaw.mirrored
    return (sinus, -99.0), (jaw, rng.uniform(-70, -50)), (ETHMOID, rng.uniform(-75, -50))


def _air(rng: np.random.Generator, head: Head, story: Story) -> tuple[Ellipsoid, ...]:
    """Bubbles under the opening, along the falx, and a layer in front of the brain."""
    count = int(rng.integers(2, 9))
    bubbles = [_bubble(rng, inner_table(head, story.near(rng, 14)), 0.95) for _ in range(count)]
    if rng.random() < 0.25:
        for y in rng.uniform(-65, 45, rng.integers(1, 5)):
            bubbles.append(_bubble(rng, (rng.normal(0, 1.5), float(y), rng.uniform(30, 70)), 1.0))
    if rng.random() < 0.3:
        outward = direction(story.side * rng.uniform(3, 25), rng.uniform(5, 40))
        front = as_point(0.97 * np.array(inner_table(head, outward)))
        axes = (rng.uniform(4, 16), rng.uniform(2, 6), rng.uniform(6, 20))
        bubbles.append(Ellipsoid(front, axes))
    return tuple(bubbles)


def _bubble(rng: np.random.Generator, place: Point, inward: float) -> Ellipsoid:
    center = np.array(place) * inward * rng.uniform(0.98, 1.03)
    return Ellipsoid(as_point(center), as_point(rng.uniform(0.8, 3.2, 3)))


def _bubbles_in_scalp(rng: np.random.Generator, head: Head, story: Story) -> tuple[Ellipsoid, ...]:
    """Air that a laceration let in."""
    bubbles = []
    for _ in range(int(rng.integers(2, 10))):
        outward = story.near(rng, 7)
        out = head.skull + rng.uniform(0.3, 0.9) * (head.scalp + head.swellings[0].cap.thickness)
        place = np.array(inner_table(head, outward)) + out * outward
        bubbles.append(Ellipsoid(as_point(place), as_point(rng.uniform(0.7, 2.5, 3))))
    return tuple(bubbles)


def _swollen(
    rng: np.random.Generator, head: Head, story: Story, wound: Wound, chance: float
) -> tuple[Head, Wound]:
    """A swollen hemisphere, or brain: sulci closed, slightly darker, without blood."""
    if rng.random() > chance:
        return head, wound
    whole = rng.random() < 0.4
    center = (0.0 if whole else story.side * 40.0, 0.0, 25.0)
    shift = (0.0, 0.0, 0.0) if whole else (-story.side * rng.uniform(0.5, 4), 0.0, 0.0)
    push = Push(center, shift, 75.0 if whole else 50.0)
    axes = (75.0 if whole else 36.0, 85.0, 60.0)
    dark = Finding(Ellipsoid(center, axes), -rng.uniform(1, 6), 4.0, relative=True)
    head = replace(head, findings=(*head.findings, dark))
    return head, replace(wound, swelling=(push,))

"""Long objects beside the head: tubes, wires, fingers, arms, a frame, a collar, packs, braids.

All are rods with round ends. Lengths are in mm from the middle of the head: x to the patient's
left, y to the back, z up. Rods only fill air, so the first of overlapping rods remains.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Plane, as_point
from tfrecords_tools.phantom.head.shapes import Capsule, inside

AIR, TISSUE = -900.0, -600.0  # HU; objects are visible in air, and fade where the head begins
WIDTH, DEPTH = 82.0, 100.0  # mm; half axes of the mean outline of a head
FLESH, BONE = 45.0, 900.0  # HU


@dataclass(frozen=True)
class Rod:
    """A rod.

    Attributes:
        shape: its place and its radius.
        bore: radius of the air within, mm; 0 if it is solid.
        hu: of its wall.
    """

    shape: Capsule
    bore: float
    hu: float

    def paint(self, hu: Array, plane: Plane) -> None:
        """Paints it into the air of a slice, in place; `plane` has the middle of the head at 0."""
        window = self.shape.window(plane, plane.pixel)
        if window is not None:
            depth = self.shape.depth(*plane.crop(window).xyz)
            share = inside(depth.copy(), plane.pixel)
            if self.bore:
                share *= inside(max(self.shape.radii) - self.bore - depth, plane.pixel)
            put_in_air(hu[window], -1000 + (self.hu + 1000) * share)


def put_in_air(hu: Array, still: Array) -> None:
    """Puts objects into the air around the head, in place."""
    hu += (still + 1000) * np.clip((TISSUE - hu) / (TISSUE - AIR), 0, 1)


def sample_rods(rng: np.random.Generator) -> tuple[Rod, ...]:
    """Draws the rods of a study: often a wire or a tube, rarely anything else."""
    rods = [rod for _ in range(rng.poisson(0.7)) for rod in _wire_or_tube(rng)]
    for chance, sample in _RARE:
        if rng.random() < chance:
            rods += sample(rng)
    return tuple(rods)


def _wire_or_tube(rng: np.random.Generator) -> Iterator[Rod]:
    wire = rng.random() < 0.6
    radius = rng.uniform(0.5, 1.2) if wire else rng.uniform(2.5, 6)
    bore = 0.0 if wire else radius - rng.uniform(0.8, 1.5)
    hu = rng.uniform(1000, 6000) if wire else rng.uniform(-50, 300)
    middle = _beside(rng.uniform(0, 360), rng.uniform(1.02, 1.2), 0.0)
    way = np.array([*rng.normal(0, 0.3, 2), 1.0])
    yield Rod(_capsule(middle - 150 * way, middle + 150 * way, radius), bore, hu)


def _hand(rng: np.random.Generator) -> Iterator[Rod]:
    """Fingers side by side, which hold the head or a mask."""
    azimuth, low = rng.choice([-1, 1]) * rng.uniform(40, 140), rng.uniform(-110, 40)
    radius, lean = rng.uniform(7, 10), rng.normal(0, 0.5)
    rods = []
    for finger in range(rng.integers(2, 6)):
        start = _beside(azimuth + 13 * finger, rng.uniform(1.1, 1.2), low + rng.normal(0, 8))
        stop = _beside(azimuth + 13 * finger, 1.06, low + rng.uniform(50, 80))
        stop += [0, 25 * lean, 0]
        rods += _limb(start, stop, radius, [(0.0, 0.4)])
    yield from _bones_first(rods)


def _arm(rng: np.random.Generator) -> Iterator[Rod]:
    """A forearm beside or above the head: two bones in flesh."""
    side, radius = rng.choice([-1, 1]), rng.uniform(24, 36)
    place = np.array([side * (WIDTH + radius + rng.uniform(2, 15)), rng.uniform(-40, 60), 0.0])
    way = np.array([rng.normal(0, 0.2), rng.normal(0, 0.5), 1.0])
    rods = _limb(place - 140 * way, place + 140 * way, radius, [(-0.4, 0.2), (0.4, 0.22)])
    yield from _bones_first(rods)


def _frame(rng: np.random.Generator) -> Iterator[Rod]:
    """Four posts of a stereotactic frame, and the pins from them to the skull."""
    radius, hu = rng.uniform(4, 7), rng.uniform(600, 3500)
    height = rng.uniform(0, 50)
    for azimuth in (-140, -45, 45, 140):
        post = _beside(azimuth + rng.normal(0, 5), rng.uniform(1.25, 1.35), height)
        yield Rod(_capsule(post - [0, 0, 120], post - [0, 0, -15], radius), 0.0, hu)
        yield Rod(_capsule(post, post * [0.7, 0.7, 1.0], 1.5), 0.0, rng.uniform(3000, 9000))


def _collar(rng: np.random.Generator) -> Iterator[Rod]:
    """A stiff shell around neck and chin, with foam within."""
    middle, radius = np.array([0.0, rng.uniform(-5, 15), 0.0]), rng.uniform(72, 90)
    low, high = middle - [0, 0, 220], middle - [0, rng.uniform(0, 25), 55 + radius]
    wall = rng.uniform(2, 4)
    yield Rod(_capsule(low, high, radius), radius - wall, rng.uniform(-250, 100))
    yield Rod(_capsule(low, high, radius - wall), radius - wall - 10, rng.uniform(-940, -850))


def _mask(rng: np.random.Generator) -> Iterator[Rod]:
    """An oxygen mask over nose and mouth, and the tube that leads to it."""
    radius = rng.uniform(28, 38)
    high, low = np.array([0.0, -88.0, -62.0]), np.array([0.0, -98.0, -100.0])
    yield Rod(_capsule(low, high, radius), radius - rng.uniform(1, 2.5), rng.uniform(-100, 120))
    away = np.array([rng.normal(0, 40), -150.0, -150.0])
    yield Rod(_capsule(low - [0, radius, 0], away, 8), 6.5, rng.uniform(-50, 200))


def _tubes_in_mouth_and_nose(rng: np.random.Generator) -> Iterator[Rod]:
    for x, y, z in ((rng.normal(0, 10), -105.0, -95.0), (rng.choice([-8, 8]), -112.0, -62.0)):
        if rng.random() < 0.7:
            radius = rng.uniform(2.5, 6)
            start, end = np.array([x, y, z]), np.array([x / 2, -25.0, z - 35])
            outside = np.array([x * 3, -170.0, z + rng.normal(0, 30)])
            for stop in (end, outside):
                yield Rod(_capsule(start, stop, radius), radius - 1.2, rng.uniform(50, 400))


def _pack(rng: np.random.Generator) -> Iterator[Rod]:
    """A pack of ice or a wet towel against the scalp."""
    azimuth, radius = rng.uniform(-180, 180), rng.uniform(14, 30)
    middle = _beside(azimuth, 1.04, rng.uniform(-40, 60))
    along = _beside(azimuth + 90, 0.5, rng.normal(0, 30))
    hu = rng.uniform(-110, -60) if rng.random() < 0.5 else rng.uniform(-400, 10)
    yield Rod(_capsule(middle - along, middle + along, radius), 0.0, hu)


def _braids(rng: np.random.Generator) -> Iterator[Rod]:
    """Hair in braids along the scalp, some with a bead or a clip."""
    for _ in range(rng.integers(6, 20)):
        azimuth, radius = 180 + rng.normal(0, 60), rng.uniform(2, 5)
        top = _beside(azimuth + rng.normal(0, 15), rng.uniform(0.7, 1.0), rng.uniform(30, 90))
        end = _beside(azimuth, rng.uniform(1.02, 1.12), rng.uniform(-90, 0))
        yield Rod(_capsule(end, top, radius), 0.0, rng.uniform(-600, -150))
        if rng.random() < 0.2:
            clip = _capsule(end, end + rng.normal(0, 5, 3), rng.uniform(0.7, 2.5))
            yield Rod(clip, 0.0, rng.uniform(0, 5000))


Sampler = Callable[[np.random.Generator], Iterator[Rod]]
_RARE: tuple[tuple[float, Sampler], ...] = (
    (0.03, _hand),
    (0.01, _arm),
    (0.012, _frame),
    (0.05, _collar),
    (0.04, _mask),
    (0.07, _tubes_in_mouth_and_nose),
    (0.02, _pack),
    (0.04, _braids),
)


def _limb(
    start: np.ndarray, stop: np.ndarray, radius: float, bones: list[tuple[float, float]]
) -> list[Rod]:
    """Flesh around bones, each given by its place and its radius relative to the limb's."""
    across = np.cross(stop - start, [0.3, 0.4, 0.1])
    across *= radius / np.linalg.norm(across)
    rods = [
        Rod(_capsule(start + at * across, stop + at * across, thick * radius), 0.0, BONE)
        for at, thick in bones
    ]
    return [*rods, Rod(_capsule(start, stop, radius), 0.0, FLESH)]


def _bones_first(rods: list[Rod]) -> list[Rod]:
    return sorted(rods, key=lambda rod: -rod.hu)


def _beside(azimuth: float, away: float, height: float) -> np.ndarray:
    """A point beside the mean head; `away` is 1 on its outline. The azimuth is 0 in front."""
    angle = np.radians(azimuth)
    return np.array([away * WIDTH * np.sin(angle), -away * DEPTH * np.cos(angle), height])


def _capsule(start: np.ndarray, end: np.ndarray, radius: float) -> Capsule:
    return Capsule(as_point(start), as_point(end), (float(radius), float(radius)))

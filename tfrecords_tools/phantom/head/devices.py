"""Metal in and on a head, and the openings through which surgeons put it there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import (
    Array,
    Capsule,
    Ellipsoid,
    Point,
    Points,
    Shape,
    inside,
    mix,
    paint,
    soft_mask,
)
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.skull import dental_arch, inner_table

SCAR, KERF = 30.0, 1.4  # HU in an opening; mm, width of the cut about a bone flap
BONE_FROM = 150.0  # HU; an opening leaves what is softer as it is
DENSEST = 26000.0  # HU of platinum and amalgam, where a file can say it


@dataclass(frozen=True)
class Metal:
    """A piece and its HU."""

    shape: Shape
    hu: float


@dataclass(frozen=True)
class Devices:
    """What was done to a head.

    Attributes:
        metal: fillings, clips, coils, plates, staples, electrodes.
        holes: through the skull.
        flap: whose edge was cut through the skull; None in most heads.
    """

    metal: tuple[Metal, ...]
    holes: tuple[Capsule, ...]
    flap: Ellipsoid | None


def sample_devices(rng: np.random.Generator, head: Head) -> Devices:
    """Draws what a head bears, whether it bleeds or not."""
    metal: list[Metal] = []
    if rng.random() < 0.5:
        metal += _fillings(rng)
    if rng.random() < 0.03:
        metal.append(_clip(rng) if rng.random() < 0.6 else _coil(rng))
    if rng.random() < 0.02:
        metal += _electrodes(rng, head)
    if rng.random() > 0.04:
        return Devices(tuple(metal), (), None)
    middle = _direction(rng.choice([-1, 1]) * rng.uniform(30, 110), rng.uniform(15, 50))
    flap, holes = _craniotomy(rng, head, middle)
    metal += [*_plates(rng, holes), *_staples(rng, head, middle)]
    return Devices(tuple(metal), holes, flap)


def set_devices(devices: Devices, hu: Array, points: Points) -> None:
    """Opens the skull and sets in the metal, in place."""
    for hole in devices.holes:
        found = soft_mask(hole, points)
        if found is not None:
            window, share = found
            _open(hu[window], share)
    if devices.flap is not None:
        about = points.window(*devices.flap.bounds)
        if about is not None:
            depth = devices.flap.depth(*(a[about] for a in points.xyz))
            _open(hu[about], inside(KERF / 2 - np.abs(depth), points.pixel))
    for piece in devices.metal:
        paint(hu, piece.hu, piece.shape, points)


def _open(hu: Array, share: Array) -> None:
    mix(hu, SCAR, share * (hu > BONE_FROM))


def _fillings(rng: np.random.Generator) -> Iterator[Metal]:
    """Along the arch of the upper teeth, which only the lowest slices reach."""
    for angle in rng.uniform(-75, 75, rng.integers(2, 8)):
        axes = rng.uniform(1.2, 3.2, 3)
        shape = Ellipsoid((*dental_arch(angle), -90.0), (axes[0], axes[1], axes[2]))
        yield Metal(shape, float(rng.uniform(6000, DENSEST)))


def _clip(rng: np.random.Generator) -> Metal:
    """On an artery of the circle of Willis."""
    start = np.array([rng.uniform(-22, 22), rng.uniform(-30, -8), rng.uniform(-26, -16)])
    way = rng.normal(0, 1, 3)
    end = start + way / np.linalg.norm(way) * rng.uniform(6, 10)
    return Metal(Capsule(_point(start), _point(end), (1.0, 1.0)), float(rng.uniform(5000, 14000)))


def _coil(rng: np.random.Generator) -> Metal:
    center = (float(rng.uniform(-20, 20)), float(rng.uniform(-30, 2)), float(rng.uniform(-26, -16)))
    axes = rng.uniform(2, 5, 3)
    shape = Ellipsoid(center, (axes[0], axes[1], axes[2]))
    return Metal(shape, float(rng.uniform(12000, DENSEST)))


def _electrodes(rng: np.random.Generator, head: Head) -> Iterator[Metal]:
    """Of an electroencephalogram, about the scalp."""
    for azimuth in np.arange(0, 360, 45) + rng.uniform(0, 45):
        for elevation in (5.0, 40.0):
            place = _on_scalp(head, _direction(azimuth + rng.normal(0, 4), elevation))
            yield Metal(Ellipsoid(_point(place), (2.5, 2.5, 2.5)), float(rng.uniform(800, 5000)))


def _craniotomy(
    rng: np.random.Generator, head: Head, middle: np.ndarray
) -> tuple[Ellipsoid, tuple[Capsule, ...]]:
    """A bone flap and the burr holes at its edge."""
    radius = float(rng.uniform(18, 35))
    center = np.array(inner_table(head, middle))
    holes = []
    for turn in np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 2 * np.pi):
        edge = center + radius * _around(middle, turn)
        outward = edge / np.linalg.norm(edge)
        table = np.array(inner_table(head, outward))
        ends = _point(table - 2 * outward), _point(table + (head.skull + 2) * outward)
        holes.append(Capsule(*ends, (5.5, 5.5)))
    return Ellipsoid(_point(center), (radius, radius, radius)), tuple(holes)


def _plates(rng: np.random.Generator, holes: tuple[Capsule, ...]) -> Iterator[Metal]:
    """Of titanium, over the burr holes."""
    for hole in holes:
        top = np.array(hole.end) * (1 - 1.5 / np.linalg.norm(hole.end))
        along = 8 * _around(top / np.linalg.norm(top), rng.uniform(0, 2 * np.pi))
        rod = Capsule(_point(top - along), _point(top + along), (0.5, 0.5))
        yield Metal(rod, float(rng.uniform(4000, 9000)))


def _staples(rng: np.random.Generator, head: Head, middle: np.ndarray) -> Iterator[Metal]:
    """Along a cut through the skin, 7 mm apart."""
    along = _around(middle, rng.uniform(0, 2 * np.pi))
    for angle in np.radians(np.arange(-24, 25, 4)):
        direction = np.cos(angle) * middle + np.sin(angle) * along
        place = _on_scalp(head, direction)
        across = 2.5 * np.cross(direction, along)
        rod = Capsule(_point(place - across), _point(place + across), (0.4, 0.4))
        yield Metal(rod, float(rng.uniform(6000, 12000)))


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """A unit vector; degrees from the front to the patient's left, and upwards."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])


def _around(middle: np.ndarray, turn: float) -> np.ndarray:
    """A unit vector across another."""
    level = np.cross(middle, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    return np.cos(turn) * level + np.sin(turn) * np.cross(middle, level)


def _on_scalp(head: Head, direction: np.ndarray) -> np.ndarray:
    return np.array(inner_table(head, direction)) + (head.skull + head.scalp) * direction


def _point(place: np.ndarray) -> Point:
    x, y, z = (float(v) for v in place)
    return x, y, z

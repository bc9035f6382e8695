"""Metal in and on a head, and the openings that surgery left in the skull."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.face import dental_arch
from tfrecords_tools.phantom.head.geometry import Array, Plane, Points, as_point, direction
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import (
    Capsule,
    Ellipsoid,
    Shape,
    inside,
    mix,
    paint,
    soft_mask,
)
from tfrecords_tools.phantom.head.story import Story
from tfrecords_tools.phantom.head.surfaces import inner_table, scalp_point
from tfrecords_tools.phantom.head.windows import Window

SCAR, KERF = 30.0, 1.4  # HU in an opening; width in mm of the saw cut around a bone flap
BONE_FROM = 150.0  # HU; an opening does not change softer tissue
DENSEST = 26000.0  # HU of platinum and amalgam; only extended scales can store it


@dataclass(frozen=True)
class Metal:
    """A piece of metal and its HU."""

    shape: Shape
    hu: float


@dataclass(frozen=True)
class Devices:
    """Devices and openings of a head.

    Attributes:
        metal: fillings, clips, coils, plates, staples, electrodes.
        holes: burr holes through the skull.
        flap: its edge is a cut through the skull; None in most heads.
    """

    metal: tuple[Metal, ...]
    holes: tuple[Capsule, ...]
    flap: Ellipsoid | None


def sample_devices(rng: np.random.Generator, head: Head, story: Story) -> Devices:
    """Draws the devices of a head, independently of its hemorrhages."""
    metal: list[Metal] = []
    if rng.random() < 0.5:
        metal += _fillings(rng)
    if rng.random() < 0.03:
        metal.append(_clip(rng) if rng.random() < 0.6 else _coil(rng))
    if rng.random() < 0.02:
        metal += _electrodes(rng, head)
    if story.cause == "operation":
        middle = direction(story.azimuth, story.elevation)
    elif rng.random() < 0.03:  # an old one
        middle = direction(rng.choice([-1, 1]) * rng.uniform(30, 110), rng.uniform(15, 50))
    else:
        return Devices(tuple(metal), (), None)
    flap, holes = _craniotomy(rng, head, middle)
    metal += [*_plates(rng, holes), *_staples(rng, head, middle)]
    return Devices(tuple(metal), holes, flap)


def paint_devices(devices: Devices, hu: Array, points: Points) -> None:
    """Opens the skull and paints the metal, in place."""
    for hole in devices.holes:
        masked = soft_mask(hole, points)
        if masked is not None:
            window, share = masked
            _open(hu[window], share)
    if devices.flap is not None:
        _cut_around(devices.flap, hu, points)
    for piece in devices.metal:
        paint(hu, piece.hu, piece.shape, points)


def windows_around(devices: Devices, plane: Plane) -> Iterator[Window]:
    """Windows of a slice around all metal in it."""
    for piece in devices.metal:
        window = piece.shape.window(plane, plane.pixel)
        if window is not None:
            yield window


def _cut_around(flap: Ellipsoid, hu: Array, points: Points) -> None:
    window = flap.window(points, KERF)
    if window is not None:
        depth = flap.depth(*(a[window] for a in points.xyz))
        _open(hu[window], inside(KERF / 2 - np.abs(depth), points.pixel))


def _open(hu: Array, share: Array) -> None:
    mix(hu, SCAR, share * (hu > BONE_FROM))


def _fillings(rng: np.random.Generator) -> Iterator[Metal]:
    """Along the upper dental arch, which only the lowest slices reach."""
    for angle in rng.uniform(-75, 75, rng.integers(2, 8)):
        axes = as_point(rng.uniform(1.2, 3.2, 3))
        shape = Ellipsoid((*dental_arch(angle), -90.0), axes)
        yield Metal(shape, rng.uniform(6000, DENSEST))


def _clip(rng: np.random.Generator) -> Metal:
    """On an artery of the circle of Willis."""
    start = np.array([rng.uniform(-22, 22), rng.uniform(-30, -8), rng.uniform(-26, -16)])
    way = rng.normal(0, 1, 3)
    end = start + way / np.linalg.norm(way) * rng.uniform(6, 10)
    return Metal(Capsule(as_point(start), as_point(end), (1.0, 1.0)), rng.uniform(5000, 14000))


def _coil(rng: np.random.Generator) -> Metal:
    center = (rng.uniform(-20, 20), rng.uniform(-30, 2), rng.uniform(-26, -16))
    shape = Ellipsoid(center, as_point(rng.uniform(2, 5, 3)))
    return Metal(shape, rng.uniform(12000, DENSEST))


def _electrodes(rng: np.random.Generator, head: Head) -> Iterator[Metal]:
    """EEG electrodes, around the scalp."""
    for azimuth in np.arange(0, 360, 45) + rng.uniform(0, 45):
        for elevation in (5.0, 40.0):
            place = scalp_point(head, direction(azimuth + rng.normal(0, 4), elevation))
            yield Metal(Ellipsoid(place, (2.5, 2.5, 2.5)), rng.uniform(800, 5000))


def _craniotomy(
    rng: np.random.Generator, head: Head, middle: np.ndarray
) -> tuple[Ellipsoid, tuple[Capsule, ...]]:
    """A bone flap and the burr holes at its edge."""
    radius = rng.uniform(18, 35)
    center = np.array(inner_table(head, middle))
    holes = []
    for turn in np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 2 * np.pi):
        edge = center + radius * _around(middle, turn)
        outward = edge / np.linalg.norm(edge)
        table = np.array(inner_table(head, outward))
        ends = as_point(table - 2 * outward), as_point(table + (head.skull + 2) * outward)
        holes.append(Capsule(*ends, (5.5, 5.5)))
    return Ellipsoid(as_point(center), (radius, radius, radius)), tuple(holes)


def _plates(rng: np.random.Generator, holes: tuple[Capsule, ...]) -> Iterator[Metal]:
    """Titanium plates over the burr holes."""
    for hole in holes:
        top = np.array(hole.end) * (1 - 1.5 / np.linalg.norm(hole.end))
        along = 8 * _around(top / np.linalg.norm(top), rng.uniform(0, 2 * np.pi))
        rod = Capsule(as_point(top - along), as_point(top + along), (0.5, 0.5))
        yield Metal(rod, rng.uniform(4000, 9000))


def _staples(rng: np.random.Generator, head: Head, middle: np.ndarray) -> Iterator[Metal]:
    """Along a skin incision, 7 mm apart."""
    along = _around(middle, rng.uniform(0, 2 * np.pi))
    for angle in np.radians(np.arange(-24, 25, 4)):
        outward = np.cos(angle) * middle + np.sin(angle) * along
        place = np.array(scalp_point(head, outward))
        across = 2.5 * np.cross(outward, along)
        rod = Capsule(as_point(place - across), as_point(place + across), (0.4, 0.4))
        yield Metal(rod, rng.uniform(6000, 12000))


def _around(middle: np.ndarray, turn: float) -> np.ndarray:
    """A unit vector perpendicular to another, at an angle of `turn` radians around it."""
    level = np.cross(middle, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    return np.cos(turn) * level + np.sin(turn) * np.cross(middle, level)

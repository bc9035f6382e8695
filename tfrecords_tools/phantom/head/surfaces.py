"""The surfaces of a head: scalp, outer and inner table of the skull, and skull base."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from tfrecords_tools.phantom.head import skull_base
from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.geometry import Array, Plane, Points, as_point
from tfrecords_tools.phantom.head.patient import MEAN_AXES, Cap, Head
from tfrecords_tools.phantom.head.windows import Window

HIGH = 35.0  # mm; further up no skull base is near
ABSENT = 99.0  # mm; the distance from a surface that a head does not have


@dataclass(frozen=True, eq=False)
class Distances:
    """Smooth distances in a slice, in mm.

    Attributes:
        scalp: below the surface of the head.
        swelling: by which a bruise thickens the scalp.
        bone: below the outer table.
        brain: inside the inner table.
        floor: above the skull base.
        floor_edge: width over which the skull base blurs.
        edge: width over which the tables blur; see `Points.edge`.
    """

    scalp: Array
    swelling: Array
    bone: Array
    brain: Array
    floor: Array
    floor_edge: Array
    edge: Array

    def crop(self, window: Window) -> "Distances":
        """The same in a part of the slice."""
        return Distances(
            **{field.name: getattr(self, field.name)[window] for field in fields(self)}
        )


def window_around(head: Head, plane: Plane) -> Window:
    """A window of a slice around the scalp, but not around what protrudes from it."""
    reach = plane.thickness + max((x.cap.thickness for x in head.swellings), default=0.0)
    reach += max(0.0, -head.opening.thickness) if head.opening is not None else 0.0
    return plane.around(lambda x, y, z: _below_scalp(head, x, y, z) + reach)


def distances(head: Head, points: Points) -> Distances:
    """The distance of each pixel from scalp, tables and skull base."""
    whole = points.smooth(partial(_below_scalp, head))
    if head.opening is not None:
        whole -= points.smooth(partial(cap_height, head.opening))
    swelling = np.zeros_like(whole)
    for bruise in head.swellings:
        np.maximum(swelling, points.smooth(partial(cap_height, bruise.cap)), out=swelling)
    bone = whole - points.smooth(partial(_scalp_thickness, head))
    if head.dent is not None:
        bone -= points.smooth(partial(cap_height, head.dent))
    brain = bone - points.smooth(partial(_skull_thickness, head)) - 0.5 * points.texture
    edge = points.edge(whole)
    return Distances(whole + swelling, swelling, bone, brain, *_floor(head, points), edge)


def _floor(head: Head, points: Points) -> tuple[Array, Array]:
    """Distance above the skull base, and the width over which it blurs."""
    if not head.has_base or float(points.xyz[2].min()) > HIGH:
        return np.full(points.shape, ABSENT, np.float32), np.ones(points.shape, np.float32)
    floor, width = points.above(partial(skull_base.floor_height, head.base))
    return floor + head.base.rough * points.texture, width


def inner_table(head: Head, direction: np.ndarray) -> Point:
    """The point at which a ray from the origin meets the inner table, mm."""
    return _meeting(
        direction,
        lambda x, y, z: (
            _below_scalp(head, x, y, z)
            - _scalp_thickness(head, x, y, z)
            - _skull_thickness(head, x, y, z)
        ),
    )


def scalp_point(head: Head, direction: np.ndarray) -> Point:
    """The point at which a ray from the origin leaves the head, mm."""
    return _meeting(direction, partial(_below_scalp, head))


def _meeting(direction: np.ndarray, depth: Callable[[Array, Array, Array], Array]) -> Point:
    """Where along a ray from the origin a depth is 0."""
    reach = np.linspace(30, 110, 161, dtype=np.float32)
    x, y, z = (reach * float(v) for v in direction)
    last = int(np.argmin(np.abs(depth(x, y, z))))
    return as_point(np.array([x[last], y[last], z[last]]))


def _below_scalp(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Depth below the surface of the head along the ray to the origin, mm."""
    a, b, c = MEAN_AXES
    width = a * (1 + head.taper * y / b) * (1 + head.asymmetry * np.sign(x))
    width = width * (1 + head.skew * np.sign(x) * y / b)
    width = width * (1 - 0.10 * np.clip(-z - 15, 0, 40) / 40 * (y < 0) * np.clip(-y / 60, 0, 1))
    # Below the origin the head continues as face and neck, so z counts less there.
    height = np.where(z < 0, 0.42 * z, z)
    p = head.squareness
    level = (np.abs(x) / width) ** p + np.abs(y / b) ** p + np.abs(height / c) ** p
    distance = np.sqrt(x * x + y * y + z * z)
    return distance * (np.maximum(level, 1e-6) ** (-1 / p) - 1)


def _scalp_thickness(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Thickness of the scalp, mm; larger over the temporal muscle and the neck."""
    temporal = np.exp(-(((y + 22) / 26) ** 2)) * np.clip((28 - z) / 30, 0, 1)
    temporal = temporal * np.clip((np.abs(x) - 35) / 20, 0, 1)
    neck = np.clip((-z - 30) / 35, 0, 1) * np.clip((y - 30) / 40, 0, 1)
    return head.scalp + head.temporal * temporal + 16 * neck


def cap_height(cap: Cap, x: Array, y: Array, z: Array) -> Array:
    """The thickness of a cap where the ray from the origin meets it, mm."""
    a, b, c = cap.toward
    cosine = (a * x + b * y + c * z) / np.maximum(np.sqrt(x * x + y * y + z * z), 1)
    away = np.degrees(np.arccos(np.clip(cosine, -1, 1))) / cap.extent
    rise = np.clip((1 - away) / cap.margin, 0, 1)
    return cap.thickness * rise * (2 - rise)


def _skull_thickness(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Thickness of the vault, mm: thinner at the temples, with ridges at forehead and occiput."""
    temple = np.exp(-(((y + 15) / 35) ** 2)) * np.clip((np.abs(x) - 40) / 20, 0, 1)
    crest = np.exp(-((x / 6) ** 2)) * np.where(y > 0, 5.0, 3.0) * (np.abs(y) > 50) * (z < 40)
    if head.hyperostosis:
        frontal = np.clip((-y - 35) / 30, 0, 1) * np.clip(np.abs(x) / 12, 0, 1)
        crest = crest + head.hyperostosis * frontal * np.clip((60 - z) / 20, 0, 1)
    return head.skull * (1 - 0.35 * temple * (z < 30)) + crest + 0.05 * np.clip(-z, 0, 50)

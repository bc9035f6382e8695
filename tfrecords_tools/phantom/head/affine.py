"""Coordinates of a slice as functions of a point in the head, in plain numbers.

A slice asks where some hundred shapes lie. For three numbers, NumPy would take ten times as long.
"""

import math
from typing import NamedTuple

Point = tuple[float, float, float]  # x, y, z in mm


class Affine(NamedTuple):
    """A coordinate that is an affine function of x, y and z: its gradient, and its value at 0."""

    x: float
    y: float
    z: float
    offset: float

    def at(self, point: Point) -> float:
        """The coordinate of a point."""
        return self.x * point[0] + self.y * point[1] + self.z * point[2] + self.offset

    @property
    def steepest(self) -> float:
        """By how much it varies at most per mm."""
        return math.hypot(self.x, self.y, self.z)


def per_step(toward: Point, step: Point, origin: Point) -> Affine:
    """A coordinate that grows in one direction only, by 1 per step, and is 0 at the origin."""
    scale = dot(toward, step)
    gradient = toward[0] / scale, toward[1] / scale, toward[2] / scale
    return Affine(*gradient, -dot(gradient, origin))


def dot(a: Point, b: Point) -> float:
    """The inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Point, b: Point) -> Point:
    """The vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def unit(a: Point) -> Point:
    """The vector of length 1 in the same direction."""
    length = math.hypot(*a)
    return a[0] / length, a[1] / length, a[2] / length

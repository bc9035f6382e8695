"""The skull base: three fossae with ridges between them, different in every head.

A slice cuts the petrous ridges, the orbital roofs and the floors of the fossae at a slant, so that
bone and brain share pixels: hazy dense spots that resemble blood.
"""

import math
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array

PLATE, CLIVUS, PETROUS, WING, OCCIPITAL = 1.8, 9.0, 15.0, 5.0, 3.0  # mm, thickness of the bone


@dataclass(frozen=True)
class SkullBase:
    """The shape of a skull base; lengths are in mm.

    Attributes:
        height: by which all of it is raised.
        slant: by which the left side is higher, 50 mm from the middle.
        roof: height of the orbital roofs above the floor between them.
        pole: by which the temporal fossae reach in front of the sphenoid wings' inner ends.
        ridge: z of the petrous ridges.
        ridge_slope: y by x of the petrous ridges.
        eminence: by which their middle is higher than their ends.
        tegmen: width of their flat front; a slice that grazes it shows a hazy spot.
        rough: deviation of the impressions that gyri leave.
    """

    height: float
    slant: float
    roof: float
    pole: float
    ridge: float
    ridge_slope: float
    eminence: float
    tegmen: float
    rough: float


def sample_base(rng: np.random.Generator) -> SkullBase:
    """Draws a skull base; the spreads cover the real heads that were looked at."""
    return SkullBase(
        height=rng.normal(0, 3),
        slant=rng.normal(0, 1.5),
        roof=rng.uniform(5, 14),
        pole=rng.uniform(20, 32),
        ridge=rng.normal(-29, 3),
        ridge_slope=rng.uniform(0.38, 0.7),
        eminence=rng.uniform(0, 4),
        tegmen=rng.uniform(9, 18),
        rough=rng.uniform(0.4, 1.8),
    )


def floor_height(base: SkullBase, x: Array, y: Array) -> Array:
    """Height of the floor of the skull, mm: each fossa is lower than the one in front of it."""
    side = np.abs(x)
    height = _anterior(base, x, y)
    height = height + (_middle(side, y) - height) * _behind_wing(base, side, y)
    back = -68 + 0.0075 * (x * x + (y - 34) ** 2)
    beyond = _behind_ridge(base, side, y)
    height = height + (back - height) * np.clip(beyond / 10, 0, 1)
    crest = _crest(base, side, beyond)
    height = height + (_ridge(base, side) - height) * crest
    return height + base.height + base.slant / 50 * x


def thickness(base: SkullBase, x: Array, y: Array) -> Array:
    """Thickness of the bone under the floor, mm."""
    side = np.abs(x)
    beyond = _behind_ridge(base, side, y)
    petrous = np.exp(-(((beyond + 3) / 9) ** 2)) * np.clip((side - 6) / 8, 0, 1)
    clivus = np.clip((14 - side) / 4, 0, 1) * np.clip((y + 8) / 6, 0, 1)
    wing = np.exp(-(((y - _wing(base, side)) / 6) ** 2))
    added = np.maximum(CLIVUS * clivus * (beyond < 14), OCCIPITAL * np.clip(beyond / 10, 0, 1))
    return PLATE + np.maximum(added, np.maximum(PETROUS * petrous, WING * wing))


def _anterior(base: SkullBase, x: Array, y: Array) -> Array:
    """Orbital roofs on both sides of the cribriform plate, which rise to the frontal bone."""
    roofs = (1 - np.exp(-((x / 15) ** 2))) * np.exp(-(((y + 62) / 27) ** 2))
    rim = np.clip((np.abs(x) - 40) / 16, 0, 1) + np.clip((-y - 70) / 14, 0, 1)
    return -21 - 6 * np.exp(-((x / 8) ** 2)) + base.roof * roofs + 7 * rim


def _middle(side: Array, y: Array) -> Array:
    """The temporal fossae, with the sella and the clivus between them."""
    bowl = 18 * np.clip((25 - side) / 12, 0, 1) ** 2 + 0.02 * np.clip(side - 40, -12, 30) ** 2
    return bowl - 48 - np.clip(y + 3, 0, 40) * np.clip((20 - side) / 6, 0, 1)


def _wing(base: SkullBase, side: Array) -> Array:
    """Where in y the sphenoid wing lies: the temporal poles bulge forward."""
    return -17 - base.pole * np.exp(-(((side - 42) / 17) ** 2))


def _behind_wing(base: SkullBase, side: Array, y: Array) -> Array:
    return np.clip((y - _wing(base, side)) / 8, 0, 1)


def _behind_ridge(base: SkullBase, side: Array, y: Array) -> Array:
    """Distance behind the petrous ridge, mm."""
    return (y + 2 - base.ridge_slope * side) / math.hypot(1, base.ridge_slope)


def _crest(base: SkullBase, side: Array, beyond: Array) -> Array:
    """0..1; the front of a petrous bone is flatter than its back."""
    width = np.where(beyond < 0, base.tegmen, 5)
    return np.exp(-((beyond / width) ** 2)) * np.clip((side - 9) / 9, 0, 1)


def _ridge(base: SkullBase, side: Array) -> Array:
    eminence = base.eminence * np.exp(-(((side - 34) / 8) ** 2))
    return base.ridge + eminence - 5 * np.clip((side - 50) / 15, 0, 1)

"""The folds of the dura, falx and tentorium, and the sinuses in them."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import Capsule, Ellipsoid, inside, join, mix, sheet

FAR = np.float32(99)  # mm; the distance from a surface that is absent
TENT_SLOPE = 0.4  # mm of height per mm
FALX_EDGE = 45.0  # mm; the highest point of the free edge of the falx
STRAIGHT_SINUS = Capsule((0.0, 36.0, 6.0), (0.0, 74.0, -10.0), (1.8, 2.8))
GREAT_VEIN = Capsule((0.0, 14.0, 7.0), (0.0, 36.0, 6.0), (1.0, 1.8))
TORCULA = Ellipsoid((0.0, 82.0, -12.0), (9.0, 5.0, 7.0))


@dataclass(frozen=True, eq=False)
class Dura:
    """The folds of the dura, which divide the brain.

    Attributes:
        falx: mm to the left of the falx, or of its continuation where it ends.
        falx_reach: 0..1, where the falx exists.
        fissure: 0..1, where a fissure divides the hemispheres, with or without the falx in it.
        tentorium: mm above the tentorium.
        below: 0..1, below it: cerebellum and brainstem.
    """

    falx: Array
    falx_reach: Array
    fissure: Array
    tentorium: Array
    below: Array


def render_dura(head: Head, points: Points, depth: Array) -> Dura:
    """Finds the folds in a slice; `depth` is mm inside the dura."""
    x, y, z = points.xyz
    behind_petrous = np.clip(
        (y - 1 - 0.42 * np.abs(x)) / 6, 0, 1
    )  # the tentorium is attached there
    tentorium = points.smooth(_above_tentorium)
    below = inside(-tentorium, points.pixel) * behind_petrous
    falx = x - head.falx_bend * np.clip(depth / 15, 0, 1) - 0.5 * points.texture
    ends = np.maximum(-y - 36, y - 42)  # in front of the callosum and behind it
    fissure = np.clip(np.maximum((z - 28) / 4, ends / 12), 0, 1) * (1 - below)
    edge = FALX_EDGE - ((y + 4) / 10) ** 2  # a sickle, whose edge keeps away from the callosum
    reach = np.clip(np.maximum(z - edge, ends - 10) / 4, 0, 1) * (1 - below)
    return Dura(falx, reach, fissure, tentorium + FAR * (1 - behind_petrous), below)


def paint_dura(head: Head, points: Points, hu: Array, depth: Array, dura: Dura) -> Array:
    """Paints falx, tentorium and the great sinuses, which are denser than brain, in place.

    Returns:
        Where they are, 0..1.
    """
    x, y, z = points.xyz
    tentorium = np.abs(dura.tentorium)
    half = head.falx_thickness / 2
    falx = 0.75 * sheet(np.abs(dura.falx), half, points.pixel) * dura.falx_reach
    mix(hu, head.falx_hu, falx)
    lateral = np.clip((np.abs(x) - 8) / 4, 0, 1)
    # Height above a tent, so a thick layer smears it over a band.
    tent = 0.8 * sheet(tentorium, 0.8, points.thickness + TENT_SLOPE * points.pixel) * lateral
    mix(hu, head.falx_hu - 8, tent)
    sagittal = inside(5 - np.abs(x) - 0.8 * depth, points.pixel) * ((y > 20) | (z > 40))
    transverse = inside(5 - tentorium - 0.9 * depth, points.pixel) * (y > 30)
    sinuses = np.maximum(sagittal, transverse)
    for vein in (STRAIGHT_SINUS, GREAT_VEIN, TORCULA):
        join(sinuses, vein, points)
    mix(hu, head.sinus_hu, sinuses)
    return np.maximum.reduce([falx, tent, sinuses])


def _above_tentorium(x: Array, y: Array, z: Array) -> Array:
    """Height above a tent that falls from its notch in the middle to the transverse sinuses, mm."""
    return z - (2 - 0.28 * np.abs(x) - 0.24 * np.clip(y - 30, -20, 70))

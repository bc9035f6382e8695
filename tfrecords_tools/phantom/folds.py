"""The folds of the cortex: a random field that runs inward from the surface of each hemisphere.

Sulci are the places at which the field is 0. It is drawn in three dimensions, and looked up where a
ray from the core of the hemisphere through a pixel meets a surface around that core, so that sulci
are perpendicular to the surface of the brain, on its inner side too.
"""

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.phantom.head.geometry import Array, Plane

CELL = 3.5  # mm between the samples of the field
SCALE = 2.5  # mm; deviation of its Gaussian smoothing: a sulcus every 11 mm on average
CORE_X, CORE_Y, CORE_Z = 27.0, (-46.0, 46.0), (-18.0, 42.0)  # mm; a rectangle in each hemisphere
AROUND = 38.0  # mm from the core to the surface at which the field is looked up
WANDER = 0.5  # mm by which this surface changes per mm inward, which bends sulci
LOW = np.array([-90.0, -110.0, -85.0])  # mm; x, y, z
HIGH = np.array([90.0, 110.0, 110.0])
STEP = 2  # pixels between the places of look-up


def fold_volume(rng: np.random.Generator) -> np.ndarray:
    """Draws the field of a head, of unit variance: spline coefficients, float32, (z, y, x)."""
    shape = tuple(int(n) + 1 for n in ((HIGH - LOW) / CELL)[::-1])
    field = rng.standard_normal(shape, dtype=np.float32)
    for axis in range(3):
        field = ndimage.gaussian_filter1d(field, SCALE / CELL, axis, mode="wrap", truncate=3)
    return ndimage.spline_filter(field / field.std(), order=3, output=np.float32, mode="mirror")


def folds_at(volume: np.ndarray, plane: Plane) -> Array:
    """The field at the pixels of a layer."""
    rows, columns = (-(-n // STEP) for n in plane.shape)
    coarse = plane.every(STEP)
    index = [(a - low) / CELL for a, low in zip(_on_surface(*coarse), LOW, strict=True)]
    values = ndimage.map_coordinates(volume, index[::-1], order=3, prefilter=False, mode="mirror")
    large = cv2.resize(values, (columns * STEP, rows * STEP), interpolation=cv2.INTER_LINEAR)
    return large[: plane.shape[0], : plane.shape[1]]


def _on_surface(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Where the rays from the core through the pixels meet the surface around it, mm."""
    core = np.copysign(np.float32(CORE_X), x), np.clip(y, *CORE_Y), np.clip(z, *CORE_Z)
    away = [a - b for a, b in zip((x, y, z), core, strict=True)]
    distance = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2) + np.float32(0.1)
    reach = (AROUND + WANDER * (distance - AROUND)) / distance
    u, v, w = (b + a * reach for a, b in zip(away, core, strict=True))
    return u, v, w

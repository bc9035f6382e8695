"""The random fields of a head: texture and grain of its tissue, and the folds of its cortex."""

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.phantom.folds import folds_at
from tfrecords_tools.phantom.head.geometry import Plane, Points
from tfrecords_tools.phantom.head.windows import Window

SCALES = {"texture": 7.0, "grain": 2.5}  # mm; deviation of the Gaussian smoothing
CELL = 3.5  # mm between the samples of a field
LOW, HIGH = -125.0, 135.0  # mm; no slice reaches further, whatever its tilt


def random_fields(rng: np.random.Generator, heights: np.ndarray, fov: float) -> np.ndarray:
    """Draws the fields of a study at the heights of its layers.

    Args:
        rng: source of the fields.
        heights: of the layers, mm; any shape.
        fov: width of the field of view, mm.

    Returns:
        Coarse fields in the order of SCALES; float32, shape (2, *heights.shape, cells, cells).
    """
    return np.stack([_field(rng, heights, fov, scale) for scale in SCALES.values()])


def with_fields(plane: Plane, window: Window, fields: np.ndarray, folds: np.ndarray) -> Points:
    """Interpolates the fields of a layer to a window of it.

    Args:
        plane: the layer.
        window: part of it.
        fields: from `random_fields`, of this layer; shape (2, cells, cells).
        folds: from `fold_volume`.
    """
    texture, grain = (
        cv2.resize(field, plane.shape[::-1], interpolation=cv2.INTER_CUBIC)[window]
        for field in fields
    )
    part = plane.crop(window)
    return Points(
        part.origin,
        part.down,
        part.along,
        part.shape,
        part.thickness,
        folds=folds_at(folds, part),
        texture=texture,
        grain=grain,
        pushes=part.pushes,
    )


def _field(rng: np.random.Generator, heights: np.ndarray, fov: float, scale: float) -> np.ndarray:
    """A field of unit variance, smooth over `scale` mm within and across layers."""
    cells = int(np.ceil(fov / CELL))
    layers = int((HIGH - LOW) / CELL) + 2
    volume = rng.standard_normal((layers, cells, cells), dtype=np.float32)
    volume = _smoothed(volume, scale, 0)
    place = (heights - LOW) / CELL
    below = np.floor(place).astype(int)
    share = (place - below)[..., None, None].astype(np.float32)
    field = volume[below] * (1 - share) + volume[below + 1] * share
    # Smoothed within layers last, since the layers of a study are fewer than those of the volume.
    field = _smoothed(_smoothed(field, scale, -1), scale, -2)
    return field / np.sqrt(_kept(scale, layers) * _kept(scale, cells) ** 2)


def _smoothed(field: np.ndarray, scale: float, axis: int) -> np.ndarray:
    return ndimage.gaussian_filter1d(field, scale / CELL, axis, mode="nearest", truncate=3)


def _kept(scale: float, length: int) -> np.float32:
    """The share of the variance of white noise that smoothing along one axis leaves."""
    return np.float32((_smoothed(np.eye(length), scale, 0) ** 2).sum(axis=1).mean())

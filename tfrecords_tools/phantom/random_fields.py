"""The random fields of a head: folds of the cortex, texture and grain of the tissue."""

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.phantom.head.geometry import Plane, Points
from tfrecords_tools.phantom.head.windows import Window

SCALES = {"folds": 2.5, "texture": 7.0, "grain": 2.5}  # mm; deviation of the Gaussian smoothing
CELL = 3.5  # mm between the samples of a field
FINE = 3  # parts into which a cell is divided before folds are looked up
LOW, HIGH = -125.0, 135.0  # mm; no slice reaches further, whatever its tilt


def random_fields(rng: np.random.Generator, heights: np.ndarray, fov: float) -> np.ndarray:
    """Draws the fields of a study at the heights of its layers.

    Args:
        rng: source of the fields.
        heights: of the layers, mm; any shape.
        fov: width of the field of view, mm.

    Returns:
        Coarse fields in the order of SCALES; float32, shape (3, *heights.shape, cells, cells).
    """
    return np.stack([_field(rng, heights, fov, scale) for scale in SCALES.values()])


def with_fields(plane: Plane, window: Window, fields: np.ndarray) -> Points:
    """Interpolates the coarse fields of a layer, shape (3, cells, cells), to a window of it."""
    folds, texture, grain = fields
    part, size = plane.crop(window), plane.shape[::-1]
    return Points(
        part.origin,
        part.down,
        part.along,
        part.shape,
        part.thickness,
        folds=_along_radii(folds, part, _from_middle(plane.shape, window)),
        texture=cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC)[window],
        grain=cv2.resize(grain, size, interpolation=cv2.INTER_CUBIC)[window],
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


def _from_middle(shape: tuple[int, int], window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows and columns of a window, from -0.5 to 0.5 across the slice."""
    places = [(np.arange(n, dtype=np.float32) + 0.5) / n - 0.5 for n in shape]
    rows, columns = window
    return places[0][rows, None], places[1][columns]


def _along_radii(
    field: np.ndarray, plane: Plane, places: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """A field stretched toward the middle of the head, as sulci run inward."""
    cells = len(field)
    fine = cv2.resize(field, (cells * FINE, cells * FINE), interpolation=cv2.INTER_CUBIC)
    radius = plane.smooth(
        lambda x, y, z: np.sqrt((x / 66) ** 2 + ((y - 2) / 84) ** 2 + (z / 88) ** 2)
    )
    stretch = 0.8 * 1.45 / (0.45 + np.maximum(radius, 0.2))  # 0.8 at the surface, 1.8 within
    row, column = places
    return cv2.remap(
        fine,
        (0.5 + column * stretch) * fine.shape[1],
        (0.5 + row * stretch) * fine.shape[0],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )

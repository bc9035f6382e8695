"""Head, bleedings and scanner joined: one phantom study as arrays."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.phantom import anatomy, lesions, scanner
from tfrecords_tools.phantom.anatomy import Head, Points
from tfrecords_tools.phantom.scanner import Scan

MINIMUM_AREA = 60.0  # mm² in a slice; a reader marks no less, and at 128 px it is 17 pixels
FOLD_SCALE, TEXTURE_SCALE = 4.0, 7.0  # mm; standard deviations of the fields' smoothing
CELL = 3.5  # mm between the draws of a field
BELOW, ABOVE = -50.0, 6.0  # mm; from the posterior fossa to above the vertex
NOT_SQUARE = 11  # each twentieth patient, counted from here, has more rows than columns
DOUBLED_POSITION = 13  # likewise, two slices at one position


@dataclass(frozen=True)
class Study:
    """One phantom study.

    Attributes:
        stored: int16 or uint16, shape (slices, rows, columns), as the files hold it.
        hu: float32, the same shape; what a correct reader gets from `stored`.
        masks: uint8, the same shape; bit k is set where label k of the five bleeds.
        labels: uint8, shape (slices, 6), in the order of LABELS.
        positions: float64, shape (slices, 3), Image Position (Patient), mm.
        orientation: six floats, Image Orientation (Patient).
        pixel: edge of a pixel, mm.
        scan: the acquisition.
    """

    stored: np.ndarray
    hu: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    orientation: tuple[float, ...]
    pixel: float
    scan: Scan


def make_study(patient: int, *, slices: int = 16, size: int = 256, seed: int = 0) -> Study:
    """Makes the study of a patient; the same numbers give the same study."""
    rng = np.random.default_rng([seed, 0, patient])
    head = anatomy.sample_head(rng)
    bleedings = lesions.sample_lesions(rng, head, lesions.company_of(patient, seed))
    scan = scanner.sample_scan(rng, patient)
    rows = size * 9 // 8 if patient % 20 == NOT_SQUARE else size
    shape, pixel = (rows, size), scan.fov / size
    heights = np.linspace(BELOW, head.half_axes[2] + ABOVE, slices) + rng.uniform(-3, 3)
    if patient % 20 == DOUBLED_POSITION and slices > 1:
        heights[slices // 2] = heights[slices // 2 - 1]
    layers = np.stack([heights - scan.thickness / 4, heights + scan.thickness / 4], axis=1)
    folds = _field(rng, layers, scan.fov, FOLD_SCALE)
    texture = _field(rng, layers, scan.fov, TEXTURE_SCALE)

    stored, masks = [], []
    for number in range(slices):
        hu, depth = np.zeros((2, *shape), np.float32)
        soft = np.zeros((len(BLEEDINGS), *shape), np.float32)
        for layer in range(2):  # partial volume: a slice is the mean of its two halves
            fields = (_enlarge(x[number, layer], shape) for x in (folds, texture))
            layer_hu, layer_depth, bleeding = _layer(
                head, bleedings, scan, shape, layers[number, layer], *fields
            )
            hu += layer_hu / 2
            depth += layer_depth / 2
            for kind, mask in bleeding.items():
                soft[BLEEDINGS.index(kind)] += mask / 2
        stored.append(scanner.store(scan, scanner.acquire(scan, rng, hu, depth)))
        masks.append(soft > 0.5)
    found = _drop_small(np.stack(masks), pixel)
    values = np.stack(stored)
    tilt = np.radians(scan.tilt)
    return Study(
        stored=values,
        hu=scanner.rescaled(scan, values),
        masks=np.packbits(found, axis=1, bitorder="little")[:, 0],
        labels=_labels(found),
        positions=_positions(scan, shape, heights),
        orientation=(1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))),
        pixel=pixel,
        scan=scan,
    )


def _layer(
    head: Head,
    bleedings: tuple[lesions.Lesion, ...],
    scan: Scan,
    shape: tuple[int, int],
    height: float,
    folds: np.ndarray,
    texture: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """True HU, depth inside the bone, and the bleedings' soft masks at one height."""
    x, y, z = scanner.plane(scan, shape, height)
    pixel = scan.fov / shape[1]
    points = Points(*scanner.to_head(scan, x, y, z), folds=folds, texture=texture, pixel=pixel)
    tissue = anatomy.render(head, points)
    hu, masks = lesions.bleed(bleedings, points, tissue)
    return scanner.add_table(scan, hu, y, x, pixel), tissue.depth, masks


def _field(rng: np.random.Generator, heights: np.ndarray, fov: float, scale: float) -> np.ndarray:
    """Random fields of unit variance, smooth over `scale` mm within and across slices.

    Returns:
        float32, shape (slices, 2, cells, cells), coarse; for `_enlarge`.
    """
    cells = int(np.ceil(fov / CELL))
    low = heights.min()
    layers = int((heights.max() - low) / CELL) + 2
    volume = rng.standard_normal((layers, cells, cells), dtype=np.float32)
    volume = ndimage.gaussian_filter(volume, scale / CELL, mode="nearest", truncate=3)
    volume /= volume.std()
    place = (heights - low) / CELL
    below = np.floor(place).astype(int)
    share = (place - below)[..., None, None].astype(np.float32)
    return volume[below] * (1 - share) + volume[below + 1] * share


def _enlarge(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _drop_small(found: np.ndarray, pixel: float) -> np.ndarray:
    """Clears what bleeds less than MINIMUM_AREA in a slice; bool, (slices, 5, rows, columns)."""
    areas = found.sum(axis=(2, 3)) * pixel**2
    return found & (areas >= MINIMUM_AREA)[:, :, None, None]


def _labels(found: np.ndarray) -> np.ndarray:
    labels = np.zeros((len(found), len(LABELS)), np.uint8)
    labels[:, : len(BLEEDINGS)] = found.any(axis=(2, 3))
    labels[:, -1] = labels.max(axis=1)
    return labels


def _positions(scan: Scan, shape: tuple[int, int], heights: np.ndarray) -> np.ndarray:
    """The centre of each slice's first pixel."""
    corners = []
    for height in heights:
        x, y, z = scanner.plane(scan, shape, float(height))
        corners.append([x[0, 0], y[0, 0], z[0, 0]])
    return np.array(corners, np.float64)

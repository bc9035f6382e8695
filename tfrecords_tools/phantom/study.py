"""Head, bleedings and scanner joined: one phantom study as arrays."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.phantom import anatomy, lesions, scanner
from tfrecords_tools.phantom.cohort import company_of
from tfrecords_tools.phantom.head import MEAN_AXES, Head, sample_head
from tfrecords_tools.phantom.points import Points
from tfrecords_tools.phantom.scanner import Scan

MINIMUM_AREA = 80.0  # mm² in a slice: 1 cm across; at 128 px it is some 24 pixels
FIELDS = {"folds": 3.2, "texture": 7.0, "grain": 2.5}  # mm; deviation of each one's smoothing
CELL = 3.5  # mm between the draws of a field
FINE = 3  # cells that one is divided into before it is looked up
LOW, HIGH = -125.0, 135.0  # mm; no slice reaches further, whatever its tilt
BELOW, FAR_BELOW, ABOVE = -58.0, -82.0, 6.0  # mm; foramen magnum, upper jaw, above the vertex
FAR = 0.15  # of the studies begin at the upper jaw
_NONE = np.zeros((0, 0), np.float32)
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


def make_study(
    patient: int, *, study: int = 0, slices: int = 16, size: int = 256, seed: int = 0
) -> Study:
    """Makes a study of a patient; the same numbers give the same study.

    Args:
        patient: counted from 0; decides the head and its bleedings.
        study: of the patient, counted from 0; decides pose, scanner and noise.
        slices: from the skull base to above the vertex.
        size: columns of a slice, and rows but for a few patients.
        seed: of everything.
    """
    own = np.random.default_rng([seed, 0, patient])
    head = sample_head(own)
    bleedings = lesions.sample_lesions(own, head, company_of(patient, seed))
    rng = np.random.default_rng([seed, 2, patient, study])
    scan = scanner.sample_scan(rng, patient)
    rows = size * 9 // 8 if patient % 20 == NOT_SQUARE else size
    shape, pixel = (rows, size), scan.fov / size
    heights = _heights(rng, head, slices, doubled=patient % 20 == DOUBLED_POSITION)
    layers = np.stack([heights - scan.thickness / 4, heights + scan.thickness / 4], axis=1)
    fields = [_field(own, layers, scan.fov, scale) for scale in FIELDS.values()]

    stored, masks = [], []
    for number in range(slices):
        halves = [
            _points(head, scan, shape, layers[number, half], [f[number, half] for f in fields])
            for half in range(2)
        ]
        hu, depth, band, soft = _slice(head, bleedings, halves)
        scanner.add_table(scan, hu)
        stored.append(scanner.store(scan, scanner.acquire(scan, rng, hu, depth, band)))
        masks.append(soft > 0.5)
    found = _drop_small(np.stack(masks), pixel)
    values = np.stack(stored)
    tilt = np.radians(scan.tilt)
    return Study(
        stored=values,
        hu=scanner.rescaled(scan, values),
        masks=np.packbits(found, axis=1, bitorder="little")[:, 0],
        labels=_labels(found),
        positions=np.array([scanner.frame(scan, shape, float(z))[0] for z in heights]),
        orientation=(1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))),
        pixel=pixel,
        scan=scan,
    )


def _heights(rng: np.random.Generator, head: Head, slices: int, *, doubled: bool) -> np.ndarray:
    """Where the middles of the slices lie, in mm of the scanner's z."""
    lowest = FAR_BELOW if rng.random() < FAR else BELOW
    highest = MEAN_AXES[2] * head.size[2] + ABOVE
    heights = np.linspace(lowest + rng.uniform(-6, 6), highest + rng.uniform(-4, 6), slices)
    if doubled and slices > 1:
        heights[slices // 2] = heights[slices // 2 - 1]
    return heights


def _slice(
    head: Head, bleedings: tuple[lesions.Lesion, ...], halves: list[Points]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Partial volume: a slice is the mean of its two halves.

    Returns:
        True HU, depth inside the bone, share between the petrous bones, and the bleedings' soft
        masks, which have a first axis of the five kinds.
    """
    hu, depth, band = np.zeros((3, *halves[0].shape), np.float32)
    soft = np.zeros((len(BLEEDINGS), *halves[0].shape), np.float32)
    for points in halves:
        half_hu, tissue, found = _render(head, bleedings, points)
        hu += half_hu / 2
        depth += tissue.depth / 2
        band += _between_petrous(points) / 2
        for kind, mask in found.items():
            soft[BLEEDINGS.index(kind)] += mask / 2
    return hu, depth, band, soft


def _render(
    head: Head, bleedings: tuple[lesions.Lesion, ...], points: Points
) -> tuple[np.ndarray, anatomy.Tissue, dict[str, np.ndarray]]:
    """True HU, the tissue without bleeding, and the bleedings' soft masks at one height."""
    pushes = lesions.pushes(bleedings)
    squeeze: np.ndarray | float = 0.0
    for push in pushes:
        squeeze = np.maximum(squeeze, points.smooth(push.fading))
    shifted = replace(points, pushes=pushes) if pushes else points
    tissue = anatomy.render(head, points, shifted, squeeze)
    hu, masks = lesions.bleed(bleedings, points, tissue)
    return hu, tissue, masks


def _between_petrous(points: Points) -> np.ndarray:
    return points.smooth(
        lambda x, y, z: np.exp(-(((y - 12) / 9) ** 2) - ((z + 38) / 9) ** 2 - (x / 40) ** 2)
    )


def _points(
    head: Head, scan: Scan, shape: tuple[int, int], height: float, fields: list[np.ndarray]
) -> Points:
    """The pixels of a slice in the head, with the fields there."""
    frame = scanner.to_head(scan, head.size, scanner.frame(scan, shape, height))
    thickness = scan.thickness / 2
    bare = Points(*frame, shape=shape, thickness=thickness, folds=_NONE, texture=_NONE, grain=_NONE)
    folds, texture, grain = fields
    return replace(
        bare,
        folds=_along_radii(folds, bare),
        texture=cv2.resize(texture, shape[::-1], interpolation=cv2.INTER_CUBIC),
        grain=cv2.resize(grain, shape[::-1], interpolation=cv2.INTER_CUBIC),
    )


def _along_radii(field: np.ndarray, points: Points) -> np.ndarray:
    """A field drawn out towards the middle of the head, as sulci run inwards."""
    cells = len(field)
    fine = cv2.resize(field, (cells * FINE, cells * FINE), interpolation=cv2.INTER_CUBIC)
    radius = points.smooth(
        lambda x, y, z: np.sqrt((x / 66) ** 2 + ((y - 2) / 84) ** 2 + (z / 88) ** 2)
    )
    stretch = 0.8 * 1.45 / (0.45 + np.maximum(radius, 0.2))  # 0.8 at the surface, 1.8 within
    rows, columns = points.shape
    column = (np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5
    row = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows - 0.5
    return cv2.remap(
        fine,
        (0.5 + column * stretch) * fine.shape[1],
        (0.5 + row * stretch) * fine.shape[0],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _field(rng: np.random.Generator, heights: np.ndarray, fov: float, scale: float) -> np.ndarray:
    """Random fields of unit variance, smooth over `scale` mm within and across slices.

    Returns:
        float32, shape (slices, 2, cells, cells), coarse; to be enlarged to a slice.
    """
    cells = int(np.ceil(fov / CELL))
    layers = int((HIGH - LOW) / CELL) + 2
    volume = rng.standard_normal((layers, cells, cells), dtype=np.float32)
    volume = ndimage.gaussian_filter(volume, scale / CELL, mode="nearest", truncate=3)
    volume /= volume.std()
    place = (heights - LOW) / CELL
    below = np.floor(place).astype(int)
    share = (place - below)[..., None, None].astype(np.float32)
    return volume[below] * (1 - share) + volume[below + 1] * share


def _drop_small(found: np.ndarray, pixel: float) -> np.ndarray:
    """Clears what bleeds less than MINIMUM_AREA in a slice; bool, (slices, 5, rows, columns)."""
    areas = found.sum(axis=(2, 3)) * pixel**2
    return found & (areas >= MINIMUM_AREA)[:, :, None, None]


def _labels(found: np.ndarray) -> np.ndarray:
    labels = np.zeros((len(found), len(LABELS)), np.uint8)
    labels[:, : len(BLEEDINGS)] = found.any(axis=(2, 3))
    labels[:, -1] = labels.max(axis=1)
    return labels

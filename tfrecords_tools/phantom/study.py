"""Head, bleedings and scanner joined: one phantom study as arrays."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.phantom.head import anatomy, lesions, tissues
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.devices import set_devices
from tfrecords_tools.phantom.head.geometry import Points
from tfrecords_tools.phantom.sampling import Ablation, Draw, draw
from tfrecords_tools.phantom.scanner import acquisition as scanner
from tfrecords_tools.phantom.scanner.acquisition import Scan

MINIMUM_AREA = 80.0  # mm² in a slice: 1 cm across; at 128 px it is some 24 pixels
FIELDS = {"folds": 3.2, "texture": 7.0, "grain": 2.5}  # mm; deviation of each one's smoothing
CELL = 3.5  # mm between the draws of a field
FINE = 3  # cells that one is divided into before it is looked up
LOW, HIGH = -125.0, 135.0  # mm; no slice reaches further, whatever its tilt
_NONE = np.zeros((0, 0), np.float32)
NOT_SQUARE = 11  # each twentieth patient, counted from here, has more rows than columns


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
        tissues: uint8, the shape of `hu`, codes of `tissues.CLASSES`; None unless asked for.
    """

    stored: np.ndarray
    hu: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    orientation: tuple[float, ...]
    pixel: float
    scan: Scan
    tissues: np.ndarray | None


def make_study(
    patient: int,
    *,
    study: int = 0,
    slices: int = 16,
    size: int = 256,
    seed: int = 0,
    ablation: Ablation | None = None,
    with_tissues: bool = False,
) -> Study:
    """Makes a study of a patient; the same numbers give the same study.

    Args:
        patient: counted from 0; decides the head and its bleedings.
        study: of the patient, counted from 0; decides pose, scanner and noise.
        slices: from the skull base to above the vertex.
        size: columns of a slice, and rows but for a few patients.
        seed: of everything.
        ablation: changes what was drawn, before it is rendered.
        with_tissues: whether to tell the tissue of each pixel too.
    """
    drawn = draw(patient, study=study, slices=slices, seed=seed)
    if ablation is not None:
        drawn = ablation(drawn)
    rows = size * 9 // 8 if patient % 20 == NOT_SQUARE else size
    fields = np.random.default_rng([seed, 4, patient])
    noise = np.random.default_rng([seed, 5, patient, study])
    return _render_study(drawn, fields, noise, (rows, size), with_tissues=with_tissues)


def _render_study(
    drawn: Draw,
    of_head: np.random.Generator,
    noise: np.random.Generator,
    shape: tuple[int, int],
    *,
    with_tissues: bool,
) -> Study:
    """The arrays of a study, from what was drawn and the random fields of head and scanner."""
    scan, thickness = drawn.scan, drawn.thickness
    pixel = scan.fov / shape[1]
    layers = np.stack([drawn.heights - thickness / 4, drawn.heights + thickness / 4], axis=1)
    fields = [_field(of_head, layers, scan.fov, scale) for scale in FIELDS.values()]
    true = np.empty((len(layers), *shape), np.float32)
    masks = np.zeros((len(layers), len(SUBTYPES), *shape), bool)
    codes = np.empty((len(layers), *shape), np.uint8) if with_tissues else None
    for number, layer in enumerate(layers):
        halves = [
            _points(
                drawn,
                shape,
                (layer[half], thickness[number] / 2),
                [f[number, half] for f in fields],
            )
            for half in range(2)
        ]
        true[number], soft = _slice(drawn, halves)
        for kind, mask in soft.items():
            masks[number, SUBTYPES.index(kind)] = mask > 0.5
        if codes is not None:
            codes[number] = _tissues(drawn, halves)
    scanner.surround(scan, true, drawn.heights)
    values = scanner.store(scan, scanner.acquire(scan, noise, true, thickness))
    found = _drop_small(masks, pixel)
    tilt = np.radians(scan.tilt)
    return Study(
        stored=values,
        hu=scanner.rescaled(scan, values),
        masks=np.packbits(found, axis=1, bitorder="little")[:, 0],
        labels=_labels(found),
        positions=np.array([scanner.frame(scan, shape, float(z))[0] for z in drawn.heights]),
        orientation=(1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))),
        pixel=pixel,
        scan=scan,
        tissues=codes,
    )


def _slice(drawn: Draw, halves: list[Points]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Partial volume: a slice is the mean of its two halves.

    Returns:
        True HU, and the soft mask of each bleeding.
    """
    (lower, found, _), (upper, above, _) = (_render(drawn, points) for points in halves)
    return lower / 2 + upper / 2, {kind: found[kind] / 2 + above[kind] / 2 for kind in found}


def _tissues(drawn: Draw, halves: list[Points]) -> np.ndarray:
    """The tissue that takes most of each pixel; uint8, (rows, columns)."""
    found = np.zeros((len(tissues.CLASSES), *halves[0].shape), np.float32)
    for points in halves:
        hu, masks, tissue = _render(drawn, points)
        blood = np.maximum.reduce([np.zeros_like(hu), *masks.values()])
        found += tissues.shares(tissue, hu, blood)
    return found.argmax(axis=0).astype(np.uint8)


def _render(drawn: Draw, points: Points) -> tuple[np.ndarray, dict[str, np.ndarray], Tissue]:
    """True HU, the bleedings' soft masks, and the tissue under them, at one height."""
    squeeze: np.ndarray | float = 0.0
    for push in drawn.pushes:
        squeeze = np.maximum(squeeze, points.smooth(push.fading))
    shifted = replace(points, pushes=drawn.pushes) if drawn.pushes else points
    tissue = anatomy.render(drawn.head, points, shifted, squeeze)
    hu, masks = lesions.bleed(drawn.bleedings, points, tissue)
    set_devices(drawn.devices, hu, points)
    return hu, masks, tissue


def _points(
    drawn: Draw,
    shape: tuple[int, int],
    layer: tuple[float, float],
    fields: list[np.ndarray],
) -> Points:
    """The pixels of a layer in the head, given its height and thickness, with the fields there."""
    height, thickness = layer
    frame = scanner.to_head(drawn.scan, drawn.head.size, scanner.frame(drawn.scan, shape, height))
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
    labels[:, : len(SUBTYPES)] = found.any(axis=(2, 3))
    labels[:, -1] = labels.max(axis=1)
    return labels

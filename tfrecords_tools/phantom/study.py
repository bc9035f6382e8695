"""One phantom study as arrays: its head rendered with hemorrhages, and scanned."""

from dataclasses import dataclass, replace

import numpy as np

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.phantom.folds import fold_volume
from tfrecords_tools.phantom.head import anatomy, devices, face, surfaces
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.face import AIR
from tfrecords_tools.phantom.head.geometry import Array, Plane
from tfrecords_tools.phantom.head.lesions import paint_lesions
from tfrecords_tools.phantom.head.tissues import CLASSES, tissue_shares
from tfrecords_tools.phantom.head.trauma import paint_wound
from tfrecords_tools.phantom.head.windows import Window, union
from tfrecords_tools.phantom.random_fields import random_fields, with_fields
from tfrecords_tools.phantom.sampling import Ablation, StudyParameters, sample_study
from tfrecords_tools.phantom.scanner import acquisition
from tfrecords_tools.phantom.scanner.scan import Scan
from tfrecords_tools.phantom.visibility import BRAIN_HU, visible_pixels

NO_AIR = -150.0  # HU; a pixel with less holds more air than blood
NOT_SQUARE = 11  # every twentieth patient from this one has more rows than columns


@dataclass(frozen=True)
class Study:
    """One phantom study.

    Attributes:
        stored: int16 or uint16, shape (slices, rows, columns), the pixel values of the files.
        hu: float32, the same shape; what a correct reader gets from `stored`.
        masks: uint8, the same shape; bit k is set where subtype k of SUBTYPES is.
        labels: uint8, shape (slices, 6), in the order of LABELS.
        positions: float64, shape (slices, 3), Image Position (Patient), mm.
        orientation: six floats, Image Orientation (Patient).
        pixel: edge of a pixel, mm.
        scan: the acquisition.
        tissues: uint8, the shape of `hu`, indices of `tissues.CLASSES`; None unless requested.
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


@dataclass(frozen=True, eq=False)
class _Layer:
    """One half of a slice, in the window that holds the head.

    Attributes:
        window: its place in the slice; all else is air.
        hu: true HU.
        contrast: HU of hemorrhages against the brain around them.
        masks: 0..1, by subtype.
        tissue: without hemorrhage.
    """

    window: Window
    hu: Array
    contrast: Array
    masks: dict[str, Array]
    tissue: Tissue


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
    """Makes a study of a patient; the same arguments give the same study.

    Args:
        patient: counted from 0; decides head and hemorrhages.
        study: of the patient, counted from 0; decides pose, scanner and noise.
        slices: from the skull base to above the vertex.
        size: columns of a slice, and its rows except for a few patients.
        seed: of all random numbers.
        ablation: changes the parameters of the study before it is rendered.
        with_tissues: whether to return the tissue of each pixel too.
    """
    parameters = sample_study(patient, study=study, slices=slices, seed=seed)
    if ablation is not None:
        parameters = ablation(parameters)
    shape = (size * 9 // 8 if patient % 20 == NOT_SQUARE else size, size)
    rng = np.random.default_rng([seed, 4, patient])
    hu, masks, tissues = _render_slices(parameters, shape, rng, with_tissues=with_tissues)
    scan = parameters.scan
    acquisition.surround(scan, parameters.head.size, hu, parameters.heights)
    rng = np.random.default_rng([seed, 5, patient, study])
    measured = acquisition.acquire(scan, rng, hu, parameters.thickness)
    processed = scan.processing.apply(measured)
    stored = scan.storage.encode(processed, circle=scan.circle, extended=scan.extended)
    frames = [acquisition.frame(scan, shape, float(z)) for z in parameters.heights]
    return Study(
        stored=stored,
        hu=scan.storage.decode(stored),
        masks=masks,
        labels=_labels(masks),
        positions=np.array([origin for origin, _, _ in frames]),
        orientation=scan.orientation,
        pixel=scan.fov / size,
        scan=scan,
        tissues=tissues,
    )


def _render_slices(
    parameters: StudyParameters,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    with_tissues: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Renders each slice as the mean of its two halves, for partial volume.

    Returns:
        True HU, float32, shape (slices, rows, columns); masks and tissues as in `Study`.
    """
    quarter = parameters.thickness / 4
    heights = np.stack([parameters.heights - quarter, parameters.heights + quarter], axis=1)
    fields = random_fields(rng, heights, parameters.scan.fov)
    folds = fold_volume(rng)
    hu = np.full((len(heights), *shape), AIR, np.float32)
    masks = np.zeros(hu.shape, np.uint8)
    tissues = np.empty(hu.shape, np.uint8) if with_tissues else None
    pixel = parameters.scan.fov / shape[1]
    for number, thickness in enumerate(parameters.thickness):
        halves = [
            _render_layer(
                parameters,
                shape,
                heights[number, half],
                thickness / 2,
                fields[:, number, half],
                folds,
            )
            for half in range(2)
        ]
        for half in halves:
            hu[number][half.window] += (half.hu - AIR) / 2
        for subtype in halves[0].masks:
            share = _mean([(half.window, half.masks[subtype]) for half in halves], shape)
            contrast = _mean([(half.window, half.contrast) for half in halves], shape)
            mask = visible_pixels(share, contrast, pixel)
            masks[number][mask] |= 1 << SUBTYPES.index(subtype)
        if tissues is not None:
            tissues[number] = _largest_tissue(halves, shape)
    return hu, masks, tissues


def _render_layer(
    parameters: StudyParameters,
    shape: tuple[int, int],
    height: float,
    thickness: float,
    fields: np.ndarray,
    folds: np.ndarray,
) -> _Layer:
    scan = parameters.scan
    frame = acquisition.frame(scan, shape, height)
    plane = Plane(*acquisition.to_head(scan, parameters.head.size, frame), shape, thickness)
    window = _head_window(parameters, plane)
    points = with_fields(plane, window, fields, folds)
    squeeze: Array | float = 0.0
    for push in parameters.pushes:
        squeeze = np.maximum(squeeze, points.smooth(push.falloff))
    shifted = replace(points, pushes=parameters.pushes) if parameters.pushes else points
    tissue = anatomy.render(parameters.head, points, shifted, squeeze)
    hu, masks = paint_lesions(parameters.lesions, points, tissue)
    contrast = hu - np.maximum(tissue.hu, BRAIN_HU)
    paint_wound(parameters.wound, hu, points)
    for mask in masks.values():
        mask *= hu > NO_AIR
    devices.paint_devices(parameters.devices, hu, points)
    return _Layer(window, hu, contrast, masks, tissue)


def _head_window(parameters: StudyParameters, plane: Plane) -> Window:
    """The smallest window that holds the head, its face and its devices."""
    return union(
        [
            surfaces.window_around(parameters.head, plane),
            *face.windows_around(plane),
            *devices.windows_around(parameters.devices, plane),
        ]
    )


def _mean(layers: list[tuple[Window, Array]], shape: tuple[int, int]) -> Array:
    """The mean of values that are known in windows of each layer, and 0 elsewhere."""
    mean = np.zeros(shape, np.float32)
    for window, values in layers:
        mean[window] += values / len(layers)
    return mean


def _largest_tissue(halves: list[_Layer], shape: tuple[int, int]) -> np.ndarray:
    """The index of the tissue that takes most of each pixel; uint8, (rows, columns)."""
    shares = np.zeros((len(CLASSES), *shape), np.float32)
    for half in halves:
        blood = np.maximum.reduce([np.zeros_like(half.hu), *half.masks.values()])
        in_layer = np.zeros_like(shares)
        in_layer[CLASSES.index("air")] = 1
        in_layer[(slice(None), *half.window)] = tissue_shares(half.tissue, half.hu, blood)
        shares += in_layer
    return shares.argmax(axis=0).astype(np.uint8)


def _labels(masks: np.ndarray) -> np.ndarray:
    present = np.bitwise_or.reduce(masks, axis=(1, 2))
    labels = np.zeros((len(masks), len(LABELS)), np.uint8)
    labels[:, : len(SUBTYPES)] = present[:, None] >> np.arange(len(SUBTYPES)) & 1
    labels[:, -1] = present > 0
    return labels

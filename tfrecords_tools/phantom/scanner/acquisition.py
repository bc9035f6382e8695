"""The scanner: it places the head in its frame and measures the HU of slices."""

import numpy as np

from tfrecords_tools.phantom.head.geometry import Plane
from tfrecords_tools.phantom.scanner.kernel import noise_fields
from tfrecords_tools.phantom.scanner.measurement import enlarge, materials, measure
from tfrecords_tools.phantom.scanner.projection import CELLS, CHANNELS
from tfrecords_tools.phantom.scanner.rods import put_in_air
from tfrecords_tools.phantom.scanner.scan import Scan

STANDARD = 5.0  # mm; slice thickness that noise is stated for

Frame = tuple[np.ndarray, np.ndarray, np.ndarray]  # origin, down, along, as `geometry.Plane` has


def frame(scan: Scan, shape: tuple[int, int], z: float) -> Frame:
    """First pixel, and steps from row to row and from column to column, in the scanner.

    x runs to the patient's left, y to the back, z up; float64, shape (3,), mm. The middle of the
    slice has the height `z`.
    """
    rows, columns = shape
    pixel = scan.fov / columns
    tilt = np.radians(scan.tilt)
    down = pixel * np.array([0.0, np.cos(tilt), np.sin(tilt)])
    along = pixel * np.array([1.0, 0.0, 0.0])
    middle = np.array([0.0, 0.0, z])
    return middle - (rows - 1) / 2 * down - (columns - 1) / 2 * along, down, along


def to_head(scan: Scan, size: tuple[float, float, float], frame: Frame) -> Frame:
    """The same in the coordinates of the mean head, for a head of a relative size."""
    origin, down, along = frame
    turn = _rotation(scan.angles) / np.array(size)[:, None]
    shift = np.array([*scan.shift, 0.0])
    return turn @ (origin - shift), turn @ down, turn @ along


def surround(
    scan: Scan, size: tuple[float, float, float], hu: np.ndarray, heights: np.ndarray
) -> None:
    """Paints the surroundings into the air around a head of a relative size, in place.

    Args:
        scan: gives the objects.
        size: of the head in x, y and z, relative to the mean head.
        hu: float32, shape (slices, rows, columns).
        heights: of the slices in the scanner, mm.
    """
    shape, scale = hu.shape[1:], (size[0] + size[1]) / 2
    right, back = scan.shift
    still = scan.surroundings.render(
        shape, scan.fov / shape[1] / scale, (right / scale, back / scale)
    )
    for image, height in zip(hu, heights, strict=True):
        put_in_air(image, still)
        plane = Plane(*to_head(scan, size, frame(scan, shape, float(height))), shape, 0.0)
        for rod in scan.surroundings.rods:
            rod.paint(image, plane)


def acquire(
    scan: Scan, rng: np.random.Generator, hu: np.ndarray, thickness: np.ndarray
) -> np.ndarray:
    """Applies resolution, errors and noise of the scanner to true HU.

    Args:
        scan: the acquisition.
        rng: source of the noise and of the slices in which the patient moves.
        hu: true values, averaged over each slice; float32, shape (slices, rows, columns).
        thickness: of the slices, mm; shape (slices,).

    Returns:
        float32, the same shape.
    """
    shape, pixel = hu.shape[1:], scan.fov / hu.shape[2]
    cell = max(shape) * pixel / CELLS
    moves = [scan.motion if rng.random() < 0.5 else None for _ in hu]
    measured = measure(
        np.stack([materials(image) for image in hu]),
        cell,
        hardening=scan.hardening,
        scatter=scan.scatter,
        modulation=scan.modulation,
        gains=_gains(scan, cell),
        motions=moves,
        helix=scan.helix,
    )
    error = measured.error + _drift(scan, cell)
    strength = scan.noise * np.sqrt(STANDARD / thickness[:, None, None, None] * measured.variance)
    filters = scan.kernel.noise_filters(shape, pixel)
    acquired = np.empty_like(hu)
    for number, image in enumerate(hu):
        sharp = scan.kernel.resolve(image, pixel)
        sharp += enlarge(error[number], shape)
        for field, strong in zip(noise_fields(rng, filters, shape), strength[number], strict=True):
            sharp += field * enlarge(strong, shape)
        acquired[number] = sharp
    return acquired


def _rotation(angles: tuple[float, float, float]) -> np.ndarray:
    yaw, pitch, roll = np.radians(angles)
    about_z = [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_y = [[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]]
    return np.array(about_z) @ np.array(about_x) @ np.array(about_y)


def _drift(scan: Scan, cell: float) -> np.ndarray:
    """HU that rise from side to side on the coarse map, as behind an off-centre beam filter."""
    along = (np.arange(CELLS, dtype=np.float32) - (CELLS - 1) / 2) * np.float32(cell / 100)
    right, back = scan.drift
    return right * along + back * along[:, None]


def _gains(scan: Scan, cell: float) -> np.ndarray:
    """Errors of the channels; each appears on both sides, since the tube makes a full turn."""
    gains = np.zeros(CHANNELS, np.float32)
    for radius, gain in scan.rings:
        for side in (-1, 1):
            gains[round((CHANNELS - 1) / 2 + side * radius / cell)] += gain
    return gains

"""The scanner: how a head lies in it, what it makes of the HU, and how it stores them."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.scanner import projection
from tfrecords_tools.phantom.scanner.kernel import Kernel, noise_fields
from tfrecords_tools.phantom.scanner.projection import Motion
from tfrecords_tools.phantom.scanner.surroundings import (
    Surroundings,
    put_about,
    put_tubes,
    sample_surroundings,
)

STANDARD = 5.0  # mm; thickness that noise is stated for
CEILING = 3071  # HU that 12 bits reach; most scanners store no more in 16
FLOOR = -1024  # HU below which none stores what it measured


@dataclass(frozen=True)
class Storage:
    """How a file stores HU: a row of the table of header combinations.

    Attributes:
        bits: Bits Stored.
        signed: Pixel Representation 1.
        intercept: Rescale Intercept, as the header says it.
        padding: stored value outside the field of view.
        wrapped: the intercept is a lie; 12-bit values wrapped around.
    """

    bits: int
    signed: bool
    intercept: int
    padding: int
    wrapped: bool = False


# Padding puts the floors of the RSNA set at -3024, -2048, -1024 and -1000 HU.
COMMON = (Storage(12, False, -1024, 0), Storage(16, True, -1024, -2000))
RARE = (
    Storage(12, False, 0, 3096, wrapped=True),
    Storage(16, True, 0, -2048),
    Storage(12, False, -1000, 0),
    Storage(12, True, 0, -2048),
    Storage(12, False, 1, 3096, wrapped=True),
)


@dataclass(frozen=True)
class Scan:
    """One acquisition.

    Attributes:
        fov: edge of the field of view along the columns, mm.
        thickness: of the slices through the base and of those above, mm.
        tilt: of the gantry, degrees.
        angles: yaw, pitch and roll of the head, degrees.
        shift: of the head's origin in the scanner, x and y in mm.
        kernel: of the reconstruction.
        noise: standard deviation in a 5 mm slice in the middle of 200 mm of water, HU.
        hardening: share of the beam hardening that the scanner's correction for bone leaves;
            above 1 where scatter adds to it.
        modulation: 0 to 1, how far the current of the tube follows the girth of each slice.
        motion: of a restless patient; None of a calm one.
        rings: (radius in mm, gain error in mm of water) of the channels that err.
        surroundings: what lies about the head.
        circle: whether pixels outside the inscribed circle are padding.
        extended: whether HU above CEILING are stored.
        storage: of the files.
    """

    fov: float
    thickness: tuple[float, float]
    tilt: float
    angles: tuple[float, float, float]
    shift: tuple[float, float]
    kernel: Kernel
    noise: float
    hardening: float
    modulation: float
    motion: Motion | None
    rings: tuple[tuple[float, float], ...]
    surroundings: Surroundings
    circle: bool
    extended: bool
    storage: Storage


def sample_scan(rng: np.random.Generator, patient: int) -> Scan:
    """Draws an acquisition. Rare ways of storing come once in every twenty patients each.

    The gantry is tilted in 53 % of the series of the RSNA set, and half of them are of mixed
    thickness.
    """
    rare = patient % 20
    common = COMMON[int(rng.random() < 0.55)]
    storage = RARE[rare // 4] if rare % 4 == 2 else common
    blur = float(rng.uniform(0.3, 0.7))
    noise = 3.8 * (0.5 / blur) ** 0.75 * np.exp(rng.normal(0, 0.4))  # sharper kernels pass more
    return Scan(
        fov=_sample_fov(rng),
        thickness=_sample_thickness(rng),
        tilt=float(rng.uniform(-25, 25)) if rng.random() < 0.53 else 0.0,
        angles=_sample_pose(rng),
        shift=(float(rng.normal(0, 6)), float(rng.normal(0, 8))),
        kernel=Kernel(blur, float(rng.uniform(0, 0.15)) if blur < 0.45 else 0.0),
        noise=float(np.clip(noise, 1.5, 14)),
        hardening=float(rng.uniform(0.2, 2.2)),
        modulation=float(rng.uniform(0.4, 0.9)),
        motion=_sample_motion(rng) if rng.random() < 0.08 else None,
        rings=_sample_rings(rng) if rng.random() < 0.04 else (),
        surroundings=sample_surroundings(rng),
        circle=bool(rng.random() < 0.6),
        extended=bool(rng.random() < 0.3),
        storage=storage,
    )


def frame(
    scan: Scan, shape: tuple[int, int], z: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First pixel, step from row to row, and from column to column, in the scanner's frame.

    x runs to the patient's left, y to the back, z up; float64, shape (3,), mm.

    Args:
        scan: gives field of view and tilt.
        shape: rows, columns.
        z: height of the middle of the slice, mm.
    """
    rows, columns = shape
    pixel = scan.fov / columns
    tilt = np.radians(scan.tilt)
    down = pixel * np.array([0.0, np.cos(tilt), np.sin(tilt)])
    along = pixel * np.array([1.0, 0.0, 0.0])
    middle = np.array([0.0, 0.0, z])
    return middle - (rows - 1) / 2 * down - (columns - 1) / 2 * along, down, along


def to_head(
    scan: Scan,
    size: tuple[float, float, float],
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same in the frame of the mean head, for a head of a size."""
    origin, down, along = frame
    turn = _rotation(scan.angles) / np.array(size)[:, None]
    shift = np.array([*scan.shift, 0.0])
    return turn @ (origin - shift), turn @ down, turn @ along


def surround(scan: Scan, hu: np.ndarray, heights: np.ndarray) -> None:
    """Sets head holder, tubes and wires into the air about the head, in place.

    Args:
        scan: says which.
        hu: float32, shape (slices, rows, columns).
        heights: of the slices in the scanner, mm.
    """
    pixel = scan.fov / hu.shape[2]
    still = scan.surroundings.draw(hu.shape[1:], pixel, scan.shift)
    for image, height in zip(hu, heights, strict=True):
        put_about(image, still)
        put_tubes(scan.surroundings.tubes, image, pixel, scan.shift, float(height))


def acquire(
    scan: Scan, rng: np.random.Generator, hu: np.ndarray, thickness: np.ndarray
) -> np.ndarray:
    """What the scanner makes of the true HU: its resolution, its errors and its noise.

    Args:
        scan: the acquisition.
        rng: of the noise, and of which slices a restless patient moves in.
        hu: true values, already averaged over each slice; float32, (slices, rows, columns).
        thickness: of the slices, mm; shape (slices,).

    Returns:
        float32, the same shape.
    """
    shape, pixel = hu.shape[1:], scan.fov / hu.shape[2]
    cell = max(shape) * pixel / projection.CELLS
    moves = [scan.motion if rng.random() < 0.5 else None for _ in hu]
    measured = projection.measure(
        np.stack([projection.materials(image) for image in hu]),
        cell,
        hardening=scan.hardening,
        modulation=scan.modulation,
        gains=_gains(scan, cell),
        motions=moves,
    )
    strength = scan.noise * np.sqrt(STANDARD / thickness[:, None, None, None] * measured.variance)
    filters = scan.kernel.noise_filters(shape, pixel)
    acquired = np.empty_like(hu)
    for number, image in enumerate(hu):
        sharp = scan.kernel.resolve(image, pixel)
        sharp += projection.enlarge(measured.error[number], shape)
        for field, strong in zip(noise_fields(rng, filters, shape), strength[number], strict=True):
            sharp += field * projection.enlarge(strong, shape)
        acquired[number] = sharp
    return acquired


def store(scan: Scan, hu: np.ndarray) -> np.ndarray:
    """The stored values, as the file's bits and intercept ask for.

    Args:
        scan: the acquisition.
        hu: float32, shape (slices, rows, columns).

    Returns:
        int16 or uint16, the same shape.
    """
    storage = scan.storage
    kind = np.int16 if storage.signed else np.uint16
    highest = (1 << (storage.bits - storage.signed)) - 1
    if storage.wrapped:
        stored = np.rint(np.clip(hu, -1000, highest - 1000)).astype(np.int32) % (highest + 1)
    else:
        top = highest + storage.intercept
        ceiling = top if scan.extended else min(top, CEILING)
        floor = max(FLOOR, storage.intercept) if not storage.signed else FLOOR
        stored = np.rint(np.clip(hu, floor, ceiling)).astype(np.int32) - storage.intercept
    if scan.circle:
        stored[:, outside_circle(hu.shape[1:])] = storage.padding
    return stored.astype(kind)


def rescaled(scan: Scan, stored: np.ndarray) -> np.ndarray:
    """The HU that a correct reader gets from the stored values; float32."""
    values = stored.astype(np.int32)
    if scan.storage.wrapped:
        return ((values + 1000) % 4096 - 1000).astype(np.float32)
    return (values + scan.storage.intercept).astype(np.float32)


def outside_circle(shape: tuple[int, ...]) -> np.ndarray:
    """The corners that a round field of view leaves empty; bool."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle_row, middle_column = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    distance = (rows - middle_row) ** 2 + (columns - middle_column) ** 2
    return distance > (max(shape) / 2) ** 2


def _rotation(angles: tuple[float, float, float]) -> np.ndarray:
    yaw, pitch, roll = np.radians(angles)
    about_z = [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_y = [[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]]
    return np.array(about_z) @ np.array(about_x) @ np.array(about_y)


def _sample_fov(rng: np.random.Generator) -> float:
    """Mostly the whole head; a few reconstructions are enlarged and cut it off."""
    if rng.random() < 0.05:
        return float(rng.uniform(140, 190))
    return float(np.clip(rng.laplace(236, 15), 180, 300))


def _sample_thickness(rng: np.random.Generator) -> tuple[float, float]:
    """Older protocols scan the base in thin slices and the rest in thick ones."""
    if rng.random() < 0.5:
        pairs = [(2.5, 5.0), (3.0, 6.0), (4.0, 7.0), (5.0, 7.5), (5.0, 10.0), (2.5, 10.0)]
        base, above = pairs[rng.integers(len(pairs))]
        return base, above
    usual, shares = [0.6, 1.25, 2.5, 3.0, 5.0, 7.0, 10.0], [0.06, 0.1, 0.15, 0.1, 0.48, 0.07, 0.04]
    thickness = float(rng.choice(usual, p=shares))
    return thickness, thickness


def _sample_pose(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch and roll; one head in twelve lies badly."""
    yaw, pitch, roll = rng.normal(0, [4, 6, 3])
    if rng.random() < 0.08:
        yaw, roll = rng.uniform(-20, 20, 2)
    return float(yaw), float(pitch), float(roll)


def _sample_motion(rng: np.random.Generator) -> Motion:
    away, direction = rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
    shift = (float(away * np.cos(direction)), float(away * np.sin(direction)))
    return Motion(float(rng.uniform(0.1, 0.4)), shift, float(rng.uniform(-1.5, 1.5)))


def _sample_rings(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    channels = rng.integers(1, 4)
    return tuple((float(rng.uniform(5, 70)), float(rng.normal(0, 0.25))) for _ in range(channels))


def _gains(scan: Scan, cell: float) -> np.ndarray:
    """Errors of the channels; the tube turns fully, so that each errs on both sides."""
    gains = np.zeros(projection.CHANNELS, np.float32)
    for radius, gain in scan.rings:
        for side in (-1, 1):
            gains[round((projection.CHANNELS - 1) / 2 + side * radius / cell)] += gain
    return gains

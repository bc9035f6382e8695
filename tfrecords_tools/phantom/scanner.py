"""The scanner: how a head lies in it, what it adds to the HU, and how it stores them."""

from dataclasses import dataclass

import cv2
import numpy as np

PADDING_STORED = -2000  # outside the field of view, in signed files
TABLE_HU, FOAM_HU = 120.0, -940.0


@dataclass(frozen=True)
class Storage:
    """How a file stores HU: a row of the table of header combinations.

    Attributes:
        bits: Bits Stored.
        signed: Pixel Representation 1.
        intercept: Rescale Intercept, as the header says it.
        wrapped: the intercept is a lie; 12-bit values wrapped around.
    """

    bits: int
    signed: bool
    intercept: int
    wrapped: bool = False


COMMON = (Storage(12, False, -1024), Storage(16, True, -1024))
RARE = (
    Storage(12, False, 0, wrapped=True),
    Storage(16, True, 0),
    Storage(12, False, -1000),
    Storage(12, True, 0),
    Storage(12, False, 1, wrapped=True),
)


@dataclass(frozen=True)
class Scan:
    """One acquisition.

    Attributes:
        fov: edge of the field of view along the columns, mm.
        thickness: of a slice, mm.
        tilt: of the gantry, degrees.
        angles: yaw, pitch and roll of the head, degrees.
        shift: of the head's origin in the scanner, x and y in mm.
        sharpness: standard deviation of the kernel's blur, mm.
        noise: standard deviation in the middle of the head, HU.
        cupping: HU that the brain gains beside the bone.
        table: of the head holder behind the middle, mm; None if out of view.
        holder: half of its width, mm.
        foam: thickness of its padding, mm.
        streaks: HU of the dark band between the petrous bones.
        circle: whether pixels outside the inscribed circle are padding.
        storage: of the files.
    """

    fov: float
    thickness: float
    tilt: float
    angles: tuple[float, float, float]
    shift: tuple[float, float]
    sharpness: float
    noise: float
    cupping: float
    table: float | None
    holder: float
    foam: float
    streaks: float
    circle: bool
    storage: Storage


def sample_scan(rng: np.random.Generator, patient: int) -> Scan:
    """Draws an acquisition. Rare ways of storing come once in every twenty patients each."""
    rare = patient % 20
    common = COMMON[int(rng.random() < 0.55)]
    storage = RARE[rare // 4] if rare % 4 == 2 else common
    return Scan(
        fov=float(rng.uniform(212, 262)),
        thickness=float(rng.choice([2.5, 5.0, 5.0, 7.0])),
        tilt=float(rng.choice([0.0, rng.uniform(-20, 20)])),
        angles=(float(rng.normal(0, 4)), float(rng.normal(0, 6)), float(rng.normal(0, 3))),
        shift=(float(rng.normal(0, 4)), float(rng.normal(0, 6))),
        sharpness=float(rng.uniform(0.35, 0.8)),
        noise=float(rng.uniform(1.8, 4.5)),
        cupping=float(rng.uniform(2, 12)),
        table=float(rng.uniform(104, 122)) if rng.random() < 0.85 else None,
        holder=float(rng.uniform(88, 125)),
        foam=float(rng.choice([0.0, rng.uniform(3, 10)])),
        streaks=float(rng.uniform(3, 12)),
        circle=bool(rng.random() < 0.6),
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


def add_table(scan: Scan, hu: np.ndarray) -> None:
    """Sets the head holder into the air behind the head, in place: a trough, foam within."""
    if scan.table is None:
        return
    rows, columns = hu.shape
    pixel = scan.fov / columns
    x = (np.arange(columns, dtype=np.float32) - columns / 2) * pixel
    y = (np.arange(rows, dtype=np.float32)[:, None] - rows / 2) * pixel
    level = np.sqrt((x / scan.holder) ** 4 + (np.maximum(y, 0) / scan.table) ** 4) ** 0.5
    depth = (level - 1) * scan.table  # mm outside the trough
    air = (hu < -700) & (y > -20)
    hu[air & (depth < -2) & (depth > -2 - scan.foam) & (y > 30)] = FOAM_HU
    shell = np.clip(1.2 - np.abs(depth) / max(pixel, 1.5), 0, 1) * air
    hu += (TABLE_HU - hu) * shell


def acquire(
    scan: Scan, rng: np.random.Generator, hu: np.ndarray, depth: np.ndarray, band: np.ndarray
) -> np.ndarray:
    """What the scanner makes of the true HU: resolution, beam hardening, noise.

    Beam hardening is the residual of a water correction, brighter brain within a centimetre of
    the bone, and a dark band with streaks between the petrous bones; noise is white noise through
    the kernel and a high pass, stronger behind bone. These are approximations of the picture, not
    projections.

    Args:
        scan: kernel, noise and cupping.
        rng: of the noise.
        hu: float32, shape (rows, columns).
        depth: mm inside the bone; float32, the same shape.
        band: 0..1, between the petrous bones; likewise.
    """
    pixel = scan.fov / hu.shape[1]
    blurred = cv2.GaussianBlur(hu, (0, 0), max(scan.sharpness / pixel, 0.3))
    inside = (depth > 0).astype(np.float32)
    blurred = blurred + scan.cupping * inside * np.exp(-np.clip(depth, 0, 40) / 11)
    blurred -= scan.streaks * inside * band
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    fine = cv2.GaussianBlur(white, (0, 0), 0.8 / pixel)
    noise = fine - cv2.GaussianBlur(fine, (0, 0), 3.5 / pixel)
    noise *= scan.noise / max(float(noise.std()), 1e-6)
    return blurred + noise * (0.75 + 0.5 * np.clip(depth / 40, 0, 1))


def store(scan: Scan, hu: np.ndarray) -> np.ndarray:
    """The stored values of a slice, as its file's bits and intercept ask for.

    Returns:
        int16 or uint16, shape (rows, columns).
    """
    storage = scan.storage
    values = np.rint(hu).astype(np.int32)
    if storage.wrapped:
        return (np.clip(values, -1000, 3095) % 4096).astype(np.uint16)
    values = values - storage.intercept
    if storage.signed:
        half = 1 << (storage.bits - 1)
        if scan.circle:
            values = np.where(outside_circle(hu.shape), PADDING_STORED, values)
        return np.clip(values, -half, half - 1).astype(np.int16)
    return np.clip(values, 0, (1 << storage.bits) - 1).astype(np.uint16)


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

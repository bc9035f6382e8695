"""What X-rays measure of a slice, on a coarse map: beam hardening, photon noise, motion, rings.

A slice is projected along parallel rays, measured with a beam of several energies, corrected for
water as scanners do, and reconstructed by filtered back-projection (Kak and Slaney 1988, ch. 3).
Only the *error* of the measurement is reconstructed: it is smooth enough for cells of some 3 mm
and is added to the fine slice, which stays as sharp as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy import fft, sparse

Array = np.ndarray  # float32

CELLS = 80  # along each edge of the coarse map
VIEWS = 64  # over 180 degrees
CHANNELS = 116  # of the detector, one cell wide: the diagonal of the map
SECTORS = 2  # of directions that noise is told apart by: rays from front to back, and sideways
BONE_FROM, METAL_FROM = 100.0, 3000.0  # HU; denser than clotted blood, than tooth enamel
REFERENCE = 200.0  # mm of water that a noise is stated behind
DARKEST = 2e-4  # of the beam: what a detector still tells from its own noise

# A 120 kV spectrum behind 7 mm of aluminium, weighted by energy as the detectors weigh it.
SPECTRUM = np.array([0.10, 0.20, 0.28, 0.28, 0.14])  # at 40, 50, 60, 80, 100 keV
# Attenuation in 1/mm: mass attenuation times density, from Hubbell and Seltzer, NISTIR 5632;
# bone is cortical bone of ICRU report 44, metal is titanium.
WATER = np.array([0.2683, 0.2269, 0.2059, 0.1837, 0.1707]) * 0.1
BONE = np.array([0.6655, 0.4242, 0.3148, 0.2229, 0.1855]) * 0.1920
METAL = np.array([2.214, 1.213, 0.7661, 0.4052, 0.2721]) * 0.4506


@dataclass(frozen=True)
class Motion:
    """The head moves while the tube turns.

    Attributes:
        share: of the views, the last ones, that see it moved; 0..1.
        shift: in x and y, mm.
        angle: degrees about the middle of the field of view.
    """

    share: float
    shift: tuple[float, float]
    angle: float


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the scanner adds to slices; resize with `enlarge`.

    Attributes:
        error: HU to be added; float32, shape (slices, CELLS, CELLS).
        variance: of the noise as a multiple of that in the middle of REFERENCE mm of water, by
            the direction of the rays; float32, shape (slices, SECTORS, CELLS, CELLS).
    """

    error: Array
    variance: Array


def materials(hu: Array) -> Array:
    """Water, bone and metal of a slice on the coarse map.

    A cell is water up to BONE_FROM HU; what lies above is bone, and above METAL_FROM metal.

    Args:
        hu: float32, shape (rows, columns).

    Returns:
        Each one's HU / 1000 above nothing; float32, shape (3, CELLS, CELLS).
    """
    metal = np.maximum(hu - METAL_FROM, 0)
    dense = np.maximum(hu - BONE_FROM, 0) - metal
    water, bone, metal = (
        _coarse(part) / 1000 for part in (hu - dense - metal + 1000, dense, metal)
    )
    return np.stack([water, bone, metal])


def measure(
    parts: Array,
    cell: float,
    *,
    hardening: float,
    modulation: float,
    gains: Array,
    motions: Sequence[Motion | None],
) -> Measurement:
    """Measures slices and reconstructs what is wrong with the measurement.

    Args:
        parts: of `materials`; float32, shape (slices, 3, CELLS, CELLS).
        cell: edge of a cell, mm.
        hardening: share of the beam hardening that the scanner's correction for bone leaves.
        modulation: 0 to 1, how far the current of the tube follows the girth of each slice.
        gains: by which the channels err, mm of water; shape (CHANNELS,).
        motions: of the head, one a slice.
    """
    still = project(parts) * np.float32(cell)
    seen = _seen(parts, still, motions, cell)
    passed = transmission(seen)
    length = seen.sum(axis=1)
    error = length - still.sum(axis=1) + hardening * (water_length(passed) - length) + gains
    variance = _photon_noise(passed, water_diameter(parts, cell), modulation)
    return Measurement(1000 / cell * reconstruct(error), variance)


def water_diameter(parts: Array, cell: float) -> np.ndarray:
    """Of the disc of water that attenuates as much as a slice (AAPM report 220), mm."""
    area = np.maximum(parts.sum(axis=(1, 2, 3), dtype=float), 0) * cell**2
    return 2 * np.sqrt(area / np.pi)


def project(maps: Array) -> Array:
    """Integrals along the rays, in cells.

    Args:
        maps: float32, shape (..., CELLS, CELLS).

    Returns:
        float32, shape (..., VIEWS, CHANNELS).
    """
    rows = maps.reshape(-1, CELLS * CELLS)
    views = np.zeros((len(rows), VIEWS * CHANNELS), np.float32)
    full = rows.any(axis=1)  # few slices hold metal
    views[full] = (system_matrix() @ rows[full].T).T
    return views.reshape(*maps.shape[:-2], VIEWS, CHANNELS)


def back_project(views: Array) -> Array:
    """Sums over the rays through each cell; the transpose of `project`."""
    columns = np.ascontiguousarray(views.reshape(-1, VIEWS * CHANNELS).T)
    return (system_matrix().T @ columns).T.reshape(*views.shape[:-2], CELLS, CELLS)


def reconstruct(views: Array) -> Array:
    """Filtered back-projection, by the ramp of Ramachandran and Lakshminarayanan and a Hann window.

    The window keeps the coarse grid and the few views from showing.

    Args:
        views: integrals in cells; float32, shape (..., VIEWS, CHANNELS).
    """
    length = fft.next_fast_len(2 * CHANNELS, real=True)
    spectrum = fft.rfft(views, length) * _ramp(length)
    filtered = fft.irfft(spectrum, length)[..., :CHANNELS]
    return back_project(filtered) * np.float32(np.pi / VIEWS)


def transmission(lengths: Array) -> Array:
    """Share of the beam that passes.

    Args:
        lengths: of water, bone and metal, HU / 1000 times mm; shape (slices, 3, views, channels).

    Returns:
        Shape (slices, views, channels).
    """
    water, bone, metal = np.moveaxis(lengths, 1, 0)
    passed = np.zeros_like(water)
    for weight, *per_mm in zip(SPECTRUM.tolist(), *_coefficients(), strict=True):
        of_water, of_bone, of_metal = (float(value) for value in per_mm)
        passed += weight * np.exp(-of_water * water - of_bone * bone - of_metal * metal)
    return np.maximum(passed, DARKEST)


def through_water(lengths: np.ndarray | float) -> np.ndarray:
    """Share of the beam that passes mm of water."""
    return np.exp(-np.multiply.outer(lengths, WATER)) @ SPECTRUM


def water_length(passed: Array) -> Array:
    """The water correction: mm of water that let as much of the beam pass; float32."""
    lengths = np.linspace(0, 700, 1401)
    attenuation = -np.log(through_water(lengths))
    return np.interp(-np.log(passed), attenuation, lengths).astype(np.float32)


def enlarge(coarse: Array, shape: tuple[int, int]) -> Array:
    """A coarse map, or one with channels last, at the pixels of a slice."""
    edge = max(shape)
    large = cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC)
    top, left = (edge - shape[0]) // 2, (edge - shape[1]) // 2
    return large[top : top + shape[0], left : left + shape[1]]


@lru_cache(maxsize=1)
def system_matrix() -> sparse.csr_array:
    """How much of each strip lies in each cell; float32, (VIEWS * CHANNELS, CELLS * CELLS).

    A strip is as wide as a cell, so that a row of the matrix sums to the length of its ray.
    """
    row, column = np.divmod(np.arange(CELLS * CELLS), CELLS)
    x, y = column - (CELLS - 1) / 2, row - (CELLS - 1) / 2
    strips, cells, shares = [], [], []
    for view, angle in enumerate(view_angles()):
        wide, high = np.cos(angle), np.sin(angle)
        middle = x * wide + y * high + CHANNELS / 2
        first = np.floor(middle - (abs(wide) + abs(high)) / 2).astype(int)
        for channel in (first, first + 1, first + 2):
            share = _left_of(channel + 1 - middle, wide, high)
            share -= _left_of(channel - middle, wide, high)
            met = share > 1e-6
            strips.append(view * CHANNELS + channel[met])
            cells.append(np.flatnonzero(met))
            shares.append(share[met].astype(np.float32))
    indices = (np.concatenate(strips).astype(np.int32), np.concatenate(cells).astype(np.int32))
    shape = (VIEWS * CHANNELS, CELLS * CELLS)
    return sparse.coo_array((np.concatenate(shares), indices), shape=shape).tocsr()


def view_angles() -> np.ndarray:
    """From x towards y, radians, of the line that the detector lies along; never on an axis."""
    return (np.arange(VIEWS) + 0.5) * np.pi / VIEWS


def sector_weights(angles: np.ndarray) -> np.ndarray:
    """Shares of the sectors in a direction; they add up to 1. Shape (SECTORS, *angles.shape)."""
    middles = np.arange(SECTORS) * np.pi / SECTORS
    return 2 / SECTORS * np.cos(np.subtract.outer(-middles, -angles)) ** 2


def _seen(parts: Array, still: Array, motions: Sequence[Motion | None], cell: float) -> Array:
    """The integrals, of which a moving head's last ones are those of the head where it went."""
    seen = still.copy()
    for number, motion in enumerate(motions):
        if motion is not None:
            late = VIEWS - round(motion.share * VIEWS)
            seen[number, :, late:] = project(_moved(parts[number], motion, cell))[:, late:] * cell
    return seen


def _photon_noise(passed: Array, girth: np.ndarray, modulation: float) -> Array:
    """Variance of the noise, as `Measurement` has it: a ray's is one over its photons.

    The ramp filter reaches hardly beyond a few channels, so that the variance in a cell is the
    mean over the rays through it.
    """
    reference = through_water(REFERENCE)
    current = (reference / through_water(girth)) ** modulation
    noise = (reference / (passed * current[:, None, None])).astype(np.float32)
    return back_project(noise[:, None] * _sectors()[:, :, None])


def _left_of(line: np.ndarray, wide: float, high: float) -> np.ndarray:
    """Area of a unit square left of a line at a distance from its middle.

    The shadow of the square is a trapezoid, so that the area is piecewise quadratic.
    """
    a, b = abs(wide), abs(high)
    corners = (((a + b) / 2, 1), ((a - b) / 2, -1), ((b - a) / 2, -1), (-(a + b) / 2, 1))
    area = np.zeros_like(line)
    for at, sign in corners:
        area += sign * np.maximum(line + at, 0) ** 2
    return area / (2 * a * b)


def _coefficients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attenuation of a thousandth of each material's HU, by energy, 1/mm.

    Bone and metal displace water. Their HU are what the scanner shows, so their attenuation is
    scaled to hold in the middle of a head, where the beam has lost its softer part.
    """
    hardened = SPECTRUM * np.exp(-WATER * REFERENCE * 0.8)
    water, bone, metal = ((hardened @ x) for x in (WATER, BONE - WATER, METAL - WATER))
    return WATER, (BONE - WATER) * water / bone, (METAL - WATER) * water / metal


@lru_cache(maxsize=1)
def _ramp(length: int) -> Array:
    """Its band-limited impulse response avoids the shift of the mean (Kak and Slaney, eq. 3.61)."""
    distance = np.minimum(np.arange(length), length - np.arange(length))
    response = np.zeros(length)
    response[0] = 0.25
    odd = distance % 2 == 1
    response[odd] = -1 / (np.pi * distance[odd]) ** 2
    window = np.cos(np.pi / 2 * np.arange(length // 2 + 1) / (length // 2)) ** 2
    return (fft.rfft(response).real * window).astype(np.float32)


def _sectors() -> Array:
    """Weights of the views in each sector, of mean 1 when summed; float32, (SECTORS, VIEWS)."""
    weights = sector_weights(view_angles())
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _coarse(image: Array) -> Array:
    rows, columns = image.shape
    edge = max(rows, columns)
    top, left = (edge - rows) // 2, (edge - columns) // 2
    if rows != columns:
        border = (top, edge - rows - top, left, edge - columns - left)
        image = cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)
    return cv2.resize(image, (CELLS, CELLS), interpolation=cv2.INTER_AREA)


def _moved(parts: Array, motion: Motion, cell: float) -> Array:
    middle = ((CELLS - 1) / 2, (CELLS - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, motion.angle, 1.0)
    turn[:, 2] += np.array(motion.shift) / cell
    return np.stack([cv2.warpAffine(part, turn, (CELLS, CELLS)) for part in parts])

"""What X-rays measure of slices: hardening, scatter, noise, motion, rings and windmills.

A slice is projected along parallel rays, measured with a beam of several energies, corrected for
water as scanners do, and reconstructed by filtered back-projection. Only the *error* of the
measurement is reconstructed, on a coarse map, and added to the slice, which keeps its sharpness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords_tools.phantom.head.geometry import Array
from tfrecords_tools.phantom.scanner.beam import (
    REFERENCE,
    scatter_error,
    through_water,
    transmission,
    water_length,
)
from tfrecords_tools.phantom.scanner.projection import (
    CELLS,
    VIEWS,
    back_project,
    project,
    reconstruct,
    sector_weights,
    view_angles,
)

BONE_FROM, METAL_FROM = 100.0, 3000.0  # HU; denser than clotted blood, than tooth enamel


@dataclass(frozen=True)
class Motion:
    """A movement of the head while the tube rotates.

    Attributes:
        share: of the views that see the head moved, 0..1; they are the last ones.
        shift: in x and y, mm.
        angle: rotation about the middle of the field of view, degrees.
    """

    share: float
    shift: tuple[float, float]
    angle: float


@dataclass(frozen=True)
class Helix:
    """A spiral scan, whose views see the head a little above or below the slice.

    Where bone changes from slice to slice, as at the skull base, the error alternates with the
    direction of the rays: a windmill, which turns with the height (Silver et al. 2003).

    Attributes:
        sway: how far the views depart from the slice, in distances between slices.
        vanes: how often they do, over 180 degrees.
        turn: of the phase from slice to slice, radians.
    """

    sway: float
    vanes: int
    turn: float

    def departures(self, slices: int) -> Array:
        """Of every view, in distances between slices; float32, shape (slices, VIEWS, 1)."""
        phase = self.turn * np.arange(slices)[:, None]
        waves = self.sway * np.cos(2 * self.vanes * view_angles() + phase)
        return waves[..., None].astype(np.float32)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the scanner adds to slices, on the coarse map; resize with `enlarge`.

    Attributes:
        error: HU to add; float32, shape (slices, CELLS, CELLS).
        variance: of the noise by direction of the rays, relative to that in the middle of
            REFERENCE mm of water; float32, shape (slices, SECTORS, CELLS, CELLS).
    """

    error: Array
    variance: Array


def materials(hu: Array) -> Array:
    """Water, bone and metal of a slice on the coarse map.

    HU up to BONE_FROM are water; the excess is bone, and the excess over METAL_FROM metal.

    Returns:
        HU / 1000 of each material, where 0 is vacuum; float32, shape (3, CELLS, CELLS).
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
    scatter: float,
    modulation: float,
    gains: Array,
    motions: Sequence[Motion | None],
    helix: Helix | None,
) -> Measurement:
    """Measures slices and reconstructs the errors of the measurement.

    Args:
        parts: from `materials`; float32, shape (slices, 3, CELLS, CELLS).
        cell: edge of a cell, mm.
        hardening: share of the beam hardening that the scanner's bone correction leaves.
        scatter: scattered rays that the scanner's correction leaves, or removes if negative;
            relative to the beam behind REFERENCE mm of water.
        modulation: 0 to 1, how far the tube current follows the diameter of each slice.
        gains: errors of the channels, mm of water; shape (CHANNELS,).
        motions: of the head, one per slice.
        helix: None if each slice is scanned on its own.
    """
    still = project(parts) * np.float32(cell)
    seen = _with_motion(parts, still, motions, cell)
    passed = transmission(seen)
    length = seen.sum(axis=1)
    error = length - still.sum(axis=1) + hardening * (water_length(passed) - length) + gains
    error += scatter_error(passed, scatter)
    if helix is not None and len(length) > 1:
        error += helix.departures(len(length)) * np.gradient(length, axis=0)
    variance = _photon_noise(passed, water_diameter(parts, cell), modulation)
    return Measurement(1000 / cell * reconstruct(error), variance)


def water_diameter(parts: Array, cell: float) -> np.ndarray:
    """Diameter of the disc of water that attenuates as much as a slice (AAPM report 220), mm."""
    area = np.maximum(parts.sum(axis=(1, 2, 3), dtype=float), 0) * cell**2
    return 2 * np.sqrt(area / np.pi)


def enlarge(coarse: Array, shape: tuple[int, int]) -> Array:
    """Interpolates a coarse map, or one with channels last, to the pixels of a slice."""
    edge = max(shape)
    large = cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC)
    top, left = (edge - shape[0]) // 2, (edge - shape[1]) // 2
    return large[top : top + shape[0], left : left + shape[1]]


def _with_motion(
    parts: Array, still: Array, motions: Sequence[Motion | None], cell: float
) -> Array:
    """The projections; the last views of a moving head are those of the head in its new place."""
    seen = still.copy()
    for number, motion in enumerate(motions):
        if motion is not None:
            late = VIEWS - round(motion.share * VIEWS)
            seen[number, :, late:] = project(_moved(parts[number], motion, cell))[:, late:] * cell
    return seen


def _photon_noise(passed: Array, diameter: np.ndarray, modulation: float) -> Array:
    """Variance of the noise as in `Measurement`: that of a ray is one over its photons.

    The ramp filter mixes only a few channels, so the variance in a cell is the mean over the rays
    through it.
    """
    reference = through_water(REFERENCE)
    current = (reference / through_water(diameter)) ** modulation
    noise = (reference / (passed * current[:, None, None])).astype(np.float32)
    return back_project(noise[:, None] * _sectors()[:, :, None])


def _sectors() -> Array:
    """Weights of the views in each sector, each summing to 1; float32, (SECTORS, VIEWS)."""
    weights = sector_weights(view_angles())
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _coarse(image: Array) -> Array:
    """A slice, padded to a square, on the coarse map."""
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

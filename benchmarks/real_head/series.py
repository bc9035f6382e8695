"""A head CT series as slices in space, and its intracranial space."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from tfrecords_tools.dicom.reader import CTSlice, read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.phantom.study import Study

SAME_PLACE = 0.01  # mm; slices closer than this share one position
MAX_THICKNESS = 10.0  # mm; a wider gap is not covered by the slices
CONTENT_HU = (-20.0, 130.0)  # of brain, blood and CSF after blurring by BLUR, near bone and streaks
BONE_HU = 250.0
BLUR = 1.0  # mm, deviation
FORAMEN = 4.0  # mm; half the width of the holes in the skull base that are closed
SMALLEST = 800.0  # mm² of the intracranial space in a slice; about that of the foramen magnum
LARGEST_HOLE = 150.0  # mm²; calcium and sella, which the brain encloses
OVERLAP = 0.5  # least share of a part that overlaps the mask of the next slice


class SeriesError(InputError):
    """Files that are not a head CT series."""


@dataclass(frozen=True, eq=False)
class Series:
    """Slices of one acquisition, from the feet up.

    x runs to the patient's left, y to the back, z up, in mm, as in DICOM.

    Attributes:
        hu: float32, shape (slices, rows, columns).
        origins: centre of the first pixel of each slice; float64, shape (slices, 3).
        down: from row to row; float64, shape (3,).
        along: from column to column; likewise.
    """

    hu: np.ndarray
    origins: np.ndarray
    down: np.ndarray
    along: np.ndarray

    @property
    def pixel(self) -> float:
        """Edge of a pixel, mm."""
        return float(np.linalg.norm(self.along))

    @property
    def normal(self) -> np.ndarray:
        """Of the slices, towards the head; float64, shape (3,)."""
        normal = np.cross(self.along, self.down)
        return normal / np.linalg.norm(normal)

    @property
    def thickness(self) -> np.ndarray:
        """Of each slice, mm: the wider of the gaps beside it, since many files do not state it."""
        gaps = np.diff(self.origins @ self.normal)
        wider = np.maximum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
        return np.minimum(wider, MAX_THICKNESS)


def read_series(folder: Path) -> Series:
    """Reads the only series of a folder. Files that are not CT slices are ignored.

    Raises:
        SeriesError: if there are fewer than three slices, or they do not form one series.
    """
    slices = sorted(_slices(folder), key=lambda ct: ct.header.position_mm)
    if len({ct.header.series_id for ct in slices}) > 1:
        raise SeriesError(f"{folder}: holds more than one series; give the folder of one")
    headers = [ct.header for ct in slices]
    if len({(h.rows, h.columns, h.pixel_spacing, h.orientation) for h in headers}) > 1:
        raise SeriesError(f"{folder}: its slices differ in size or orientation")
    places = np.array([header.position_mm for header in headers])
    single = np.diff(places, prepend=-np.inf) > SAME_PLACE
    if single.sum() < 3 or headers[0].pixel_spacing is None:
        raise SeriesError(f"{folder}: {single.sum()} CT slices with a Pixel Spacing, expected 3")
    row_mm, column_mm = headers[0].pixel_spacing
    if row_mm != column_mm:
        raise SeriesError(f"{folder}: pixels of {row_mm} x {column_mm} mm, expected squares")
    kept = [ct for ct, first in zip(slices, single, strict=True) if first]
    return Series(
        hu=np.stack([ct.hu for ct in kept]),
        origins=np.array([ct.header.position for ct in kept], float),
        down=row_mm * np.array(headers[0].orientation[3:], float),
        along=column_mm * np.array(headers[0].orientation[:3], float),
    )


def as_series(study: Study) -> Series:
    """A phantom study as if it had been read from its files, with one slice per position."""
    apart = np.diff(study.positions[:, 2], prepend=-np.inf) > 0
    along, down = np.reshape(study.orientation, (2, 3)) * study.pixel
    return Series(study.hu[apart], study.positions[apart], down, along)


def intracranial(series: Series) -> np.ndarray:
    """The space within vault and skull base, down to the foramen magnum.

    Starts from the largest cavity that bone encloses in one slice. From there, up and down, soft
    tissue belongs to the space where most of it overlaps that of the neighbouring slice. A
    morphological opening closes the holes of the base, and areas below `SMALLEST` are left out.

    Returns:
        bool, shape (slices, rows, columns).

    Raises:
        SeriesError: if no slice shows a closed vault.
    """
    sigma = BLUR / series.pixel
    smooth = [cv2.GaussianBlur(np.clip(hu, -200, 1000), (0, 0), sigma) for hu in series.hu]
    cavities = [_largest_cavity(hu, series.pixel) for hu in smooth]
    start = int(np.argmax([cavity.sum() for cavity in cavities]))
    if cavities[start].sum() * series.pixel**2 < 10 * SMALLEST:
        raise SeriesError("no slice shows a closed vault; is this a head CT in HU?")
    masks = np.zeros(series.hu.shape, bool)
    for way in (range(start, len(smooth)), range(start, -1, -1)):
        beside = cavities[start]
        for number in way:
            beside = _content(smooth[number], beside, series.pixel)
            if not beside.any():
                break
            masks[number] = beside
    return masks


def _slices(folder: Path) -> list[CTSlice]:
    slices = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            slices.append(read_slice(path))
        except RejectedSlice:
            continue
    return slices


def _largest_cavity(smooth: np.ndarray, pixel: float) -> np.ndarray:
    bone = smooth > BONE_HU
    cavities, count = ndimage.label(ndimage.binary_fill_holes(bone) & ~bone)
    if not count:
        return np.zeros_like(bone)
    return cavities == np.bincount(cavities.ravel())[1:].argmax() + 1


def _content(smooth: np.ndarray, beside: np.ndarray, pixel: float) -> np.ndarray:
    """The parts of a slice most of which overlap the mask of the next one."""
    low, high = CONTENT_HU
    content = (smooth > low) & (smooth < high)
    cores, count = ndimage.label(_distance(content) * pixel > FORAMEN)
    covered = ndimage.mean(beside, cores, np.arange(1, count + 1))
    kept = np.isin(cores, np.flatnonzero(np.asarray(covered) >= OVERLAP) + 1)
    whole = content & (_distance(~kept) * pixel < FORAMEN + 1) if kept.any() else kept
    parts, count = ndimage.label(_filled(whole, pixel))
    areas = np.bincount(parts.ravel())[1:] * pixel**2
    return np.isin(parts, np.flatnonzero(areas >= SMALLEST) + 1)


def _filled(mask: np.ndarray, pixel: float) -> np.ndarray:
    holes, _ = ndimage.label(~mask)
    small = np.bincount(holes.ravel()) * pixel**2 < LARGEST_HOLE
    small[0] = False
    return mask | small[holes]


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance in pixels to the nearest pixel outside the mask; float32."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

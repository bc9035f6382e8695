"""What happens to slices between the scanner and the file: calibration, resampling and loss.

Nobody knows which of it the slices of an unknown hospital went through, so each study draws its
own. A reader decodes exactly what is left.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords_tools.phantom.head.geometry import Array

SOFT, WIDE = (-20.0, 100.0), (-900.0, 2300.0)  # HU; the windows of the pictures in CT-ICH 1.0.0
AGREE = 40.0  # HU; some three steps of the wide picture
AIR = -1000.0  # HU


@dataclass(frozen=True)
class Grid:
    """Other pixels, to which the slices were resampled once.

    Attributes:
        density: pixels per pixel of the slice, along each edge.
        angle: of its rows to those of the slice, degrees.
    """

    density: float
    angle: float

    def resample(self, hu: Array) -> Array:
        """A slice interpolated to this grid and back."""
        rows, columns = hu.shape
        middle = ((columns - 1) / 2, (rows - 1) / 2)
        there = cv2.getRotationMatrix2D(middle, self.angle, self.density)
        for flags in (cv2.INTER_LINEAR, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP):
            hu = cv2.warpAffine(hu, there, (columns, rows), flags=flags, borderValue=AIR)
        return hu


@dataclass(frozen=True)
class Processing:
    """What changes measured HU before they are stored.

    Attributes:
        scale: HU shown per true HU.
        offset: HU shown for water.
        grid: to which the slices were resampled; None if they were not.
        quality: of the JPEG pictures that the slices were stored as; None if they were not.
        limits: the lowest and the highest HU that were kept; None for all.
    """

    scale: float
    offset: float
    grid: Grid | None
    quality: int | None
    limits: tuple[float, float] | None

    def apply(self, hu: np.ndarray) -> np.ndarray:
        """Changes HU; float32, shape (slices, rows, columns)."""
        hu = hu * np.float32(self.scale) + np.float32(self.offset)
        if self.grid is not None:
            hu = np.stack([self.grid.resample(image) for image in hu])
        if self.quality is not None:
            hu = np.stack([_from_pictures(image, self.quality) for image in hu])
        return hu if self.limits is None else hu.clip(*self.limits)


def sample_processing(rng: np.random.Generator, *, keeps_air: bool) -> Processing:
    """Draws the processing of a study; most only have an error of the calibration.

    `keeps_air` is for files whose HU only the air in them confirms.
    """
    density = rng.uniform(0.6, 0.95)
    angle = rng.normal(0, 6) if rng.random() < 0.3 else 0.0
    return Processing(
        scale=rng.uniform(0.97, 1.03),
        offset=float(np.clip(rng.normal(0, 2), -4, 4)),
        grid=Grid(density, angle) if rng.random() < 0.25 else None,
        quality=int(rng.integers(60, 96)) if rng.random() < 0.12 else None,
        limits=_sample_limits(rng, 0.0 if keeps_air else 0.05),
    )


def _sample_limits(rng: np.random.Generator, share: float) -> tuple[float, float] | None:
    return _LIMITS[rng.integers(len(_LIMITS))] if rng.random() < share else None


# Of published sets that hold soft tissue only, and of pictures in the usual windows.
_LIMITS = ((0.0, 255.0), (-100.0, 300.0), (-200.0, 1000.0))


def _from_pictures(hu: Array, quality: int) -> Array:
    """HU rebuilt from two 8-bit pictures: the soft one, except where the wide one is far from it.

    At the ends of its window, errors of the soft picture are no HU.
    """
    soft, wide = (_through_jpeg(hu, window, quality) for window in (SOFT, WIDE))
    is_soft = (wide > SOFT[0] - AGREE) & (wide < SOFT[1] + AGREE)
    return np.where(is_soft, soft, np.where(wide < WIDE[0] + AGREE, np.float32(AIR), wide))


def _through_jpeg(hu: Array, window: tuple[float, float], quality: int) -> Array:
    low, high = window
    shown = np.rint((hu.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.float32)
    return decoded * np.float32((high - low) / 255) + np.float32(low)

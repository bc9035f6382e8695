"""The reconstruction kernel, which decides both resolution and noise texture."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from tfrecords_tools.phantom.scanner.projection import SECTORS, sector_weights

ENHANCED = 1.5  # mm; deviation of the blur that edge enhancement subtracts from the image
TAIL = 3.0  # mm; deviation of the wide part of the blur
FINEST = 0.3  # pixels; a narrower blur has no effect


@dataclass(frozen=True)
class Kernel:
    """A Gaussian with wide tails, and an unsharp mask that makes sharp kernels overshoot at edges.

    Rays from outside the focal spot and light that spreads in the detector give the tails. They
    brighten the brain within some 4 mm of the skull.

    Attributes:
        blur: standard deviation of the Gaussian, mm; 0.3 (sharp) to 1.0 (soft).
        enhancement: share of the detail finer than ENHANCED that the mask adds.
        denoising: standard deviation, mm, of a Gaussian that only noise passes. Iterative
            reconstruction leaves edges sharp and noise blotchy; 0 for filtered back-projection.
        tails: share of the signal that spreads over TAIL mm.
    """

    blur: float
    enhancement: float
    denoising: float
    tails: float

    def transfer(self, frequency: np.ndarray) -> np.ndarray:
        """The modulation transfer function at a frequency in line pairs per mm."""
        gauss = np.exp(-2 * (np.pi * self.blur * frequency) ** 2)
        detail = 1 - np.exp(-2 * (np.pi * ENHANCED * frequency) ** 2)
        spread = np.exp(-2 * (np.pi * TAIL * frequency) ** 2)
        return gauss * (1 + self.enhancement * detail) * (1 - self.tails * (1 - spread))

    def resolve(self, hu: np.ndarray, pixel: float) -> np.ndarray:
        """A slice at the resolution of the kernel; `pixel` is the edge of a pixel in mm."""
        if self.tails:
            hu = cv2.addWeighted(hu, 1 - self.tails, _spread(hu, pixel), self.tails, 0)
        blurred = cv2.GaussianBlur(hu, (0, 0), max(self.blur / pixel, FINEST))
        if not self.enhancement:
            return blurred
        soft = cv2.GaussianBlur(blurred, (0, 0), max(ENHANCED / pixel, FINEST))
        return cv2.addWeighted(blurred, 1 + self.enhancement, soft, -self.enhancement, 0)

    def noise_filters(self, shape: tuple[int, int], pixel: float) -> np.ndarray:
        """Filters that turn white noise into the kernel's, one per sector of directions.

        Filtered back-projection transmits noise in proportion to the frequency, and the kernel
        multiplies it by its transfer function: a power spectrum of f MTF(f)² (Riederer et al.
        1978). The amplitudes of the sectors add up to a filter whose noise has unit variance.

        Args:
            shape: rows, columns.
            pixel: edge of a pixel, mm.

        Returns:
            For `scipy.fft.rfft2` of a slice; float32, shape (SECTORS, rows, columns // 2 + 1).
        """
        down = fft.fftfreq(shape[0], pixel)[:, None]
        along = fft.rfftfreq(shape[1], pixel)
        frequency = np.hypot(down, along)
        amplitude = np.sqrt(frequency) * self.transfer(frequency)
        amplitude *= np.exp(-2 * (np.pi * self.denoising * frequency) ** 2)
        twice = np.full(amplitude.shape[1], 2.0)  # the half that a real transform leaves out
        twice[0] = 1
        twice[shape[1] // 2 :] = 1 + shape[1] % 2
        amplitude /= np.sqrt((amplitude**2 * twice).sum() / (shape[0] * shape[1]))
        sectors = amplitude * sector_weights(np.arctan2(down, along))
        return sectors.astype(np.float32)


def noise_fields(
    rng: np.random.Generator, filters: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Draws noise by direction; the directions add up to a field of unit variance.

    Args:
        rng: source of the noise.
        filters: from `Kernel.noise_filters` for this shape.
        shape: rows, columns.

    Returns:
        float32, shape (SECTORS, rows, columns).
    """
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    return np.stack([fft.irfft2(white * filters[k], shape) for k in range(SECTORS)])


def _spread(hu: np.ndarray, pixel: float) -> np.ndarray:
    """A slice blurred over TAIL mm, on larger pixels for speed."""
    rows, columns = hu.shape
    step = max(round(TAIL / 2 / pixel), 1)
    coarse = cv2.resize(hu, (columns // step, rows // step), interpolation=cv2.INTER_AREA)
    deviation = max((TAIL / pixel / step) ** 2 - 0.25, FINEST**2) ** 0.5  # the pixels blur too
    blurred = cv2.GaussianBlur(coarse, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_LINEAR)

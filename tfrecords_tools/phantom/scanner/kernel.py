"""The reconstruction kernel, which decides both resolution and noise texture."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from tfrecords_tools.phantom.scanner.projection import SECTORS, sector_weights

ENHANCED = 1.5  # mm; deviation of the blur that edge enhancement subtracts from the image
FINEST = 0.3  # pixels; a narrower blur has no effect


@dataclass(frozen=True)
class Kernel:
    """A Gaussian, and an unsharp mask that makes sharp kernels overshoot at edges.

    Attributes:
        blur: standard deviation of the Gaussian, mm; 0.3 (sharp) to 1.0 (soft).
        enhancement: share of the detail finer than ENHANCED that the mask adds.
        denoising: standard deviation, mm, of a Gaussian that only noise passes. Iterative
            reconstruction leaves edges sharp and noise blotchy; 0 for filtered back-projection.
    """

    blur: float
    enhancement: float
    denoising: float

    def transfer(self, frequency: np.ndarray) -> np.ndarray:
        """The modulation transfer function at a frequency in line pairs per mm."""
        gauss = np.exp(-2 * (np.pi * self.blur * frequency) ** 2)
        detail = 1 - np.exp(-2 * (np.pi * ENHANCED * frequency) ** 2)
        return gauss * (1 + self.enhancement * detail)

    def resolve(self, hu: np.ndarray, pixel: float) -> np.ndarray:
        """A slice at the resolution of the kernel; `pixel` is the edge of a pixel in mm."""
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

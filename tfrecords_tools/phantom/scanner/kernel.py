"""The reconstruction kernel: resolution and the texture of the noise, which belong together."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from tfrecords_tools.phantom.scanner.projection import SECTORS, sector_weights

ENHANCED = 1.5  # mm; deviation of the blur that edge enhancement takes away from the image
FINEST = 0.3  # pixels; a narrower blur does nothing


@dataclass(frozen=True)
class Kernel:
    """A Gaussian, and an unsharp mask that lets sharp kernels overshoot at edges.

    Attributes:
        blur: standard deviation, mm; 0.3 (sharp) to 0.7 (soft).
        enhancement: share of the detail finer than ENHANCED that is added again.
    """

    blur: float
    enhancement: float

    def transfer(self, frequency: np.ndarray) -> np.ndarray:
        """The modulation transfer function, of line pairs a mm."""
        gauss = np.exp(-2 * (np.pi * self.blur * frequency) ** 2)
        detail = 1 - np.exp(-2 * (np.pi * ENHANCED * frequency) ** 2)
        return gauss * (1 + self.enhancement * detail)

    def resolve(self, hu: np.ndarray, pixel: float) -> np.ndarray:
        """A slice as sharp as the kernel leaves it.

        Args:
            hu: float32, shape (rows, columns).
            pixel: edge of one, mm.
        """
        blurred = cv2.GaussianBlur(hu, (0, 0), max(self.blur / pixel, FINEST))
        if not self.enhancement:
            return blurred
        soft = cv2.GaussianBlur(blurred, (0, 0), max(ENHANCED / pixel, FINEST))
        return cv2.addWeighted(blurred, 1 + self.enhancement, soft, -self.enhancement, 0)

    def noise_filters(self, shape: tuple[int, int], pixel: float) -> np.ndarray:
        """What turns white noise into the kernel's, a sector of directions each.

        Filtered back-projection passes noise in proportion to the frequency, and the kernel's
        transfer function once more: a power spectrum of f MTF(f)² (Riederer et al. 1978). The
        amplitudes of the sectors add up to that of all, whose noise has unit variance.

        Args:
            shape: rows, columns.
            pixel: edge of one, mm.

        Returns:
            For `scipy.fft.rfft2` of a slice; float32, shape (SECTORS, rows, columns // 2 + 1).
        """
        down = fft.fftfreq(shape[0], pixel)[:, None]
        along = fft.rfftfreq(shape[1], pixel)
        frequency = np.hypot(down, along)
        amplitude = np.sqrt(frequency) * self.transfer(frequency)
        twice = np.full(amplitude.shape[1], 2.0)  # the half that a real transform leaves out
        twice[0] = 1
        twice[shape[1] // 2 :] = 1 + shape[1] % 2
        amplitude /= np.sqrt((amplitude**2 * twice).sum() / (shape[0] * shape[1]))
        sectors = amplitude * sector_weights(np.arctan2(down, along))
        return sectors.astype(np.float32)


def noise_fields(
    rng: np.random.Generator, filters: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Draws noise, parted by direction; the parts add up to a field of unit variance.

    Args:
        rng: of the noise.
        filters: of `Kernel.noise_filters` for this shape.
        shape: rows, columns.

    Returns:
        float32, shape (SECTORS, rows, columns).
    """
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    return np.stack([fft.irfft2(white * filters[k], shape) for k in range(SECTORS)])

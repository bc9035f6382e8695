"""Masks of hemorrhages: 8-bit PNG files named after their slice, bit k set where subtype k is."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.errors import InputError

HALF = 0.5  # share of a pixel from which it belongs to the hemorrhage


def read_mask(path: Path) -> np.ndarray:
    """Reads a mask, uint8 (rows, columns); InputError if the file holds none."""
    mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.dtype != np.uint8 or mask.ndim != 2 or mask.max() >> len(SUBTYPES):
        raise InputError(f"{path}: no PNG of 8 bits, of which bit k is the mask of subtype k")
    return mask


def kinds_in(mask: np.ndarray) -> tuple[int, ...]:
    """The label of each subtype that a mask gives, 0 or 1."""
    present = int(np.bitwise_or.reduce(mask, axis=None))
    return tuple(present >> k & 1 for k in range(len(SUBTYPES)))


def resample_mask(mask: np.ndarray, resample: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A mask after a function of the share of each pixel, float32 (rows, columns), 0..1."""
    shares = (resample((mask >> k & 1).astype(np.float32)) for k in range(len(SUBTYPES)))
    planes = [(share >= HALF).astype(np.uint8) << k for k, share in enumerate(shares)]
    return np.bitwise_or.reduce(planes)

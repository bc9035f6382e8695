"""From HU to windowed slices: pad, resize, window."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords_tools.errors import UsageError

AIR = -1000.0  # HU
MAX_LEVEL = 1e5  # HU; far beyond any CT
RESIZED_TOGETHER = (1, 3, 4)  # channels
MIN_WIDTH = 0.1  # HU; narrower ones would need grey levels of more than 32 bits before clipping


class Window(NamedTuple):
    """A DICOM LINEAR_EXACT window (PS3.3 C.11.2.1.3.2): [center - width/2, center + width/2].

    LINEAR, which viewers default to, differs by up to one HU at the white end.
    """

    name: str
    center: float  # HU
    width: float  # HU


WINDOWS = {
    window.name: window
    for window in (
        Window("brain", 40.0, 80.0),
        Window("subdural", 80.0, 200.0),
        Window("bone", 600.0, 2800.0),
        Window("stroke", 40.0, 40.0),
        Window("soft", 40.0, 380.0),
    )
}


def parse_windows(text: str) -> tuple[Window, ...]:
    """Reads `brain,mine=35/70`: known names, or name=centre/width in HU; UsageError otherwise."""
    windows = tuple(_parse_window(part.strip()) for part in text.split(","))
    names = [window.name for window in windows]
    if len(set(names)) < len(names):
        raise UsageError(f"windows {text!r}: a name occurs twice")
    return windows


def apply_windows(hu: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Maps each window onto 0..255, one channel per window.

    The result is the same on every processor. Ties are rounded to the even grey level for the named
    windows and whole HU or their means over 2x2, 4x4 or 8x8 pixels; for other windows a tie may be
    rounded either way if 255 / width is not exact in single precision.

    `hu` is float32 or integer, (rows, columns); the result uint8 (rows, columns, len(windows)), 0
    at and below a window, 255 at and above it. Raises ValueError if a value is not finite.
    """
    if not np.isfinite(hu).all():
        raise ValueError("HU must be finite, got NaN or infinity")
    hu = hu.astype(np.float32, copy=False)
    above = np.empty(hu.shape, np.float32)  # reused: allocating one per window doubles the time
    grey = [_windowed(hu, window, above) for window in windows]
    return np.atleast_3d(cv2.merge(grey))


def _windowed(hu: np.ndarray, window: Window, above: np.ndarray) -> np.ndarray:
    """Computes one channel; overwrites `above` with HU above the lower end of the window.

    One subtraction and one product, each rounded to single precision. OpenCV adds only zeros to the
    product: with an offset instead, processors that fuse both (FMA) would not round the product
    first, and their grey levels would differ.
    """
    np.subtract(hu, np.float32(window.center - window.width / 2), out=above)
    scale = float(np.float32(255 / window.width))  # OpenCV may or may not round a double
    return cv2.addWeighted(above, scale, above, 0, 0, dtype=cv2.CV_8U)


def pad_square(hu: np.ndarray, fill: float = AIR) -> np.ndarray:
    """Centres a slice in a square of air, which keeps its proportions.

    `hu` is (rows, columns), `fill` 0 for a mask; the result is float32 (n, n), n = max(rows,
    columns).
    """
    rows, columns = hu.shape
    edge = max(rows, columns)
    if rows == columns:
        return hu.astype(np.float32, copy=False)
    square = np.full((edge, edge), fill, np.float32)
    top, left = (edge - rows) // 2, (edge - columns) // 2
    square[top : top + rows, left : left + columns] = hu
    return square


def resize_area(hu: np.ndarray, size: int) -> np.ndarray:
    """Averages HU over the area of each new pixel; enlarging interpolates linearly.

    HU are averaged before windowing: the mean of clipped values would hide partial volume.

    The result is the same on every x86-64 processor, and on ARM if `size` divides n. Otherwise
    OpenCV fuses products and sums on ARM, and the last digit may differ. `hu` is float32 or
    integer, (n, n), the result float32 (size, size).
    """
    hu = hu.astype(np.float32, copy=False)
    if hu.shape == (size, size):
        return hu
    return cv2.resize(hu, (size, size), interpolation=cv2.INTER_AREA)


def window_slice(hu: np.ndarray, size: int, windows: Sequence[Window]) -> np.ndarray:
    """Pads, resizes and windows a finite slice, (rows, columns); uint8 (size, size, windows)."""
    return apply_windows(resize_area(pad_square(hu), size), windows)


def shrink_windowed(image: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Averages the grey levels of a windowed slice over the area of each new pixel.

    OpenCV rounds halves up in images of one, three or four channels. It rounds them to even in
    those of two, and refuses some sizes of more than four, so the channels of these are resized one
    by one. `image` is uint8 (n, n, channels), and `size` at most n; the result is uint8
    (size, size, channels). `out` may receive it: new memory takes longer than the averaging.
    """
    rows, columns, channels = image.shape
    if (rows, columns) == (size, size):
        return image
    if channels in RESIZED_TOGETHER:
        small = cv2.resize(image, (size, size), dst=out, interpolation=cv2.INTER_AREA)
        return np.atleast_3d(small)
    planes = [
        cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in cv2.split(image)
    ]
    return cv2.merge(planes, dst=out)


def stack_slices(slices: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks slices, (rows, columns, windows) each, as channels: per window, from the lowest up."""
    rows, columns, _ = slices[0].shape
    return np.stack(slices, axis=-1).reshape(rows, columns, -1)


def _parse_window(part: str) -> Window:
    if part in WINDOWS:
        return WINDOWS[part]
    name, separator, levels = part.partition("=")
    center, slash, width = levels.partition("/")
    try:
        if not (separator and slash and name.isidentifier()):
            raise ValueError
        window = Window(name, float(center), float(width))
    except ValueError:
        raise UsageError(
            f"unknown window {part!r}; choose from {', '.join(WINDOWS)}, or give name=centre/width"
        ) from None
    if not (abs(window.center) <= MAX_LEVEL and MIN_WIDTH <= window.width <= MAX_LEVEL):
        raise UsageError(
            f"window {part!r}: the centre must lie within -{MAX_LEVEL:.0f} to {MAX_LEVEL:.0f} HU,"
            f" the width within {MIN_WIDTH:g} to {MAX_LEVEL:.0f} HU"
        )
    return window

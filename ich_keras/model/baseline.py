"""A plain rule that a network has to beat: how large the largest area as dense as blood is.

Fresh blood has 50 to 90 HU, brain 20 to 45. The rule measures the largest connected region of such
pixels inside the head. It is not trained and costs next to nothing.
"""

import cv2
import numpy as np

from ich_keras.data.network_input import NetworkInput
from tfrecords_tools.windows import Window

BLOOD_HU = (50.0, 90.0)
SOFT_HU = (0.0, 100.0)  # brain, blood and fluid; not bone, air or fat
MARGIN_MM = 3.0  # from the skull inwards, where bone and brain share a pixel
UNKNOWN_WIDTH_MM = 230.0  # of a slice, if no file gives the size of a pixel
ENOUGH_PIXELS = 128  # edge; with more the rule is no better, and slower


def plain_rule_areas(
    images: np.ndarray, network_input: NetworkInput, pixel_mm: float | None
) -> np.ndarray | None:
    """What the rule measures in the input of a network; None if no window shows enough.

    `images` are uint8 (N, size, size, channels), `pixel_mm` is the edge of a pixel, None if
    unknown; the areas are float (N,), mm².
    """
    window = window_for_rule(network_input.windows)
    if window is None:
        return None
    shown = np.ascontiguousarray(images[..., network_input.channel_of(window)])
    return dense_areas(shown, network_input.windows[window], pixel_mm)


def window_for_rule(windows: tuple[Window, ...]) -> int | None:
    """Index of the narrowest window that covers SOFT_HU; None if there is none."""
    suitable = [
        (window.width, index)
        for index, window in enumerate(windows)
        if window.center - window.width / 2 <= SOFT_HU[0]
        and window.center + window.width / 2 >= SOFT_HU[1]
    ]
    return min(suitable)[1] if suitable else None


def dense_areas(images: np.ndarray, window: Window, pixel_mm: float | None) -> np.ndarray:
    """Area of the largest region as dense as blood in each slice; float (N,), mm².

    `images` are uint8 (N, size, size), in a window that covers SOFT_HU; `pixel_mm` is the edge of a
    pixel, None if unknown.
    """
    size = images.shape[1]
    reduced = min(size, ENOUGH_PIXELS)
    edge = (pixel_mm or UNKNOWN_WIDTH_MM / size) * size / reduced
    soft, blood = (_levels(limits, window) for limits in (SOFT_HU, BLOOD_HU))
    reach = max(1, round(MARGIN_MM / edge))
    margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    shape = (reduced, reduced)
    small = [cv2.resize(x, shape, interpolation=cv2.INTER_AREA) for x in images]
    return np.array([_dense_pixels(x, soft, blood, margin) for x in small]) * edge**2


def _levels(limits_hu: tuple[float, float], window: Window) -> list[int]:
    low = window.center - window.width / 2
    return [round((hu - low) / window.width * 255) for hu in limits_hu]


def _dense_pixels(
    image: np.ndarray, soft: list[int], blood: list[int], margin: np.ndarray
) -> float:
    smooth = cv2.medianBlur(image, 3)  # otherwise noise reaches the density of blood
    inside = _largest_region(cv2.erode(cv2.inRange(smooth, *soft), margin))[0]
    return _largest_region(cv2.inRange(smooth, *blood) & inside)[1]


def _largest_region(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """The largest connected region of a mask of 0 and 255, and its number of pixels."""
    _, regions, facts, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_16U, cv2.CCL_BBDT
    )
    if len(facts) == 1:
        return np.zeros_like(mask), 0.0
    largest = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    return (regions == largest).astype(np.uint8) * 255, float(facts[largest, cv2.CC_STAT_AREA])

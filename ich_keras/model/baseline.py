"""The plain rule that a network has to beat: how much there is of what is as dense as blood.

Fresh blood has 50 to 90 HU, brain 20 to 45. The rule takes the largest connected region of such
pixels inside the head; it has learned nothing and costs next to nothing.
"""

import cv2
import numpy as np

from ich_keras.data.network_input import NetworkInput
from tfrecords_tools.windows import Window

BLOOD_HU = (50.0, 90.0)
SOFT_HU = (0.0, 100.0)  # brain, blood and fluid; not bone, not air, not fat
MARGIN_MM = 3.0  # from the skull inwards, where bone and brain share a pixel
UNKNOWN_WIDTH_MM = 230.0  # of a slice, where no file told the size of a pixel
ENOUGH_PIXELS = 128  # an edge; on more the rule is no better, and slower


def window_for_rule(windows: tuple[Window, ...]) -> int | None:
    """Which window shows brain, blood and where bone begins, the narrowest; None if none does."""
    serving = [
        (window.width, place)
        for place, window in enumerate(windows)
        if window.center - window.width / 2 <= SOFT_HU[0]
        and window.center + window.width / 2 >= SOFT_HU[1]
    ]
    return min(serving)[1] if serving else None


def plain_rule_areas(
    images: np.ndarray, network_input: NetworkInput, pixel_mm: float | None
) -> np.ndarray | None:
    """What the plain rule measures in each slice of a network's input; None if no window serves.

    Args:
        images: uint8, shape (N, size, size, channels).
        network_input: what the channels are.
        pixel_mm: edge of a pixel; None if unknown.

    Returns:
        float, shape (N,), mm²: as `dense_areas`.
    """
    window = window_for_rule(network_input.windows)
    if window is None:
        return None
    shown = np.ascontiguousarray(images[..., network_input.channel_of(window)])
    return dense_areas(shown, network_input.windows[window], pixel_mm)


def dense_areas(images: np.ndarray, window: Window, pixel_mm: float | None) -> np.ndarray:
    """The largest region as dense as blood inside the head, of each slice; float (N,), mm².

    Args:
        images: uint8, shape (N, size, size): the slices in a window.
        window: from `window_for_rule`.
        pixel_mm: edge of a pixel; None where it is not known.
    """
    size = images.shape[1]
    shown = min(size, ENOUGH_PIXELS)
    edge = (pixel_mm or UNKNOWN_WIDTH_MM / size) * size / shown
    low = window.center - window.width / 2
    soft, blood = (
        [round((hu - low) / window.width * 255) for hu in limits] for limits in (SOFT_HU, BLOOD_HU)
    )
    reach = max(1, round(MARGIN_MM / edge))
    margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    areas = [
        _largest(cv2.resize(x, (shown, shown), interpolation=cv2.INTER_AREA), soft, blood, margin)
        for x in images
    ]
    return np.array(areas) * edge**2


def _largest(image: np.ndarray, soft: list[int], blood: list[int], margin: np.ndarray) -> float:
    """Of one slice, in pixels."""
    calm = cv2.medianBlur(image, 3)  # else noise reaches the density of blood
    inside = _largest_region(cv2.erode(cv2.inRange(calm, *soft), margin))[0]
    return _largest_region(cv2.inRange(calm, *blood) & inside)[1]


def _largest_region(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """The largest connected region of a mask of 0 and 255, and its pixels."""
    _, regions, facts, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_16U, cv2.CCL_BBDT
    )
    if len(facts) == 1:
        return np.zeros_like(mask), 0.0
    largest = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    return (regions == largest).astype(np.uint8) * 255, float(facts[largest, cv2.CC_STAT_AREA])

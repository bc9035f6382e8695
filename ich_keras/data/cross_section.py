"""Whether slices are too large for a head, by their pixels: headers often do not name the body."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords_tools.dicom.reader import CTSlice

# The outline of a head of 64 cm around is at most 326 cm2, and tilted by 30 degrees 376.
MAX_HEAD_CM2 = 400.0
TISSUE_HU = -300.0  # above it is no air, hair, foam or lung
THIN_MM = 8.0  # head holders, tables and clothes are thinner, and left out
SAMPLED = 9  # slices; of a head's, only the lowest show shoulders


class Outline(NamedTuple):
    """Of a body in a slice."""

    points: np.ndarray  # int32, shape (N, 1, 2), x and y in pixels
    cm2: float  # area within


def is_larger_than_a_head(slices: Sequence[CTSlice]) -> bool:
    """Whether the median outline of the body is; no slices with pixels of unknown size are."""
    chosen = np.unique(np.linspace(0, len(slices) - 1, SAMPLED).round().astype(int))
    return bool(np.median([outline_cm2(slices[i]) for i in chosen]) > MAX_HEAD_CM2)


def outline_cm2(ct: CTSlice) -> float:
    """Area within the outline of the body; 0 if there is none, or pixels are of unknown size."""
    outline = body_outline(ct)
    return outline.cm2 if outline is not None else 0.0


def body_outline(ct: CTSlice) -> Outline | None:
    """That of the largest object that is not thin."""
    spacing = ct.header.pixel_spacing
    if spacing is None or not np.isfinite(ct.header.edge_mm):
        return None
    height, width = (max(round(THIN_MM / x), 1) for x in spacing)
    thin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))
    body = cv2.morphologyEx((ct.hu > TISSUE_HU).astype(np.uint8), cv2.MORPH_OPEN, thin)
    outlines, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea, default=None)
    if largest is None:
        return None
    return Outline(largest, cv2.contourArea(largest) * spacing[0] * spacing[1] / 100)

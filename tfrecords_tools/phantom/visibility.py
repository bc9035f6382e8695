"""Which hemorrhages a reader sees in a slice, and which are therefore labelled."""

import numpy as np

MINIMUM_AREA = 10.0  # mm² in a slice, of all pixels of a subtype: a petechia 3.5 mm across
BRAIN_HU = 34.0  # with which blood in CSF is compared, since brain surrounds it
MOST, SOME, DENSE = 0.5, 0.25, 10.0  # shares of a pixel; HU against the surroundings
FAINTEST = 70.0  # HU mm; contrast times the root of the area, to which the eye responds (Rose 1948)


def visible_pixels(share: np.ndarray, contrast: np.ndarray, pixel: float) -> np.ndarray:
    """The pixels of a hemorrhage that a reader sees in a slice; none of one that is too faint.

    Blood is seen where it takes most of a pixel, and where less of it is still dense.

    Args:
        share: of the hemorrhage in each pixel, 0..1; shape (rows, columns).
        contrast: HU against the surroundings, after averaging over the slice; likewise.
        pixel: edge of a pixel, mm.

    Returns:
        bool, the same shape.
    """
    mask = (share > MOST) | ((share > SOME) & (np.abs(contrast) > DENSE))
    area = np.count_nonzero(mask) * pixel**2
    if area < MINIMUM_AREA or np.abs(contrast[mask]).mean() * np.sqrt(area) < FAINTEST:
        return np.zeros_like(mask)
    return mask

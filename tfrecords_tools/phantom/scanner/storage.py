"""How a file stores HU: the combinations of header elements that the RSNA set has."""

from dataclasses import dataclass

import numpy as np

CEILING = 3071  # HU that 12 bits reach; most scanners store no more in 16 bits either
FLOOR = -1024  # HU; no scanner stores lower measured values


@dataclass(frozen=True)
class Storage:
    """How a file stores HU.

    Attributes:
        bits: Bits Stored.
        signed: True if Pixel Representation is 1.
        intercept: Rescale Intercept of the header.
        padding: stored value outside the field of view.
        wrapped: True if the intercept is wrong, since 12-bit values wrapped around.
    """

    bits: int
    signed: bool
    intercept: int
    padding: int
    wrapped: bool = False

    def encode(self, hu: np.ndarray, *, circle: bool, extended: bool) -> np.ndarray:
        """The stored values of HU; int16 or uint16.

        Args:
            hu: float32, shape (slices, rows, columns).
            circle: whether pixels outside the inscribed circle are padding.
            extended: whether HU above CEILING are stored.
        """
        highest = (1 << (self.bits - self.signed)) - 1
        if self.wrapped:
            stored = np.rint(np.clip(hu, -1000, highest - 1000)).astype(np.int32) % (highest + 1)
        else:
            top = highest + self.intercept
            ceiling = top if extended else min(top, CEILING)
            floor = FLOOR if self.signed else max(FLOOR, self.intercept)
            stored = np.rint(np.clip(hu, floor, ceiling)).astype(np.int32) - self.intercept
        if circle:
            stored[:, outside_circle(hu.shape[1:])] = self.padding
        return stored.astype(np.int16 if self.signed else np.uint16)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The HU that a correct reader gets from the stored values; float32."""
        values = stored.astype(np.int32)
        if self.wrapped:
            return ((values + 1000) % 4096 - 1000).astype(np.float32)
        return (values + self.intercept).astype(np.float32)


# Padding puts the lowest HU at -3024, -2048, -1024 and -1000, as in the RSNA set.
COMMON = (Storage(12, False, -1024, 0), Storage(16, True, -1024, -2000))
RARE = (
    Storage(12, False, 0, 3096, wrapped=True),
    Storage(16, True, 0, -2048),
    Storage(12, False, -1000, 0),
    Storage(12, True, 0, -2048),
    Storage(12, False, 1, 3096, wrapped=True),
)


def outside_circle(shape: tuple[int, ...]) -> np.ndarray:
    """The corners that a circular field of view leaves empty; bool."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle_row, middle_column = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    distance = (rows - middle_row) ** 2 + (columns - middle_column) ** 2
    return distance > (max(shape) / 2) ** 2

"""Where a head lies in the phantom's coordinates, found from its intracranial space alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from benchmarks.real_head import grid
from benchmarks.real_head.grid import Grid
from benchmarks.real_head.series import Series
from tfrecords_tools.phantom.head.geometry import Points
from tfrecords_tools.phantom.head.patient import AXES_SPREAD, MEAN_AXES, Head, sample_head

CANDIDATES = 8  # heads that are tried
YAWS = (-10.0, 10.0)  # degrees from which each is; from 0, some stay at a false minimum
A_SLICE = 120  # points of the surface
TURN_SPREAD = 10.0  # degrees by which heads are turned in a scanner
SIZE_SPREAD = np.array(AXES_SPREAD) / np.array(MEAN_AXES)
DEPTH_SPREAD = 3.0  # mm by which the surfaces of two heads of one size differ


@dataclass(frozen=True, eq=False)
class Fit:
    """A head's place, and the phantom head most like it.

    Attributes:
        head: of the phantom.
        model: the same on the grid.
        turn: from mm in the scanner to mm of the mean head; float64, shape (3, 3).
        shift: of the head's origin in the scanner, mm; float64, shape (3,).
        error: root mean square of how far the two inner surfaces differ, mm.
    """

    head: Head
    model: Grid
    turn: np.ndarray
    shift: np.ndarray
    error: float

    def to_head(self, places: np.ndarray) -> np.ndarray:
        """Coordinates in the head, of places in the scanner; mm, shape (..., 3)."""
        return (places - self.shift) @ self.turn.T

    def to_scanner(self, places: np.ndarray) -> np.ndarray:
        """The other way round."""
        return places @ np.linalg.inv(self.turn).T + self.shift

    def points(self, series: Series, number: int) -> Points:
        """The pixels of a slice in the head, without random fields."""
        thickness = series.thickness[number] * np.linalg.norm(self.turn @ series.normal)
        return grid.plain_points(
            self.to_head(series.origins[number]),
            self.turn @ series.down,
            self.turn @ series.along,
            series.hu.shape[1:],
            float(thickness),
        )


def fit_head(series: Series, masks: np.ndarray, seed: int = 0) -> Fit:
    """Finds pose and size that lay the inner surface of a phantom head on that of a real one.

    Nine numbers, shift, turns and sizes, by robust least squares of the phantom's depth at the
    real surface, with the spread of sizes and turns as prior; over several heads, of which the
    best one stays.

    Args:
        series: of the head.
        masks: its intracranial space; bool, shape (slices, rows, columns).
        seed: of the heads that are tried.
    """
    surface = np.concatenate(list(_surface(series, masks)))
    rng = np.random.default_rng(seed)
    fits = []
    for head in [sample_head(rng) for _ in range(CANDIDATES)]:
        model = grid.render(head)
        fits += [_fit(head, model, surface, yaw) for yaw in YAWS]
    return min(fits, key=lambda fit: fit.error)


def _surface(series: Series, masks: np.ndarray) -> Iterator[np.ndarray]:
    """Points of the outlines, in the scanner, mm; evenly spread over each slice."""
    for origin, mask in zip(series.origins, masks, strict=True):
        found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if found:
            outline = np.concatenate(found)[:, 0].astype(float)
            column, row = outline[:: max(len(outline) // A_SLICE, 1)].T
            yield origin + row[:, None] * series.down + column[:, None] * series.along


def _fit(head: Head, model: Grid, surface: np.ndarray, yaw: float) -> Fit:
    # The middle of the box about each: a centroid would follow the spacing of the slices.
    start = _middle(surface) - _middle(grid.places()[model.depth > 0])

    def posed(numbers: np.ndarray) -> Fit:
        """Shift in mm, turns in degrees, logarithms of the sizes."""
        turn = Rotation.from_euler("zxy", numbers[3:6], degrees=True).as_matrix()
        return Fit(head, model, turn / np.exp(numbers[6:])[:, None], numbers[:3], 0.0)

    def difference(numbers: np.ndarray) -> np.ndarray:
        return grid.sample(model.depth, posed(numbers).to_head(surface))

    def residuals(numbers: np.ndarray) -> np.ndarray:
        prior = np.concatenate([numbers[3:6] / TURN_SPREAD, numbers[6:] / SIZE_SPREAD])
        return np.concatenate([difference(numbers) / DEPTH_SPREAD, prior])

    found = least_squares(
        residuals,
        [*start, yaw, *np.zeros(5)],
        loss="soft_l1",
        x_scale=[*[3.0] * 6, *[0.03] * 3],
    )
    error = np.sqrt(np.mean(difference(found.x) ** 2))
    return replace(posed(found.x), error=float(error))


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2

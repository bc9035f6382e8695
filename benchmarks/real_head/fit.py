"""Registers a head with the phantom's coordinates, from its intracranial space alone."""

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

CANDIDATES = 8  # phantom heads to try
YAWS = (-10.0, 10.0)  # degrees to start from; from 0, some heads end in a false minimum
POINTS_PER_SLICE = 120  # of the surface
TURN_SPREAD = 10.0  # degrees; spread of the angles of heads in a scanner
SIZE_SPREAD = np.array(AXES_SPREAD) / np.array(MEAN_AXES)
DEPTH_SPREAD = 3.0  # mm; spread of the surfaces of heads of equal size


@dataclass(frozen=True, eq=False)
class Fit:
    """The pose of a head, and the phantom head that fits it best.

    Attributes:
        head: of the phantom.
        model: the same on the grid.
        turn: from mm in the scanner to mm of the mean head; float64, shape (3, 3).
        shift: of the head's origin in the scanner, mm; float64, shape (3,).
        error: root mean square distance between the two inner surfaces, mm.
    """

    head: Head
    model: Grid
    turn: np.ndarray
    shift: np.ndarray
    error: float

    def to_head(self, places: np.ndarray) -> np.ndarray:
        """Coordinates in the head of points in the scanner; mm, shape (..., 3)."""
        return (places - self.shift) @ self.turn.T

    def to_scanner(self, places: np.ndarray) -> np.ndarray:
        """The inverse of `to_head`."""
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
    """Finds the pose and size in which a phantom head best fits the inner surface of a real one.

    Fits shift, angles and sizes by robust least squares of the phantom's depth at the real
    surface, with the spread of sizes and angles as prior. Tries several phantom heads and returns
    the best fit.

    Args:
        series: of the head.
        masks: its intracranial space; bool, shape (slices, rows, columns).
        seed: of the phantom heads.
    """
    surface = np.concatenate(list(_surface(series, masks)))
    rng = np.random.default_rng(seed)
    fits = []
    for head in [sample_head(rng) for _ in range(CANDIDATES)]:
        model = grid.render(head)
        fits += [_fit(head, model, surface, yaw) for yaw in YAWS]
    return min(fits, key=lambda fit: fit.error)


def _surface(series: Series, masks: np.ndarray) -> Iterator[np.ndarray]:
    """Points on the outlines in the scanner, mm; evenly spaced within each slice."""
    for origin, mask in zip(series.origins, masks, strict=True):
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        if contours:
            outline = np.concatenate(contours)[:, 0].astype(float)
            column, row = outline[:: max(len(outline) // POINTS_PER_SLICE, 1)].T
            yield origin + row[:, None] * series.down + column[:, None] * series.along


def _fit(head: Head, model: Grid, surface: np.ndarray, yaw: float) -> Fit:
    # Middles of the bounding boxes, since a centroid depends on the spacing of the slices.
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

    solution = least_squares(
        residuals,
        [*start, yaw, *np.zeros(5)],
        loss="soft_l1",
        x_scale=[*[3.0] * 6, *[0.03] * 3],
    )
    error = np.sqrt(np.mean(difference(solution.x) ** 2))
    return replace(posed(solution.x), error=float(error))


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2

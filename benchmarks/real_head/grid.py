"""A phantom head on a grid in its own coordinates, for distances in three dimensions."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head

LOW, HIGH = np.array([-87.0, -108.0, -84.0]), np.array([87.0, 108.0, 102.0])  # mm; x, y, z
STEP = 3.0  # mm, divides all of HIGH - LOW
SHAPE = tuple(int(n) + 1 for n in ((HIGH - LOW) / STEP)[::-1])  # layers, rows, columns
BARE = 9.0  # of `Points.folds`: far from every sulcus


@dataclass(frozen=True, eq=False)
class Grid:
    """A head without texture and cortical sulci, at the points from LOW to HIGH.

    Each is float32, of SHAPE; see `anatomy.Tissue` and `brain.Brain`.
    """

    depth: Array
    table: Array
    ventricles: Array
    cisterns: Array


def render(head: Head) -> Grid:
    """A phantom head on the grid."""
    down, along = np.array([0.0, STEP, 0.0]), np.array([STEP, 0.0, 0.0])
    tissues = []
    for layer in range(SHAPE[0]):
        origin = LOW + np.array([0.0, 0.0, layer * STEP])
        points = plain_points(origin, down, along, SHAPE[1:], STEP)
        tissues.append(anatomy.render(head, points, points, 0.0))
    return Grid(
        depth=np.stack([tissue.depth for tissue in tissues]),
        table=np.stack([tissue.table for tissue in tissues]),
        ventricles=np.stack([tissue.brain.ventricles for tissue in tissues]),
        cisterns=np.stack([tissue.brain.sulci for tissue in tissues]),
    )


def plain_points(
    origin: np.ndarray,
    down: np.ndarray,
    along: np.ndarray,
    shape: tuple[int, ...],
    thickness: float,
) -> Points:
    """Points of a head without texture and cortical sulci."""
    rows, columns = shape
    none = np.zeros((rows, columns), np.float32)
    return Points(origin, down, along, (rows, columns), thickness, none + BARE, none, none)


def places() -> np.ndarray:
    """Coordinates of the grid's points; float64, SHAPE and x, y, z."""
    axes = (low + STEP * np.arange(n) for low, n in zip(LOW, SHAPE[::-1], strict=True))
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1).transpose(2, 1, 0, 3)


def sample(values: Array, where: np.ndarray) -> np.ndarray:
    """Interpolates values of the grid linearly.

    Args:
        values: of SHAPE.
        where: coordinates in the head, mm, shape (..., 3).

    Returns:
        float64, the shape of `where` without its last axis.
    """
    index = np.moveaxis((where - LOW) / STEP, -1, 0)[::-1]
    return map_coordinates(values, index, float, order=1, mode="nearest")

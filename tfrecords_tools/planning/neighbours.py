"""The slices below and above a slice."""

import numpy as np
import pandas as pd

TIE_MM = 0.01  # closer positions count as equal; files give three digits or more
MAX_GAP_MM = 15.0  # the thickest slices lie 10 mm apart; across a larger gap, slices are missing


def find_neighbours(slices: pd.DataFrame, reach: int) -> np.ndarray:
    """Finds the slices next to each slice, along the normal of its series.

    Among several slices at one position, the first by id is the neighbour. Where the series ends or
    the next slice is too far away, the last neighbour is repeated. Returns int64 (len(slices), 2 *
    reach): row numbers, from the lowest to the highest neighbour, without the slice itself.
    """
    series = slices.groupby(["study_id", "series_id"]).ngroup().to_numpy()
    positions = slices["position_mm"].to_numpy()
    order = np.lexsort((slices["slice_id"].to_numpy(str), positions, series))
    series, positions = series[order], positions[order]
    is_first = np.ones(len(order), bool)  # of the slices at its position
    is_first[1:] = (np.diff(series) != 0) | (np.diff(positions) > TIE_MM)
    first = np.flatnonzero(is_first)
    level = np.cumsum(is_first) - 1  # number of the position that a slice lies at
    adjacent = (np.diff(series[first]) == 0) & (np.diff(positions[first]) <= MAX_GAP_MM)
    levels = np.arange(len(first))
    below = _steps(levels - np.append(False, adjacent), level, first, reach)
    above = _steps(levels + np.append(adjacent, False), level, first, reach)
    neighbours = np.empty((len(order), 2 * reach), np.int64)
    neighbours[order] = np.stack([order[rows] for rows in (*below[::-1], *above)], axis=1)
    return neighbours


def _steps(
    next_level: np.ndarray, level: np.ndarray, first: np.ndarray, reach: int
) -> list[np.ndarray]:
    """The row that each slice reaches in one direction after 1, 2, ... `reach` steps.

    `next_level` is the level that a step from each level leads to, the same at an end; `level` is
    that of each slice, `first` the first slice of each level.
    """
    row, rows = np.arange(len(level)), []
    for _ in range(reach):
        target = next_level[level]
        row = np.where(target == level, row, first[target])
        level = target
        rows.append(row)
    return rows

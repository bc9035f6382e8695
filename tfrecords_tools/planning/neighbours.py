"""The slices below and above a slice."""

import numpy as np
import pandas as pd

TIE_MM = 0.01  # positions that are one; files give three digits or more
MAX_GAP_MM = 15.0  # the thickest slices lie 10 mm apart; beyond, slices are missing


def find_neighbours(slices: pd.DataFrame, reach: int) -> np.ndarray:
    """Finds the slices next to each one, along the normal of its series.

    Of several slices at one position the first by id stands for them all. Where the series ends,
    or the next slice is too far away, the last one found is repeated.

    Args:
        slices: with `study_id`, `series_id`, `slice_id` and `position_mm`.
        reach: slices in each direction.

    Returns:
        int64, shape (len(slices), 2 * reach): row numbers, from the lowest to the highest
        neighbour, the slice itself left out.
    """
    series = slices.groupby(["study_id", "series_id"]).ngroup().to_numpy()
    heights = slices["position_mm"].to_numpy()
    order = np.lexsort((slices["slice_id"].to_numpy(str), heights, series))
    series, heights = series[order], heights[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(series) != 0) | (np.diff(heights) > TIE_MM)
    level = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    near = (np.diff(series[first]) == 0) & (np.diff(heights[first]) <= MAX_GAP_MM)
    up = np.arange(len(first)) + np.append(near, False)
    down = np.arange(len(first)) - np.append(False, near)
    columns = []
    for step in (down, up):
        at, found = level, np.arange(len(order))
        side = []
        for _ in range(reach):
            found = np.where(step[at] == at, found, first[step[at]])
            at = step[at]
            side.append(order[found])
        columns += side[::-1] if step is down else side
    result = np.empty((len(order), 2 * reach), np.int64)
    result[order] = np.stack(columns, axis=1)
    return result

"""Pictures of a search: every point at a glance, and what each hyperparameter does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ich_keras.figures.curves import BASELINE, TRAINING, VALIDATION, dress
from ich_keras.search.space import direction
from ich_keras.search.trials import TrialRow

MANY = 8  # values; more stand on a scale of numbers
DECADES = 20  # greatest over least, from which a scale is logarithmic


class _Scale:
    """Where the values of a hyperparameter stand, from 0 to 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.numbers = all(type(x) in (int, float) for x in values)
        self.values = sorted(set(values)) if self.numbers else list(dict.fromkeys(values))
        self.logarithmic = (
            self.numbers and self.values[0] > 0 and self.values[-1] > DECADES * self.values[0]
        )

    def place(self, value: Any) -> float:
        if len(self.values) == 1:
            return 0.5
        if not self.numbers:
            return self.values.index(value) / (len(self.values) - 1)
        low, high = self._line(self.values[0]), self._line(self.values[-1])
        return float((self._line(value) - low) / (high - low))

    def ticks(self) -> list[Any]:
        """The values that are written beside the scale."""
        if len(self.values) <= MANY:
            return self.values
        return [self.values[0], self.values[len(self.values) // 2], self.values[-1]]

    def _line(self, value: float) -> float:
        return float(np.log(value)) if self.logarithmic else float(value)


def parallel_coordinates(rows: Sequence[TrialRow], objective: str) -> Figure:
    """Each point a line over an axis for each hyperparameter, up to its mean objective.

    Args:
        rows: trials that are done, the best first; it is drawn bold.
        objective: its name.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.point))
    scales = {key: _Scale([row.point[key] for row in rows if key in row.point]) for key in keys}
    scales[objective] = _Scale([row.mean for row in rows])
    figure = Figure(figsize=(max(2.6 * len(scales), 7), 5.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    means = np.array([row.mean for row in rows])
    colors = colormaps["viridis"](0.85 * Normalize(means.min(), means.max())(means))  # no yellow
    for row, color in reversed(list(zip(rows, colors, strict=True))):
        best = row is rows[0]
        known = {**row.point, objective: row.mean}
        places = [scales[key].place(known[key]) if key in known else np.nan for key in scales]
        axes.plot(
            places,
            color=VALIDATION if best else color,
            lw=3 if best else 1.4,
            alpha=1 if best else 0.75,
            marker="o",
            ms=6 if best else 4,
            zorder=3 if best else 2,
        )
    for x, scale in enumerate(scales.values()):
        axes.axvline(x, color=BASELINE, lw=0.8, zorder=1)
        for value in scale.ticks():
            text = f"{value:.5g}" if isinstance(value, float) else str(value)
            axes.text(x + 0.03, scale.place(value), text, va="center", fontsize=9, zorder=4)
    axes.set_xticks(range(len(scales)), list(scales))
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(scales) - 0.6)
    better = "lower" if direction(objective) == "min" else "higher"
    dress(axes, f"Every point; the best of them bold ({better} {objective} is better)", "")
    axes.grid(visible=False)
    return figure


def effects(rows: Sequence[TrialRow], objective: str) -> Figure:
    """The objective against each hyperparameter, a point with its spread over seeds.

    The line is the mean over the points of a value, where there are few values.

    Args:
        rows: trials that are done.
        objective: its name.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.point))
    columns = min(len(keys), 3)
    lines = -(-len(keys) // columns)
    figure = Figure(figsize=(max(4.6 * columns, 6), 4 * lines), dpi=100, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, key in zip(grid.flat, keys, strict=False):
        _effect(axes, [row for row in rows if key in row.point], key)
    for axes in grid.flat[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(objective)
    return figure


def _effect(axes: Axes, rows: Sequence[TrialRow], key: str) -> None:
    scale = _Scale([row.point[key] for row in rows])
    place = np.array([scale.place(row.point[key]) for row in rows])
    if len(scale.values) <= MANY:
        values = [[row.mean for row in rows if row.point[key] == x] for x in scale.values]
        at = [scale.place(x) for x in scale.values]
        axes.plot(at, [np.mean(x) for x in values], color=TRAINING, lw=2, label="mean of a value")
    for x, row in zip(place + _aside(place), rows, strict=True):
        axes.errorbar(
            x, row.mean, yerr=np.nan_to_num(row.spread), color=BASELINE, fmt="o", ms=4, capsize=3
        )
    axes.plot([], [], color=BASELINE, marker="o", ls="", label="a point, ± its spread over seeds")
    axes.set_xticks([scale.place(x) for x in scale.ticks()])
    axes.set_xticklabels([f"{x:.4g}" if isinstance(x, float) else str(x) for x in scale.ticks()])
    axes.set_xlim(-0.12, 1.12)
    axes.margins(y=0.2)  # for the legend
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    dress(axes, key, "")


def _aside(place: np.ndarray) -> np.ndarray:
    """Moves points at the same place apart, so that all are seen."""
    shift = np.zeros(len(place))
    for at in np.unique(place):
        same = np.flatnonzero(place == at)
        shift[same] = (np.arange(len(same)) - (len(same) - 1) / 2) * min(0.08 / len(same), 0.02)
    return shift

"""Figures of a search: every point at a glance, and the effect of each hyperparameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ich_keras.figures.curves import BASELINE, TRAINING, VALIDATION, dress
from ich_keras.search.space import better
from ich_keras.search.trials import TrialRow

MANY = 8  # values, above which only three ticks are drawn and no means
DECADES = 20  # ratio of the greatest to the least value, above which a scale is logarithmic


class _Scale:
    """Maps the values of a hyperparameter to positions from 0 to 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.numeric = all(type(x) in (int, float) for x in values)
        self.values = sorted(set(values)) if self.numeric else list(dict.fromkeys(values))
        self.logarithmic = (
            self.numeric and self.values[0] > 0 and self.values[-1] > DECADES * self.values[0]
        )

    def position(self, value: Any) -> float:
        if len(self.values) == 1:
            return 0.5
        if not self.numeric:
            return self.values.index(value) / (len(self.values) - 1)
        low, high = self._linear(self.values[0]), self._linear(self.values[-1])
        return float((self._linear(value) - low) / (high - low))

    def ticks(self) -> list[Any]:
        if len(self.values) <= MANY:
            return self.values
        return [self.values[0], self.values[len(self.values) // 2], self.values[-1]]

    def _linear(self, value: float) -> float:
        return float(np.log(value)) if self.logarithmic else float(value)


def parallel_coordinates(rows: Sequence[TrialRow], objective: str) -> Figure:
    """Draws one line per point over one axis per hyperparameter and one for the mean objective.

    `rows` are the trials that are done, the best first; it is drawn bold.
    """
    scales = {key: _Scale([x.point[key] for x in rows if key in x.point]) for key in _keys(rows)}
    scales[objective] = _Scale([row.mean for row in rows])
    figure = Figure(figsize=(max(2.6 * len(scales), 7), 5.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    means = np.array([row.mean for row in rows])
    colors = colormaps["viridis"](0.85 * Normalize(means.min(), means.max())(means))  # no yellow
    for row, color in reversed(list(zip(rows, colors, strict=True))):
        values = {**row.point, objective: row.mean}
        line = [scales[key].position(values[key]) if key in values else np.nan for key in scales]
        if row is rows[0]:
            axes.plot(line, color=VALIDATION, lw=3, alpha=1, marker="o", ms=6, zorder=3)
        else:
            axes.plot(line, color=color, lw=1.4, alpha=0.75, marker="o", ms=4, zorder=2)
    for x, scale in enumerate(scales.values()):
        axes.axvline(x, color=BASELINE, lw=0.8, zorder=1)
        for value in scale.ticks():
            text = f"{value:.5g}" if isinstance(value, float) else str(value)
            axes.text(x + 0.03, scale.position(value), text, va="center", fontsize=9, zorder=4)
    axes.set_xticks(range(len(scales)), list(scales))
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(scales) - 0.6)
    title = f"Every point; the best is bold ({better(objective)} {objective} is better)"
    dress(axes, title, "")
    axes.grid(visible=False)
    return figure


def effects(rows: Sequence[TrialRow], objective: str) -> Figure:
    """Draws the objective against each hyperparameter, one dot per point with its spread.

    A line shows the mean of all points with a value, if there are few values.
    """
    keys = _keys(rows)
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


def _keys(rows: Sequence[TrialRow]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row.point))


def _effect(axes: Axes, rows: Sequence[TrialRow], key: str) -> None:
    scale = _Scale([row.point[key] for row in rows])
    positions = np.array([scale.position(row.point[key]) for row in rows])
    if len(scale.values) <= MANY:
        means = [np.mean([x.mean for x in rows if x.point[key] == value]) for value in scale.values]
        at = [scale.position(value) for value in scale.values]
        axes.plot(at, means, color=TRAINING, lw=2, label="mean of a value")
    for x, row in zip(positions + _spread_out(positions), rows, strict=True):
        axes.errorbar(
            x, row.mean, yerr=np.nan_to_num(row.spread), color=BASELINE, fmt="o", ms=4, capsize=3
        )
    axes.plot([], [], color=BASELINE, marker="o", ls="", label="a point, ± its spread over seeds")
    axes.set_xticks([scale.position(x) for x in scale.ticks()])
    axes.set_xticklabels([f"{x:.4g}" if isinstance(x, float) else str(x) for x in scale.ticks()])
    axes.set_xlim(-0.12, 1.12)
    axes.margins(y=0.2)  # for the legend
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    dress(axes, key, "")


def _spread_out(positions: np.ndarray) -> np.ndarray:
    """Returns shifts that move points at the same position apart."""
    shift = np.zeros(len(positions))
    for position in np.unique(positions):
        same = np.flatnonzero(positions == position)
        shift[same] = (np.arange(len(same)) - (len(same) - 1) / 2) * min(0.08 / len(same), 0.02)
    return shift

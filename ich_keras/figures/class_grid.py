"""The class grid: one column per class, six slices each, and how accurate each prediction is.

Columns hold slices with at least their label; the control column holds slices without hemorrhage.
The bar at the left of a slice shows the accuracy on the column's label, the bar at the right the
accuracy over all six. The accuracy of one slice is the share of the labels in question that are
predicted correctly at 0.5: 0 or 1 at the left, sixths at the right, as in the original figure. The
control column's label is `any`, which is correct if it is negative.

Red is the baseline or less, bright green is 1. The baseline is the accuracy of always predicting
"no" on the slices shown. The probability and the sixths are also written below each slice, for
readers who cannot tell red from green.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from tfrecords_tools.classes import ANY, LABELS

COLUMNS = ("control", *LABELS)
COLUMN_LABELS = (ANY, *range(len(LABELS)))  # of the left bar
ROWS = 6
MAX_EDGE = 192  # pixels of a slice in the grid; larger slices are averaged down to it
GREY = 178  # of the background
DPI = 100


def choose_grid_slices(labels: np.ndarray, patients: np.ndarray, seed: int = 0) -> np.ndarray:
    """Chooses the slices of the grid; the same seed gives the same slices.

    As many patients as possible are shown. Control slices come from patients without hemorrhage if
    there are any. `labels` have shape (N, 6). The result, int64 (6, 7), holds their rows; -1 where
    a class has too few slices.
    """
    positive = labels.any(axis=1)
    healthy = ~np.isin(patients, patients[positive])
    control = healthy if healthy.any() else ~positive
    choice = np.full((ROWS, len(COLUMNS)), -1)
    for column, member in enumerate((control, *(labels.T == 1))):
        rng = np.random.default_rng([seed, column])
        shuffled = rng.permutation(np.flatnonzero(member))
        chosen = shuffled[np.argsort(_earlier_occurrences(patients[shuffled]), kind="stable")][
            :ROWS
        ]
        choice[: len(chosen), column] = chosen
    return choice


def _earlier_occurrences(values: np.ndarray) -> list[int]:
    """How often each value occurs earlier, so that a stable sort takes values in turn."""
    seen: dict[str, int] = {}
    counts = []
    for value in values:
        seen[value] = seen.get(value, -1) + 1
        counts.append(seen[value])
    return counts


def bar_colors(accuracy: np.ndarray, baseline: float) -> np.ndarray:
    """Red at and below the baseline, then yellow, then bright green at 1; RGB, uint8 (..., 3)."""
    gain = (np.asarray(accuracy, float) - baseline) / max(1 - baseline, 1e-9)
    gain = np.where(np.asarray(accuracy) >= 1, 1, np.clip(gain, 0, 1))
    red, green = np.clip(2 - 2 * gain, 0, 1), np.clip(2 * gain, 0, 1)
    return np.round(255 * np.stack([red, green, np.zeros_like(red)], axis=-1)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class GridSlices:
    """The slices of a grid in reading order, row by row, one for each filled cell.

    With `choice` from `choose_grid_slices` they are the rows `choice[choice >= 0]`, and `filled` is
    `choice >= 0`.
    """

    images: np.ndarray  # uint8 (M, size, size); the brain window
    labels: np.ndarray  # int (M, 6), 0 or 1
    probabilities: np.ndarray  # float (M, 6), 0..1
    filled: np.ndarray  # bool (6, 7)

    @property
    def edge(self) -> int:
        """Edge of a slice in the grid, in pixels."""
        return min(self.images.shape[1], MAX_EDGE)

    @property
    def baseline(self) -> float:
        """The accuracy over all labels of always predicting "no"; 1 without slices."""
        return float(1 - self.labels.mean()) if self.labels.size else 1.0

    def accuracy(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy of each slice on the column's label (M,) and over all labels (M,)."""
        correct = (self.probabilities >= 0.5) == (self.labels == 1)
        column_label = np.array(COLUMN_LABELS)[np.nonzero(self.filled)[1]]
        own = np.take_along_axis(correct, column_label[:, np.newaxis], axis=1)[:, 0]
        return own.astype(float), correct.mean(axis=1)

    def enlarged(self) -> "GridSlices":
        """Slices of fewer than 128 pixels enlarged by a whole factor."""
        factor = max(1, 128 // self.images.shape[1])
        return replace(self, images=self.images.repeat(factor, axis=1).repeat(factor, axis=2))


def class_grid(slices: GridSlices) -> np.ndarray:
    """The grid as pixels: slices with their two bars on grey, without text.

    It is RGB, uint8 (height, width, 3); `cell_corner` gives the place of each cell.
    """
    edge = slices.edge
    bar, gap = _bar(edge), _gap(edge)
    rows, columns = slices.filled.shape
    shape = (gap + rows * (edge + gap), gap + columns * (edge + 2 * bar + gap), 3)
    picture = np.full(shape, GREY, np.uint8)
    left, right = (bar_colors(x, slices.baseline) for x in slices.accuracy())
    for i, (row, column) in enumerate(np.argwhere(slices.filled)):
        top, start = cell_corner(edge, row, column)
        cell = picture[top : top + edge, start : start + edge + 2 * bar]
        cell[:, :bar] = left[i]
        cell[:, bar:-bar] = _shrunk(slices.images[i], edge)[:, :, np.newaxis]
        cell[:, -bar:] = right[i]
    return picture


def cell_corner(edge: int, row: int, column: int) -> tuple[int, int]:
    """Top and left pixel of a cell: bar, slice and bar side by side, `edge` pixels high."""
    gap = _gap(edge)
    return gap + row * (edge + gap), gap + column * (edge + 2 * _bar(edge) + gap)


def _bar(edge: int) -> int:
    return max(2, edge // 24)


def _gap(edge: int) -> int:
    return max(4, edge // 6)


def _shrunk(image: np.ndarray, edge: int) -> np.ndarray:
    if image.shape == (edge, edge):
        return image
    return cv2.resize(image, (edge, edge), interpolation=cv2.INTER_AREA)


def class_grid_figure(slices: GridSlices, *, step: int) -> Figure:
    """The grid with titles, a caption below each slice, and the scale of the bars."""
    slices = slices.enlarged()
    picture = class_grid(slices)
    edge, (height, width) = slices.edge, picture.shape[:2]
    head, foot = round(0.55 * edge), round(0.62 * edge)
    total = height + head + foot
    figure = Figure(figsize=(width / DPI, total / DPI), dpi=DPI, facecolor=str(GREY / 255))
    figure.figimage(picture, 0, foot)
    points = edge * 72 / DPI  # font size of a text as high as a slice

    def write(x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Writes at pixels from the left and the top of the grid."""
        figure.text(x / width, 1 - (y + head) / total, text, fontsize=size * points, **style)

    write(_gap(edge), -0.3 * edge, f"Step {step:,}", 0.13, weight="bold")
    for column, name in enumerate(COLUMNS):
        x = cell_corner(edge, 0, column)[1] + edge / 2 + _bar(edge)
        write(x, 0.02 * edge, name.capitalize(), 0.125, ha="center")
    for (row, column), text, wrong in _captions(slices):
        top, left = cell_corner(edge, row, column)
        style = {"weight": "bold"} if wrong else {}
        write(left, top + 1.1 * edge, text, 0.085, **style)
    _draw_scale(figure, slices.baseline, edge, foot / total, points)
    return figure


def _captions(slices: GridSlices) -> list[tuple[tuple[int, int], str, bool]]:
    """For each slice: its cell, its caption, and whether the column's label is wrong."""
    own, overall = slices.accuracy()
    captions = []
    for i, (row, column) in enumerate(np.argwhere(slices.filled)):
        probability = slices.probabilities[i, COLUMN_LABELS[column]]
        wrong = own[i] < 1
        mark = ("false alarm " if column == 0 else "missed ") if wrong else ""
        sixths = f"{round(overall[i] * len(LABELS))}/{len(LABELS)}"
        captions.append(((int(row), int(column)), f"{mark}p {probability:.2f}   {sixths}", wrong))
    return captions


def _draw_scale(figure: Figure, baseline: float, edge: int, foot: float, points: float) -> None:
    """The colour scale and what the bars and captions mean, at the foot."""
    axes = figure.add_axes((0.02, 0.62 * foot, 0.2, 0.16 * foot))
    scale = ListedColormap(bar_colors(np.linspace(baseline, 1, 256), baseline) / 255)
    bar = figure.colorbar(
        ScalarMappable(Normalize(min(baseline, 1 - 1e-6), 1), scale), axes, orientation="horizontal"
    )
    bar.set_ticks([])
    size = 0.085 * points
    figure.text(0.02, 0.56 * foot, f"{baseline:.2f} always “no”", fontsize=size, va="top")
    figure.text(0.22, 0.56 * foot, "1", fontsize=size, va="top", ha="right")
    figure.text(
        0.27,
        0.84 * foot,
        "Left bar: accuracy on the column's label (control: “any”).  Right bar: over all six.\n"
        "Below: probability p of the column's label, and the share of correct labels at 0.5.\n"
        "First window shown. Columns hold slices with at least the label. For research only.",
        fontsize=size,
        va="top",
        linespacing=1.5,
    )

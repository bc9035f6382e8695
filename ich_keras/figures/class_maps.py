"""Class maps drawn over slices: as a contact sheet, and over a single slice as pixels."""

import textwrap
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from tfrecords_tools.classes import ANY, LABELS, SUBTYPES

SHEET_COLUMNS = 6
SHEET_OPACITY = 0.7  # of a class map at 1
PIXEL_OPACITY = 0.6


def class_map_sheet(
    images: np.ndarray,
    maps: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    *,
    inches: float = 2.3,
) -> Figure:
    """A contact sheet: slices in grey, over each the class map of its most probable subtype.

    `images`, uint8 (N, height, width), are in the brain window. `maps`, (N, map height, map width,
    6) in 0..1, are stretched over them. `labels`, (N, 6), are None if they are not known, or
    (N, 1) if only `any` is; `inches` is the edge of a slice.
    """
    columns = min(SHEET_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    size = (inches * columns + 0.9, (inches + 0.65) * rows + 0.3)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    height, width = images.shape[1:]
    for i, axes in enumerate(panels.flat[: len(images)]):
        strongest = most_probable_subtype(probabilities[i])
        axes.imshow(images[i], cmap="gray", vmin=0, vmax=255)
        axes.imshow(
            map_colors(maps[i, :, :, strongest], SHEET_OPACITY),
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="bilinear",
        )
        title = [titles[i]] if titles else []
        title += [] if labels is None else [_true_labels(labels[i])]
        title += [f"{LABELS[strongest]} {probabilities[i, strongest]:.2f}"]
        title += [f"any {probabilities[i, ANY]:.2f}"]
        axes.set_title("\n".join(title), fontsize=9)
    scale = ScalarMappable(cmap="magma")
    figure.colorbar(scale, ax=panels, shrink=0.6, label="class map", aspect=30)
    return figure


def overlay_pixels(grey: np.ndarray, class_map: np.ndarray) -> np.ndarray:
    """A slice under a class map, which covers the slice padded to a square.

    `grey` is uint8 (rows, columns), the map (map height, map width) in 0..1, and the result RGB,
    uint8 (rows, columns, 3).
    """
    rows, columns = grey.shape
    edge = max(rows, columns)
    square = cv2.resize(class_map.astype(np.float32), (edge, edge))
    top, left = (edge - rows) // 2, (edge - columns) // 2
    values = np.clip(square[top : top + rows, left : left + columns], 0, 1)
    colors = map_colors(values, PIXEL_OPACITY)
    alpha = colors[..., 3:]
    return np.round((1 - alpha) * grey[..., np.newaxis] + alpha * 255 * colors[..., :3]).astype(
        np.uint8
    )


def most_probable_subtype(probabilities: np.ndarray) -> int:
    """The index of the most probable label other than `any`, whose map shows no subtype."""
    return int(probabilities[: len(SUBTYPES)].argmax())


def map_colors(values: np.ndarray, opacity: float) -> np.ndarray:
    """RGBA (..., 4) of a class map: the higher a value, the brighter and the less transparent."""
    colors = matplotlib.colormaps["magma"](values)
    colors[..., 3] = opacity * np.clip(values, 0, 1)
    return colors


def _true_labels(labels: np.ndarray) -> str:
    if len(labels) == 1:
        return "true: any" if labels[0] else "true: none"
    present = [name for name, value in zip(LABELS, labels, strict=True) if value and name != "any"]
    return textwrap.fill("true: " + (", ".join(present) or "none"), 32)

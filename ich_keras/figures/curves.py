"""The curves of a training, and the style of all figures.

Figures are drawn without pyplot, so that they share no state. The colours are those of Okabe and
Ito, which colour-blind readers can distinguish, and never the only difference between two lines.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.storage.atomic import whole_file

TRAINING, VALIDATION, BASELINE = "#0072B2", "#D55E00", "#555555"
LABEL_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#000000")
LABEL_STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), "-")
SMOOTHING = 0.6  # TensorBoard's default
OVERFIT = 1.05  # validation loss over its minimum


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure completely or not at all; the same figure gives the same bytes."""
    with uninterrupted(), whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


def smoothed(values: np.ndarray, weight: float = SMOOTHING) -> np.ndarray:
    """TensorBoard's running average of values (N,), corrected for its start; weight below 1."""
    average, result = 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        result[i] = average / (1 - weight ** (i + 1))
    return result


def overfit_from(steps: np.ndarray, validation_loss: np.ndarray) -> int | None:
    """The step of the lowest validation loss, if the loss then stays at least 5 % above it.

    The median of the last three validations counts, all after the lowest, so that a single high
    value is not overfitting. None if there is no such step.
    """
    if not len(steps):
        return None
    best = int(validation_loss.argmin())
    last = validation_loss[best + 1 :][-3:]
    overfits = len(last) == 3 and np.median(last) > OVERFIT * validation_loss[best]
    return int(steps[best]) if overfits else None


def curves(
    history: pd.DataFrame,
    *,
    best_step: int | None = None,
    always_negative_accuracy: float | None = None,
    constant_guess_loss: float | None = None,
) -> Figure:
    """Loss, accuracy and mean AUC against the step.

    Training is faint as logged and bold when smoothed. Validation is not smoothed, because it is a
    mean over many slices. `history` is the `history.csv` of a run. The baselines are the accuracy
    of the validation split if every label is negative, and the loss of the best constant guess.
    """
    figure = Figure(figsize=(12, 4), dpi=100, layout="constrained")
    loss, accuracy, auc = figure.subplots(1, 3)
    _curve_panel(loss, "Loss", history, "loss", constant_guess_loss, "best constant guess")
    _curve_panel(accuracy, "Accuracy", history, "accuracy", always_negative_accuracy, "always “no”")
    _curve_panel(auc, "Mean AUC", history, "mean_auc", 0.5, "chance")
    overfit = overfit_from(*_points(history, "val_loss").T)
    if overfit is not None:
        loss.axvspan(overfit, history["step"].max(), color=VALIDATION, alpha=0.12, lw=0)
        loss.text(
            overfit,
            0.98,
            " overfits",
            color=VALIDATION,
            va="top",
            transform=loss.get_xaxis_transform(),
        )
    for axes in (loss, accuracy, auc):
        if best_step is not None:
            axes.axvline(best_step, color=BASELINE, lw=1, ls=":", label=f"kept: step {best_step:,}")
        axes.legend(fontsize=8, frameon=False)
    return figure


def _curve_panel(
    axes: Axes,
    title: str,
    history: pd.DataFrame,
    column: str,
    baseline: float | None,
    baseline_name: str,
) -> None:
    training, validation = _points(history, column), _points(history, f"val_{column}")
    if len(training):
        steps, values = training.T
        axes.plot(steps, values, color=TRAINING, alpha=0.3, lw=1)
        axes.plot(steps, smoothed(values), color=TRAINING, lw=2, label="training, smoothed")
    if len(validation):
        axes.plot(*validation.T, "o--", color=VALIDATION, lw=2, ms=3.5, label="validation")
    if baseline is not None:
        axes.axhline(
            baseline, color=BASELINE, lw=1.2, ls="-.", label=f"{baseline_name} {baseline:.3f}"
        )
    dress(axes, title, "step")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _points(history: pd.DataFrame, column: str) -> np.ndarray:
    """Step and value (M, 2) of the rows that have a value."""
    if column not in history:
        return np.empty((0, 2))
    return history[["step", column]].dropna().to_numpy(float)


def dress(axes: Axes, title: str, x_label: str) -> None:
    """Title, axis and grid in the style of all figures."""
    axes.set_title(title, loc="left", fontsize=11, weight="bold")
    axes.set_xlabel(x_label)
    axes.grid(color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

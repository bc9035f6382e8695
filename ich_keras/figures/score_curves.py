"""Figures of scores: ROC and precision-recall curves, thresholds, and calibration.

`labels` is int (N, 6), 0 or 1, and `probabilities` float (N, 6), 0..1; or both (N, 1) of `any`
alone.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich_keras.figures.curves import (
    BASELINE,
    LABEL_COLORS,
    LABEL_STYLES,
    TRAINING,
    VALIDATION,
    dress,
)
from ich_keras.scores.calibration import Reliability, reliability
from ich_keras.scores.postprocessing import Thresholds
from ich_keras.scores.ranking import (
    average_precision,
    operating_curve,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from tfrecords_tools.classes import LABELS, known_labels

RULE_STYLES = {"youden": (0, (5, 1, 1, 1)), "sensitivity_95": (0, (1, 1))}
RULE_NAMES = {"youden": "Youden", "sensitivity_95": "95 % sensitivity"}
ENOUGH_SLICES = 10  # in a bin; a bin with fewer is hollow and left out of the line
EDGE = 1e-4  # thresholds closer to 0 or 1 are not drawn


def roc_curves(labels: np.ndarray, probabilities: np.ndarray, *, threshold: float = 0.5) -> Figure:
    """ROC and precision-recall curves of each label that has both classes; marks a threshold."""
    figure = Figure(figsize=(12, 7.6), dpi=100, layout="constrained")
    roc, recall = figure.subplots(1, 2)
    roc.plot([0, 1], [0, 1], color=BASELINE, lw=1, ls=":", label="chance 0.500")
    for k, label in enumerate(known_labels(labels.shape[1])):
        truth, scores = labels[:, k] == 1, probabilities[:, k]
        if truth.all() or not truth.any():
            continue
        color = LABEL_COLORS[LABELS.index(label)]
        style = {"color": color, "ls": LABEL_STYLES[LABELS.index(label)], "lw": 1.8}
        predicted = scores >= threshold
        detected = (predicted & truth).sum()
        sensitivity, alarms = detected / truth.sum(), (predicted & ~truth).sum() / (~truth).sum()
        roc.plot(*roc_curve(truth, scores), **style, label=f"{label} {roc_auc(truth, scores):.3f}")
        roc.plot(alarms, sensitivity, "o", color=color)
        area = average_precision(truth, scores)
        recall.plot(
            *precision_recall_curve(truth, scores),
            **style,
            label=f"{label} {area:.3f} (guess {truth.mean():.3f})",
        )
        if predicted.any():
            recall.plot(sensitivity, detected / predicted.sum(), "o", color=color)
    dress(roc, "ROC, with AUC", "false positive rate = 1 - specificity")
    dress(recall, "Precision and recall, with average precision", "recall = sensitivity")
    roc.set_ylabel("sensitivity")
    recall.set_ylabel("precision")
    for axes in (roc, recall):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.plot([], [], "o", color=BASELINE, label=f"at threshold {threshold:g}")
        # Below, because the curves of a weak network leave no room inside.
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    return figure


def reliability_curves(labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Observed frequency against predicted probability."""
    figure, panels = _panels(labels.shape[1])
    for k, (label, axes) in enumerate(panels.items()):
        axes.plot([0, 1], [0, 1], color=BASELINE, lw=1, ls=":", label="equal")
        bins = reliability(labels[:, k], probabilities[:, k])
        _draw_bins(axes, bins)
        dress(axes, f"{label}: {bins.error:.4f}", "predicted")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="observed")
    _legend_below(figure, axes)
    return figure


def _draw_bins(axes: Axes, bins: Reliability) -> None:
    """One dot per bin, larger with more slices; the line joins the bins with enough slices."""
    enough = bins.slices >= ENOUGH_SLICES
    axes.plot(bins.predicted[enough], bins.observed[enough], color=TRAINING, lw=1.5)
    sizes = 8 + 20 * np.log10(np.maximum(bins.slices, 1))
    colors = [TRAINING if x else "none" for x in enough]
    axes.scatter(bins.predicted, bins.observed, sizes, edgecolors=TRAINING, facecolors=colors)
    axes.plot([], [], color=TRAINING, marker="o", label="network")


def threshold_sweep(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    threshold: float = 0.5,
    chosen: Thresholds | None = None,
) -> Figure:
    """Sensitivity, specificity and accuracy by threshold; `chosen` has those of validation."""
    figure, panels = _panels(labels.shape[1])
    for k, (label, axes) in enumerate(panels.items()):
        truth = labels[:, k] == 1
        thresholds, sensitivity, specificity = operating_curve(truth, probabilities[:, k])
        share = truth.mean()
        accuracy = np.nan_to_num(sensitivity) * share + np.nan_to_num(specificity) * (1 - share)
        for values, color, style, name in (
            (sensitivity, VALIDATION, "-", "sensitivity"),
            (specificity, TRAINING, "--", "specificity"),
            (accuracy, "#009E73", "-.", "accuracy"),
        ):
            axes.plot(thresholds, values, color=color, ls=style, lw=1.8, label=name)
        axes.axhline(1 - share, color=BASELINE, lw=1, ls=":", label="accuracy of always “no”")
        axes.axvline(threshold, color=BASELINE, lw=1, label=f"threshold {threshold:g}")
        for rule, by_label in (chosen or {}).items():
            value = by_label[label]
            if value is not None:
                name = f"{RULE_NAMES[rule]} on validation"
                axes.axvline(value, color="#CC79A7", lw=1.5, ls=RULE_STYLES[rule], label=name)
        dress(axes, label, "threshold")
        axes.set_xscale("logit", one_half="0.5")
        axes.set(xlim=(EDGE, 1 - EDGE), ylim=(-0.03, 1.03))
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    _legend_below(figure, axes)
    return figure


def _panels(columns: int) -> tuple[Figure, dict[str, Axes]]:
    """One panel per label, by its name."""
    names = known_labels(columns)
    figure = Figure(figsize=(12, 7.6), dpi=100, layout="constrained")
    shape = (2, 3) if names == LABELS else (1, 1)
    return figure, dict(zip(names, figure.subplots(*shape, squeeze=False).flat, strict=True))


def _legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all panels."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)

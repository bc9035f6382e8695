"""Two answers to the same slices, side by side: differences, and how sure they are."""

from typing import Any

import numpy as np

from ich_keras.scores.bootstrap import Resampling, estimate
from ich_keras.scores.metrics import mean_of_defined, slice_log_losses
from tfrecords_tools.classes import LABELS


def compare(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, drawn: Resampling
) -> dict[str, Any]:
    """Scores of two sets of probabilities for the same slices, and first minus second.

    Both are scored on the same draws of patients, so what makes a patient hard for both drops out
    of the interval of the difference.

    Args:
        labels: int (N, 6), 0 or 1.
        first: float (N, 6), 0..1.
        second: float (N, 6), 0..1.
        drawn: of the same slices.

    Returns:
        By score, `first` and `second`, each a number or None, and `difference` with `value` and
        `interval`: `mean_auc`, `auc <label>`, and `weighted_log_loss`, of which less is better.
    """
    scores = [_scores(labels, x, drawn) for x in (first, second)]
    return {
        name: {
            "first": estimate(scores[0][name])["value"],
            "second": estimate(scores[1][name])["value"],
            "difference": estimate(scores[0][name] - scores[1][name]),
        }
        for name in scores[0]
    }


def _scores(
    labels: np.ndarray, probabilities: np.ndarray, drawn: Resampling
) -> dict[str, np.ndarray]:
    """Each float (1 + draws,)."""
    areas, _ = drawn.rankings(labels, probabilities)
    return {
        "mean_auc": mean_of_defined(areas),
        **{f"auc {label}": areas[:, k] for k, label in enumerate(LABELS)},
        "weighted_log_loss": drawn.mean(slice_log_losses(labels, probabilities)),
    }

"""Thresholds: from which probability on a label is said to be there."""

from collections.abc import Callable

import numpy as np

from ich_keras.scores.ranking import operating_curve

WANTED_SENSITIVITY = 0.95


def by_youden(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold at which sensitivity + specificity is highest; NaN without both classes.

    Youden, "Index for rating diagnostic tests", 1950. Of equal ones the highest.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), 0..1.
    """
    thresholds, sensitivity, specificity = operating_curve(labels, scores)
    index = np.round(sensitivity + specificity, 12)  # equal ones differ in their last digits
    return float(thresholds[np.argmax(index)]) if not np.isnan(index).any() else np.nan


def by_sensitivity(labels: np.ndarray, scores: np.ndarray) -> float:
    """The highest threshold that finds at least 95 % of the positives; NaN without both classes."""
    thresholds, sensitivity, specificity = operating_curve(labels, scores)
    if np.isnan(sensitivity + specificity).any():
        return np.nan
    return float(thresholds[np.argmax(sensitivity >= WANTED_SENSITIVITY)])


RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "youden": by_youden,
    "sensitivity_95": by_sensitivity,
}


def choose_thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The threshold of each label by each rule, float (6,), NaN where there is none.

    Args:
        labels: (N, 6), 0 or 1, of validation.
        scores: (N, 6), 0..1.
    """
    columns = range(labels.shape[1])
    return {
        name: np.array([rule(labels[:, k], scores[:, k]) for k in columns])
        for name, rule in RULES.items()
    }

"""Scores that depend on the ranking of one label's probabilities: ROC, precision, recall, areas.

`labels` is (N,), 0 or 1, and `scores` float (N,), one per slice; undefined values are NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """The slices in the order of one label's scores, highest first."""

    order: np.ndarray  # int (N,), slices by falling score
    positives: np.ndarray  # int (M,), indices into `order` of the positive slices, rising
    tie_start: np.ndarray  # int (M,), first index of slices with the same score as each positive
    tie_end: np.ndarray  # int (M,), one past the last such index


def rank(labels: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sorts the slices by the scores (N,) of one label (N,)."""
    order = np.argsort(-scores, kind="stable")
    falling = -scores[order]
    positives = np.flatnonzero(labels[order])
    tie_start = np.searchsorted(falling, falling[positives], side="left")
    tie_end = np.searchsorted(falling, falling[positives], side="right")
    return Ranking(order, positives, tie_start, tie_end)


def ranking_scores(ranking: Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and average precision for many weightings of the slices at once.

    Both are sums over the positive slices, so that a draw costs one running sum over all slices.
    Slices with equal scores count together, as in scikit-learn. `weights` are (draws, N), in the
    order of the ranking; AUC and average precision are (draws,), NaN where a class has no weight.
    """
    of_positives = weights[:, ranking.positives]
    all_before = _running_sum(weights)
    positives_before = _running_sum(of_positives)
    first = np.searchsorted(ranking.positives, ranking.tie_start)
    last = np.searchsorted(ranking.positives, ranking.tie_end)
    above = all_before[:, ranking.tie_start] - positives_before[:, first]
    true_at = positives_before[:, last]
    false_at = all_before[:, ranking.tie_end] - true_at
    positive_weight = positives_before[:, -1]
    negative_weight = all_before[:, -1] - positive_weight

    outranked = negative_weight[:, np.newaxis] - (above + false_at) / 2  # a tie counts half
    chosen = true_at + false_at
    precision = np.divide(true_at, chosen, out=np.zeros(chosen.shape), where=chosen > 0)
    pairs = positive_weight.astype(float) * negative_weight
    return (
        ratio(np.einsum("ij,ij->i", of_positives, outranked), pairs),
        ratio(np.einsum("ij,ij->i", of_positives, precision), positive_weight),
    )


def _running_sum(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... columns of each row."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1), values.dtype)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def ratio(part: Any, whole: Any) -> np.ndarray:
    """Part of whole, NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; NaN without both classes."""
    return float(ranking_scores(rank(labels, scores), np.ones((1, len(labels))))[0][0])


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The sum of precision times gain in recall; NaN without positives."""
    return float(ranking_scores(rank(labels, scores), np.ones((1, len(labels))))[1][0])


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate of one label at every threshold, from (0, 0) to (1, 1)."""
    detected, alarms = _counts_by_threshold(labels, scores)
    return ratio(alarms, alarms[-1]), ratio(detected, detected[-1])


def precision_recall_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of one label at every threshold, from the highest score down."""
    detected, alarms = _counts_by_threshold(labels, scores)
    return ratio(detected, detected[-1])[1:], ratio(detected, detected + alarms)[1:]


def operating_curve(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, sensitivity and specificity of one label, from the highest score down, (T,)."""
    detected, alarms = _counts_by_threshold(labels, scores)
    thresholds = np.unique(scores)[::-1]
    return thresholds, ratio(detected, detected[-1])[1:], 1 - ratio(alarms, alarms[-1])[1:]


def _counts_by_threshold(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (T + 1,), at a threshold above all scores and at each score."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    detected = np.cumsum(labels[order] == 1)[ends]
    return np.append(0, detected), np.append(0, ends + 1 - detected)

"""What follows from the order of one label's scores: ROC, precision and recall, areas.

`labels` is (N,), 0 or 1, and `scores` float (N,), a slice each; what is undefined is NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """The slices in the order of one label's scores, highest first; all that ROC and PR need.

    Attributes:
        order: int (N,), slices by falling score.
        positives: int (M,), places in `order` of the positive slices, rising.
        tie_start: int (M,), first place of the slices that score the same as each positive.
        tie_end: int (M,), one past the last such place.
    """

    order: np.ndarray
    positives: np.ndarray
    tie_start: np.ndarray
    tie_end: np.ndarray


def rank(labels: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sorts the slices by the scores (N,) of one label (N,)."""
    order = np.argsort(-scores, kind="stable")
    falling = -scores[order]
    positives = np.flatnonzero(labels[order])
    tie_start = np.searchsorted(falling, falling[positives], side="left")
    tie_end = np.searchsorted(falling, falling[positives], side="right")
    return Ranking(order, positives, tie_start, tie_end)


def ranking_scores(ranking: Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and average precision under many weightings of the slices at once.

    Both are sums over the positive slices alone, so that one running sum over all the slices is
    the whole cost of a draw. Slices with equal scores enter together, as in scikit-learn.

    Args:
        ranking: from `rank`.
        weights: (draws, N), at least 0, in the ranking's order.

    Returns:
        AUC (draws,) and average precision (draws,); NaN where a class has no weight.
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

    beaten = negative_weight[:, np.newaxis] - (above + false_at) / 2  # a tie counts half
    chosen = true_at + false_at
    precision = np.divide(true_at, chosen, out=np.zeros(chosen.shape), where=chosen > 0)
    pairs = positive_weight.astype(float) * negative_weight
    return (
        ratio(np.einsum("ij,ij->i", of_positives, beaten), pairs),
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


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve of one label (N,); NaN unless both classes occur."""
    return _single(labels, scores, weights)[0]


def average_precision(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The sum of precision times gain in recall of one label (N,); NaN without positives."""
    return _single(labels, scores, weights)[1]


def _single(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
) -> tuple[float, float]:
    ranking = rank(labels, scores)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    auc, precision = ranking_scores(ranking, weights[np.newaxis, ranking.order])
    return float(auc[0]), float(precision[0])


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate of one label at every threshold, from (0, 0) to (1, 1)."""
    found, alarms = _counts_by_threshold(labels, scores)
    return ratio(alarms, alarms[-1]), ratio(found, found[-1])


def precision_recall_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of one label at every threshold, from the highest score down."""
    found, alarms = _counts_by_threshold(labels, scores)
    return ratio(found, found[-1])[1:], ratio(found, found + alarms)[1:]


def operating_curve(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, sensitivity and specificity of one label, from the highest score down, (T,)."""
    found, alarms = _counts_by_threshold(labels, scores)
    thresholds = np.unique(scores)[::-1]
    return thresholds, ratio(found, found[-1])[1:], 1 - ratio(alarms, alarms[-1])[1:]


def _counts_by_threshold(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (T + 1,), at a threshold above all scores and at each score."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found = np.cumsum(labels[order] == 1)[ends]
    return np.append(0, found), np.append(0, ends + 1 - found)

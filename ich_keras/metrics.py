"""Scores from probabilities and labels: NumPy in, numbers out.

Everywhere `labels` is int (N, 6), 0 or 1, and `probabilities` float (N, 6), 0..1, in the order of
LABELS, a row a slice. What is undefined, as an AUC without positives, is NaN in arrays and None in
the result of `evaluate_scores`, which goes into a JSON file.
"""

from typing import Any

import numpy as np

from ich_keras.ranking import rank, ranking_scores, ratio, roc_auc
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.errors import InputError

LOG_LOSS_WEIGHTS = np.array([1, 1, 1, 1, 1, 2]) / 7  # the challenge's: `any` counts twice
LOG_LOSS_CLIP = 1e-6
CHUNK_ELEMENTS = 1_000_000  # slices times draws at once: some tens of MB
FEW_PATIENTS = 10  # with the label; below, its interval is itself not to be trusted


class ScoreError(InputError):
    """Labels or probabilities that cannot be scored."""


def mean_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the labels' AUC, over those that have one; NaN where none has."""
    areas = np.array([roc_auc(labels[:, k], probabilities[:, k]) for k in range(len(LABELS))])
    defined = areas[~np.isnan(areas)]
    return float(defined.mean()) if defined.size else float("nan")


def slice_log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The challenge's weighted log loss of each slice, float64 (N,)."""
    p = np.clip(np.asarray(probabilities, np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return -np.where(labels == 1, np.log(p), np.log1p(-p)) @ LOG_LOSS_WEIGHTS


def weighted_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The RSNA 2019 challenge's score: `any` weighs 2 of 7, the others 1, clipped at 1e-6."""
    return float(slice_log_losses(labels, probabilities).mean())


def prior_weighted_log_loss(labels: np.ndarray) -> float:
    """What the best constant guess scores: the prevalences of these very labels."""
    return weighted_log_loss(labels, np.broadcast_to(labels.mean(axis=0), labels.shape))


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean squared error of the probabilities over slices and labels."""
    return float(np.mean((np.asarray(probabilities, np.float64) - labels) ** 2))


def prior_brier(labels: np.ndarray) -> float:
    """The Brier score of the best constant guess, the mean of p (1 - p)."""
    prevalence = labels.mean(axis=0)
    return float(np.mean(prevalence * (1 - prevalence)))


def evaluate_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    *,
    draws: int = 1000,
    seed: int = 0,
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Everything that labels and probabilities say about a network, ready for JSON.

    Intervals are 95 % percentile intervals from a bootstrap over patients, since the slices of a
    patient are anything but independent. An interval is None for a single patient.

    Args:
        labels: int (N, 6), 0 or 1.
        probabilities: float (N, 6), 0..1.
        patients: (N,), whose slice each is.
        draws: of the bootstrap.
        seed: of the bootstrap.
        threshold: a label is said to be there from this probability on.

    Raises:
        ScoreError: if the arrays do not fit together, are empty, or hold other values.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    _check(labels, probabilities, np.asarray(patients))
    names, patient = np.unique(patients, return_inverse=True)
    weights = _patient_weights(len(names), draws, seed)
    rates = _rates(labels, probabilities >= threshold, patient, weights)
    gain = rates["accuracy"].mean(axis=1) - rates.pop("always_negative").mean(axis=1)
    rates["auc"], rates["average_precision"] = _rankings(labels, probabilities, patient, weights)
    defined = ~np.isnan(rates["auc"][0])
    mean = rates["auc"][:, defined].mean(axis=1) if defined.any() else rates["auc"][:, 0]
    losses = weights @ np.bincount(patient, slice_log_losses(labels, probabilities))
    loss = _estimate(losses / (weights @ np.bincount(patient)))
    decided, truth = probabilities >= threshold, labels == 1
    return {
        "slices": len(labels),
        "patients": len(names),
        "threshold": threshold,
        "positives": _by_label(truth.sum(axis=0)),
        "mean_auc": _estimate(mean),
        **{
            name: {label: _estimate(rates[name][:, k]) for k, label in enumerate(LABELS)}
            for name in ("auc", "average_precision", "accuracy", "sensitivity", "specificity")
        },
        "accuracy_mean": float(rates["accuracy"][0].mean()),
        "always_negative_accuracy": _by_label(1 - labels.mean(axis=0)),
        "always_negative_accuracy_mean": float(1 - labels.mean()),
        "accuracy_gain": _estimate(gain),
        "exact_match": float((decided == truth).all(axis=1).mean()),
        "weighted_log_loss": loss["value"],
        "weighted_log_loss_interval": loss["interval"],
        "prior_weighted_log_loss": prior_weighted_log_loss(labels),
        "brier": brier(labels, probabilities),
        "prior_brier": prior_brier(labels),
        "false_positives": _by_label((decided & ~truth).sum(axis=0)),
        "false_negatives": _by_label((~decided & truth).sum(axis=0)),
        "warnings": score_warnings(labels, probabilities, patient, threshold),
    }


def _check(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> None:
    expected = (len(patients), len(LABELS))
    if labels.shape != expected or probabilities.shape != expected:
        raise ScoreError(
            f"labels {labels.shape} and probabilities {probabilities.shape} do not belong to"
            f" {expected[0]} slices with {expected[1]} labels each; both must be {expected}"
        )
    if not len(patients):
        raise ScoreError("there is no slice to score; give a split that holds some")
    if not np.isin(labels, (0, 1)).all():
        raise ScoreError(f"labels hold {labels.min()} to {labels.max()}; only 0 and 1 are labels")
    outside = ~((probabilities >= 0) & (probabilities <= 1))  # true for NaN as well
    if outside.any():
        row, k = np.argwhere(outside)[0]
        raise ScoreError(
            f"{outside.sum()} probabilities are not in 0..1, the first is"
            f" {probabilities[row, k]} for {LABELS[k]} in row {row}; the network has diverged or"
            " its answers were read wrongly"
        )


def _patient_weights(patients: int, draws: int, seed: int) -> np.ndarray:
    """How often each patient counts: once in row 0, the data themselves; redrawn in the others.

    One patient cannot be redrawn, and gets row 0 alone.
    """
    draws = draws if patients > 1 else 0
    chances = np.full(patients, 1 / patients)
    redrawn = np.random.default_rng(seed).multinomial(patients, chances, size=draws)
    return np.vstack([np.ones((1, patients), int), redrawn]).astype(np.int32)


def _rankings(
    labels: np.ndarray, probabilities: np.ndarray, patient: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC and average precision, each (draws, 6), under the weights (draws, patients)."""
    auc, precision = np.empty((2, len(weights), len(LABELS)))
    step = max(1, CHUNK_ELEMENTS // len(labels))
    for k in range(len(LABELS)):
        ranking = rank(labels[:, k], probabilities[:, k])
        ordered = patient[ranking.order]
        for start in range(0, len(weights), step):
            rows = slice(start, start + step)
            of_slices = np.take(weights[rows], ordered, axis=1)
            auc[rows, k], precision[rows, k] = ranking_scores(ranking, of_slices)
    return auc, precision


def _rates(
    labels: np.ndarray, decided: np.ndarray, patient: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """What follows from counting decisions, each (draws, 6), under weights (draws, patients)."""

    def count(outcome: np.ndarray) -> np.ndarray:
        by_patient = [np.bincount(patient, column) for column in outcome.T]
        return weights @ np.stack(by_patient, axis=1)

    truth = labels == 1
    found, dismissed = count(decided & truth), count(~decided & ~truth)
    positives, negatives = count(truth), count(~truth)
    return {
        "accuracy": (found + dismissed) / (positives + negatives),
        "always_negative": negatives / (positives + negatives),
        "sensitivity": ratio(found, positives),
        "specificity": ratio(dismissed, negatives),
    }


def _estimate(values: np.ndarray) -> dict[str, Any]:
    """The first value, with the 95 % interval of those of the others that are defined."""
    value, redrawn = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(value):
        return {"value": None, "interval": None}
    interval = np.quantile(redrawn, [0.025, 0.975]).tolist() if redrawn.size else None
    return {"value": float(value), "interval": interval}


def _by_label(values: np.ndarray) -> dict[str, Any]:
    return dict(zip(LABELS, values.tolist(), strict=True))


def score_warnings(
    labels: np.ndarray, probabilities: np.ndarray, patient: np.ndarray, threshold: float
) -> list[str]:
    """What keeps the scores from being taken at face value, a sentence each."""
    warnings = [] if len(set(patient)) > 1 else ["one patient only: there are no intervals"]
    undefined = 0
    for k, label in enumerate(LABELS):
        truth, scores = labels[:, k] == 1, probabilities[:, k]
        bleeding = len(set(patient[truth]))
        if truth.all() or not truth.any():
            undefined += 1
            which = "negative" if truth.all() else "positive"
            warnings.append(f"{label}: no {which} slice, so it has no AUC")
        elif bleeding < FEW_PATIENTS:
            warnings.append(f"{label}: too few patients have it ({bleeding}) to say much")
        if len(scores) > 1 and np.ptp(scores) < LOG_LOSS_CLIP:
            warnings.append(
                f"{label}: every slice gets the same probability; the network collapsed"
            )
        elif truth.any() and scores.max() < threshold:
            warnings.append(f"{label}: never found, no probability reaches {threshold:g}")
    if undefined:
        warnings.append(f"the mean AUC is over {len(LABELS) - undefined} of {len(LABELS)} labels")
    return warnings

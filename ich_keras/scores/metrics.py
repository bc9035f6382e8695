"""Scores from probabilities and labels: NumPy in, numbers out.

Everywhere `labels` is int (N, 6), 0 or 1, and `probabilities` float (N, 6), 0..1, in the order of
LABELS, a row a slice. What is undefined, as an AUC without positives, is NaN in arrays and None in
the result of `evaluate_scores`, which goes into a JSON file.
"""

from typing import Any

import numpy as np

from ich_keras.scores.bootstrap import estimate, resample
from ich_keras.scores.ranking import ratio, roc_auc
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError

LOG_LOSS_WEIGHTS = np.array([1, 1, 1, 1, 1, 2]) / 7  # the challenge's: `any` counts twice
LOG_LOSS_CLIP = 1e-6
UNITS = {"slice": "slices", "study": "studies", "patient": "patients"}
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
    unit: str = "slice",
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
        unit: what a row is: `slice`, `study` or `patient`; their number goes by its plural.

    Raises:
        ScoreError: if the arrays do not fit together, are empty, or hold other values.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    check_scorable(labels, probabilities, np.asarray(patients))
    drawn = resample(patients, draws, seed)
    decided, truth = probabilities >= threshold, labels == 1
    rates = drawn.rates(labels, decided)
    gain = rates["accuracy"].mean(axis=1) - rates.pop("always_negative").mean(axis=1)
    rates["auc"], rates["average_precision"] = drawn.rankings(labels, probabilities)
    loss = estimate(drawn.mean(slice_log_losses(labels, probabilities)))
    return {
        UNITS[unit]: len(labels),
        "patients": drawn.patients,
        "threshold": threshold,
        "positives": by_label(truth.sum(axis=0)),
        "mean_auc": estimate(mean_of_defined(rates["auc"])),
        **{
            name: {label: estimate(rates[name][:, k]) for k, label in enumerate(LABELS)}
            for name in ("auc", "average_precision", "accuracy", "sensitivity", "specificity")
        },
        "accuracy_mean": float(rates["accuracy"][0].mean()),
        "always_negative_accuracy": by_label(1 - labels.mean(axis=0)),
        "always_negative_accuracy_mean": float(1 - labels.mean()),
        "accuracy_gain": estimate(gain),
        "exact_match": float((decided == truth).all(axis=1).mean()),
        "weighted_log_loss": loss["value"],
        "weighted_log_loss_interval": loss["interval"],
        "prior_weighted_log_loss": prior_weighted_log_loss(labels),
        "brier": brier(labels, probabilities),
        "prior_brier": prior_brier(labels),
        **error_counts(truth, decided),
        "warnings": score_warnings(labels, probabilities, drawn.patient, threshold, unit),
    }


def mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """The mean over the labels that have an area in the data themselves; float (1 + draws,).

    Args:
        areas: (1 + draws, 6), NaN where undefined.
    """
    defined = ~np.isnan(areas[0])
    return areas[:, defined].mean(axis=1) if defined.any() else areas[:, 0]


def error_counts(truth: np.ndarray, decided: np.ndarray) -> dict[str, Any]:
    """Errors of type I (false alarms) and type II (missed), by label.

    Args:
        truth: bool (N, 6).
        decided: bool (N, 6).

    Returns:
        `false_positives` and `false_negatives`, counts; `false_positive_rate`, of the slices
        without the label, and `false_negative_rate`, of those with it; `type_1_share`, of the
        label's errors. A rate or share of nothing is None.
    """
    alarms, missed = (decided & ~truth).sum(axis=0), (~decided & truth).sum(axis=0)
    return {
        "false_positives": by_label(alarms),
        "false_negatives": by_label(missed),
        "false_positive_rate": by_label(ratio(alarms, (~truth).sum(axis=0))),
        "false_negative_rate": by_label(ratio(missed, truth.sum(axis=0))),
        "type_1_share": by_label(ratio(alarms, alarms + missed)),
    }


def by_label(values: np.ndarray) -> dict[str, Any]:
    """Values (6,) by the names of the labels; None for NaN."""
    return {
        label: None if value != value else value
        for label, value in zip(LABELS, values.tolist(), strict=True)
    }


def check_scorable(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> None:
    """Refuses what cannot be scored.

    Raises:
        ScoreError: if the arrays do not fit together, are empty, or hold other values.
    """
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


def score_warnings(
    labels: np.ndarray, probabilities: np.ndarray, patient: np.ndarray, threshold: float, unit: str
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
            warnings.append(f"{label}: no {which} {unit}, so it has no AUC")
        elif bleeding < FEW_PATIENTS:
            warnings.append(f"{label}: too few patients have it ({bleeding}) to say much")
        if len(scores) > 1 and np.ptp(scores) < LOG_LOSS_CLIP:
            warnings.append(
                f"{label}: every {unit} gets the same probability; the network collapsed"
            )
        elif truth.any() and scores.max() < threshold:
            warnings.append(f"{label}: never found, no probability reaches {threshold:g}")
    if undefined:
        warnings.append(f"the mean AUC is over {len(LABELS) - undefined} of {len(LABELS)} labels")
    return warnings

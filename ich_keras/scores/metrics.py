"""Scores from probabilities and labels: NumPy in, numbers out.

`labels` is int (N, 6), 0 or 1, and `probabilities` float (N, 6), 0..1, in the order of LABELS, one
row per slice. Undefined scores, such as an AUC without positives, are NaN in arrays and None in the
result of `evaluate_scores`, which goes into a JSON file. Cases may know `any` alone; the kinds are
then no part of the result.
"""

from typing import Any

import numpy as np

from ich_keras.scores.bootstrap import estimate
from ich_keras.scores.cases import Cases
from ich_keras.scores.ranking import ratio, roc_auc
from tfrecords_tools.classes import LABELS
from tfrecords_tools.wording import counted

LOG_LOSS_WEIGHTS = np.array([1, 1, 1, 1, 1, 2]) / 7  # of the challenge: `any` counts twice
LOG_LOSS_CLIP = 1e-6
UNITS = {"slice": "slices", "study": "studies", "patient": "patients"}
FEW_PATIENTS = 10  # with the label; with fewer, even the interval is unreliable


def mean_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean AUC of the labels that have one; NaN if none has."""
    areas = np.array([[roc_auc(labels[:, k], probabilities[:, k]) for k in range(len(LABELS))]])
    return float(mean_of_defined(areas)[0])


def slice_log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The weighted log loss of each slice, float64 (N,)."""
    p = np.clip(np.asarray(probabilities, np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return -np.where(labels == 1, np.log(p), np.log1p(-p)) @ LOG_LOSS_WEIGHTS


def weighted_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The score of the RSNA 2019 challenge: `any` weighs 2 of 7, the others 1, clipped at 1e-6."""
    return float(slice_log_losses(labels, probabilities).mean())


def prior_weighted_log_loss(labels: np.ndarray) -> float:
    """The score of the best constant guess, which is the prevalences of these labels."""
    return weighted_log_loss(labels, np.broadcast_to(labels.mean(axis=0), labels.shape))


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean squared error of the probabilities over slices and labels."""
    return float(np.mean((np.asarray(probabilities, np.float64) - labels) ** 2))


def prior_brier(labels: np.ndarray) -> float:
    """The Brier score of the best constant guess, the mean of p (1 - p)."""
    prevalence = labels.mean(axis=0)
    return float(np.mean(prevalence * (1 - prevalence)))


def evaluate_scores(cases: Cases, threshold: float) -> dict[str, Any]:
    """All scores of labels and probabilities, ready for JSON.

    Intervals are 95 % percentile intervals of a bootstrap over patients, because the slices of a
    patient are not independent. An interval is None if there is one patient only. A label is
    predicted where its probability is at least the threshold.
    """
    labels, probabilities, resampling = cases.labels, cases.probabilities, cases.resampling
    names = cases.names
    decided, truth = probabilities >= threshold, labels == 1
    rates = resampling.rates(labels, decided)
    gain = rates["accuracy"].mean(axis=1) - rates.pop("always_negative").mean(axis=1)
    rates["auc"], rates["average_precision"] = resampling.rankings(labels, probabilities)
    return {
        UNITS[cases.unit]: len(labels),
        "patients": resampling.patients,
        "threshold": threshold,
        "positives": by_label(truth.sum(axis=0), names),
        "mean_auc": estimate(mean_of_defined(rates["auc"])),
        **{
            name: {label: estimate(rates[name][:, k]) for k, label in enumerate(names)}
            for name in ("auc", "average_precision", "accuracy", "sensitivity", "specificity")
        },
        "accuracy_mean": float(rates["accuracy"][0].mean()),
        "always_negative_accuracy": by_label(1 - labels.mean(axis=0), names),
        "always_negative_accuracy_mean": float(1 - labels.mean()),
        "accuracy_gain": estimate(gain),
        **_scores_of_all_labels(cases, decided == truth),
        "brier": brier(labels, probabilities),
        "prior_brier": prior_brier(labels),
        **error_counts(truth, decided, names),
        "warnings": score_warnings(cases, threshold),
    }


def _scores_of_all_labels(cases: Cases, correct: np.ndarray) -> dict[str, Any]:
    """The scores that need all six labels, None without the kinds; `correct` is bool (N, 6)."""
    if cases.names != LABELS:
        names = ("exact_match", "weighted_log_loss", "weighted_log_loss_interval")
        return dict.fromkeys((*names, "prior_weighted_log_loss"))
    losses = slice_log_losses(cases.labels, cases.probabilities)
    loss = estimate(cases.resampling.mean(losses))
    return {
        "exact_match": float(correct.all(axis=1).mean()),
        "weighted_log_loss": loss["value"],
        "weighted_log_loss_interval": loss["interval"],
        "prior_weighted_log_loss": prior_weighted_log_loss(cases.labels),
    }


def mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """The mean of areas (1 + draws, 6) over the labels that have one in row 0; (1 + draws,)."""
    defined = ~np.isnan(areas[0])
    return areas[:, defined].mean(axis=1) if defined.any() else areas[:, 0]


def error_counts(truth: np.ndarray, decided: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Errors of type I (false alarms) and type II (missed), by label; both bool (N, len(names)).

    A rate is of the slices without the label or with it, `type_1_share` of the errors of the label.
    A rate or share of nothing is None.
    """
    alarms, missed = (decided & ~truth).sum(axis=0), (~decided & truth).sum(axis=0)
    return {
        "false_positives": by_label(alarms, names),
        "false_negatives": by_label(missed, names),
        "false_positive_rate": by_label(ratio(alarms, (~truth).sum(axis=0)), names),
        "false_negative_rate": by_label(ratio(missed, truth.sum(axis=0)), names),
        "type_1_share": by_label(ratio(alarms, alarms + missed), names),
    }


def by_label(values: np.ndarray, names: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """One value per label by its name; None for NaN."""
    return {
        label: None if value != value else value
        for label, value in zip(names, values.tolist(), strict=True)
    }


def score_warnings(cases: Cases, threshold: float) -> list[str]:
    """Reasons not to take the scores at face value, one sentence each."""
    unit, patient = cases.unit, cases.resampling.patient
    warnings = [] if len(set(patient)) > 1 else ["only one patient: there are no intervals"]
    if cases.names != LABELS:
        warnings.append("the kinds of hemorrhage are not known, so all scores are of any alone")
    undefined = 0
    for k, label in enumerate(cases.names):
        truth, scores = cases.labels[:, k] == 1, cases.probabilities[:, k]
        positive = len(set(patient[truth]))
        if truth.all() or not truth.any():
            undefined += 1
            which = "negative" if truth.all() else "positive"
            warnings.append(f"{label}: no {which} {unit}, so it has no AUC")
        elif positive < FEW_PATIENTS:
            warnings.append(f"{label}: too few patients have it ({positive}) for reliable scores")
        if len(scores) > 1 and np.ptp(scores) < LOG_LOSS_CLIP:
            warnings.append(
                f"{label}: every {unit} gets the same probability; the network collapsed"
            )
        elif truth.any() and scores.max() < threshold:
            warnings.append(f"{label}: never predicted, no probability reaches {threshold:g}")
    if undefined:
        of = len(cases.names)
        warnings.append(f"the mean AUC is over {of - undefined} of {counted(of, 'label')}")
    return warnings

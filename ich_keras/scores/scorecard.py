"""All scores of a split in one value, ready for JSON: of slices, studies and patients."""

from typing import Any

import numpy as np

from ich_keras.experiment.schema import EvaluationConfig
from ich_keras.model.predictions import Predictions
from ich_keras.scores.bootstrap import estimate
from ich_keras.scores.calibration import reliability
from ich_keras.scores.cases import Cases, group_maximum
from ich_keras.scores.metrics import by_label, evaluate_scores, mean_of_defined, slice_log_losses
from ich_keras.scores.postprocessing import Postprocessing, Thresholds
from ich_keras.scores.smoothing import Smoothing, cases_by_level, smooth_predictions
from tfrecords_tools.classes import LABELS


def scorecard(
    predictions: Predictions,
    config: EvaluationConfig,
    seed: int,
    postprocessing: Postprocessing | None,
) -> dict[str, Any]:
    """Scores a split whose slices have labels.

    `postprocessing` is None for the validation slices themselves, which it was chosen for. Returns
    the scores of `evaluate_scores` for slices; `levels` with those of `study` and `patient`;
    `calibration`; `plain_rule` if a window suits it; with a postprocessing also `operating_points`,
    `smoothing` and the level `study_smoothed`.
    """
    smoothing = postprocessing.smoothing if postprocessing else None
    levels = cases_by_level(predictions, smoothing, draws=config.bootstrap_draws, seed=seed)
    slices = levels["slice"]
    patients = slices.maximum("patient", predictions.patient_key)
    scored = {"study": levels["study"], "patient": patients}
    card = evaluate_scores(slices, config.threshold)
    if postprocessing is not None:
        card["smoothing"] = _smoothing_gain(slices, predictions, postprocessing.smoothing)
        card["operating_points"] = _operating_points(levels, postprocessing)
        scored["study_smoothed"] = levels["study_smoothed"]
    card["levels"] = {name: evaluate_scores(x, config.threshold) for name, x in scored.items()}
    card["calibration"] = _calibration(slices)
    if predictions.dense_mm2 is not None:
        _add_plain_rule(card, slices, predictions.dense_mm2)
    return card


def study_scorecard(
    predictions: Predictions,
    config: EvaluationConfig,
    seed: int,
    postprocessing: Postprocessing | None,
) -> dict[str, Any]:
    """Scores studies whose slices have no labels of their own.

    As `scorecard`, where every slice of the predictions has the labels of its study. The result has
    no gain of smoothing, which is about slices.
    """
    smoothing = postprocessing.smoothing if postprocessing else None
    levels = cases_by_level(predictions, smoothing, draws=config.bootstrap_draws, seed=seed)
    del levels["slice"]
    studies = levels["study"]
    card = evaluate_scores(studies, config.threshold) | {"slices": len(predictions.labels)}
    card["calibration"] = _calibration(studies)
    card["levels"] = {}
    if postprocessing is not None:
        smoothed = levels["study_smoothed"]
        card["levels"]["study_smoothed"] = evaluate_scores(smoothed, config.threshold)
        card["operating_points"] = _operating_points(levels, postprocessing)
    if predictions.dense_mm2 is not None:
        largest = group_maximum(predictions.dense_mm2, predictions.study_id)
        _add_plain_rule(card, studies, largest)
    return card


def compare(cases: Cases, other: np.ndarray) -> dict[str, Any]:
    """Scores of two sets of probabilities for the same cases, and the first minus the second.

    Both are scored on the same draws of patients, so that the difficulty of a patient, which both
    share, does not widen the interval of the difference. `cases` have the first probabilities;
    `other` are the second. Returns, by score, `first` and `second`, each a number or None, and
    `difference` with `value` and `interval`: `mean_auc`, `auc <label>`, and with the kinds known
    `weighted_log_loss`, of which less is better.
    """
    first, second = _comparable_scores(cases), _comparable_scores(cases.with_probabilities(other))
    return {
        name: {
            "first": estimate(first[name])["value"],
            "second": estimate(second[name])["value"],
            "difference": estimate(first[name] - second[name]),
        }
        for name in first
    }


def _comparable_scores(cases: Cases) -> dict[str, np.ndarray]:
    """Each float (1 + draws,)."""
    areas, _ = cases.resampling.rankings(cases.labels, cases.probabilities)
    scores = {
        "mean_auc": mean_of_defined(areas),
        **{f"auc {label}": areas[:, k] for k, label in enumerate(cases.names)},
    }
    if cases.names == LABELS:
        losses = slice_log_losses(cases.labels, cases.probabilities)
        scores["weighted_log_loss"] = cases.resampling.mean(losses)
    return scores


def _operating_points(levels: dict[str, Cases], postprocessing: Postprocessing) -> dict[str, Any]:
    """By level, rule and label, the results of the thresholds of validation."""
    return {
        level: _at_thresholds(cases, postprocessing.thresholds[level])
        for level, cases in levels.items()
    }


def _at_thresholds(cases: Cases, thresholds: Thresholds) -> dict[str, dict[str, dict[str, Any]]]:
    """By rule and label: the threshold, and its sensitivity, specificity and errors."""
    truth, points = cases.labels == 1, {}
    for rule, by_name in thresholds.items():
        values = np.array([np.nan if by_name[x] is None else by_name[x] for x in cases.names])
        decided = cases.probabilities >= values
        rates = cases.resampling.rates(cases.labels, decided)
        points[rule] = {
            label: {
                "threshold": by_name[label],
                "sensitivity": estimate(rates["sensitivity"][:, k]),
                "specificity": estimate(rates["specificity"][:, k]),
                "false_negatives": int((truth & ~decided)[:, k].sum()),
                "false_positives": int((~truth & decided)[:, k].sum()),
            }
            for k, label in enumerate(cases.names)
            if by_name[label] is not None
        }
    return points


def _smoothing_gain(
    slices: Cases, predictions: Predictions, smoothing: Smoothing
) -> dict[str, Any]:
    """Scores with smoothing (`first`) and without (`second`)."""
    smoothed = smooth_predictions(predictions, smoothing).probabilities
    return {
        "sigma_mm": smoothing.sigma_mm,
        "temperature": smoothing.temperature,
        **compare(slices.with_probabilities(smoothed), slices.probabilities),
    }


def _calibration(cases: Cases) -> dict[str, Any]:
    columns = zip(cases.labels.T, cases.probabilities.T, strict=True)
    errors = np.array([reliability(*column).error for column in columns])
    return {"expected_calibration_error": by_label(errors, cases.names)}


def _add_plain_rule(card: dict[str, Any], cases: Cases, dense_mm2: np.ndarray) -> None:
    """Adds the AUC of `any` by rule and network, their difference, and a warning if it is small."""
    truth = cases.labels[:, [-1]]
    rule, _ = cases.resampling.rankings(truth, dense_mm2[:, np.newaxis])
    network, _ = cases.resampling.rankings(truth, cases.probabilities[:, [-1]])
    difference = estimate((network - rule)[:, 0])
    card["plain_rule"] = {
        "auc_any": estimate(rule[:, 0]),
        "network_auc_any": estimate(network[:, 0]),
        "difference": difference,
    }
    if difference["value"] is None or (difference["interval"] or [difference["value"]])[0] > 0:
        return
    card["warnings"].append(
        "any: not shown to be better than a plain rule, the largest region as dense as blood"
        f" (AUC {float(network[0, 0]):.3f}, that of the rule {float(rule[0, 0]):.3f})"
    )

"""All scores of a split in one value, ready for JSON: of slices, studies and patients."""

from typing import Any

import numpy as np

from ich_keras.experiment.schema import EvaluationConfig
from ich_keras.model.predictions import Predictions
from ich_keras.scores.bootstrap import Resampling, estimate, resample
from ich_keras.scores.calibration import at_temperature, reliability
from ich_keras.scores.comparison import compare
from ich_keras.scores.metrics import by_label, evaluate_scores, slice_log_losses
from ich_keras.scores.postprocessing import Fitted
from ich_keras.scores.smoothing import smoothed
from ich_keras.scores.study_level import Scorable, of_patients, of_slices, of_studies
from tfrecords_tools.classes import ANY, LABELS


def scorecard(
    predictions: Predictions, config: EvaluationConfig, seed: int, fitted: Fitted | None
) -> dict[str, Any]:
    """Scores a split.

    Args:
        predictions: of the split.
        config: threshold, and draws of the bootstrap.
        seed: of the bootstrap.
        fitted: what validation decided; None on the validation slices themselves, where it would
            be judged by what it was chosen for, and where there was none.

    Returns:
        The scores of `evaluate_scores` on slices; `levels` with those of `study` and `patient`;
        `calibration`; `plain_rule` where a window showed what it needs; where something was fitted,
        `operating_points`, `smoothing` and the level `study_smoothed`.
    """
    slices = of_slices(predictions)
    drawn = resample(slices.patients, config.bootstrap_draws, seed)
    card = _score(slices, config, seed, "slice")
    levels = {"study": of_studies(predictions), "patient": of_patients(predictions)}
    if fitted is not None:
        answers = smoothed(predictions, fitted.smoothing)
        levels["study_smoothed"] = of_studies(predictions.with_probabilities(answers))
        card["smoothing"] = _smoothing(slices, answers, fitted, drawn)
        judged = {"slice": slices, **{x: levels[x] for x in ("study", "study_smoothed")}}
        card["operating_points"] = _operating_points(judged, fitted, config, seed)
    card["levels"] = {name: _score(rows, config, seed, name) for name, rows in levels.items()}
    card["calibration"] = _calibration(slices, fitted, drawn)
    if predictions.dense_mm2 is not None:
        card["plain_rule"] = _plain_rule(slices, predictions.dense_mm2, drawn)
        card["warnings"] += _beaten_by_the_rule(card["plain_rule"])
    return card


def study_scorecard(
    predictions: Predictions, config: EvaluationConfig, seed: int, fitted: Fitted | None
) -> dict[str, Any]:
    """Scores studies whose slices have no labels of their own.

    Args:
        predictions: every slice with the labels of its study.
        config: threshold, and draws of the bootstrap.
        seed: of the bootstrap.
        fitted: what validation decided; None where there was none.

    Returns:
        As `scorecard`, of studies: the temperature and the gain of smoothing are of slices, and
        have no place here.
    """
    studies = of_studies(predictions)
    drawn = resample(studies.patients, config.bootstrap_draws, seed)
    card = _score(studies, config, seed, "study") | {"slices": len(predictions.labels)}
    card["calibration"] = _calibration(studies, None, drawn)
    card["levels"] = {}
    if fitted is not None:
        answers = smoothed(predictions, fitted.smoothing)
        after = of_studies(predictions.with_probabilities(answers))
        card["levels"]["study_smoothed"] = _score(after, config, seed, "study")
        judged = {"study": studies, "study_smoothed": after}
        card["operating_points"] = _operating_points(judged, fitted, config, seed)
    if predictions.dense_mm2 is not None:
        areas = np.repeat(predictions.dense_mm2[:, np.newaxis], len(LABELS), axis=1)
        largest = of_studies(predictions.with_probabilities(areas)).probabilities[:, ANY]
        card["plain_rule"] = _plain_rule(studies, largest, drawn)
        card["warnings"] += _beaten_by_the_rule(card["plain_rule"])
    return card


def _score(rows: Scorable, config: EvaluationConfig, seed: int, unit: str) -> dict[str, Any]:
    return evaluate_scores(
        rows.labels,
        rows.probabilities,
        rows.patients,
        draws=config.bootstrap_draws,
        seed=seed,
        threshold=config.threshold,
        unit=unit.partition("_")[0],
    )


def _operating_points(
    judged: dict[str, Scorable], fitted: Fitted, config: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """By level, rule and label, what the thresholds of validation come to."""
    return {
        level: _judged(rows, fitted.thresholds[level], config, seed)
        for level, rows in judged.items()
    }


def _judged(
    rows: Scorable,
    thresholds: dict[str, dict[str, float | None]],
    config: EvaluationConfig,
    seed: int,
) -> dict[str, Any]:
    """By rule and label: the threshold, and what it comes to on these slices or studies."""
    drawn = resample(rows.patients, config.bootstrap_draws, seed)
    truth, points = rows.labels == 1, {}
    for rule, by_name in thresholds.items():
        chosen = np.array([np.nan if by_name[x] is None else by_name[x] for x in LABELS])
        decided = rows.probabilities >= chosen
        rates = drawn.rates(rows.labels, decided)
        points[rule] = {
            label: {
                "threshold": by_name[label],
                "sensitivity": estimate(rates["sensitivity"][:, k]),
                "specificity": estimate(rates["specificity"][:, k]),
                "false_negatives": int((truth & ~decided)[:, k].sum()),
                "false_positives": int((~truth & decided)[:, k].sum()),
            }
            for k, label in enumerate(LABELS)
            if by_name[label] is not None
        }
    return points


def _smoothing(
    slices: Scorable, answers: np.ndarray, fitted: Fitted, drawn: Resampling
) -> dict[str, Any]:
    """What smoothing gains: `first` is with it, `second` without."""
    return {
        "sigma_mm": fitted.smoothing.sigma_mm,
        "temperature": fitted.smoothing.temperature,
        **compare(slices.labels, answers, slices.probabilities, drawn),
    }


def _calibration(slices: Scorable, fitted: Fitted | None, drawn: Resampling) -> dict[str, Any]:
    """The expected calibration error by label, as it is and at the temperature of validation."""
    found: dict[str, Any] = {"expected_calibration_error": _errors(slices, slices.probabilities)}
    if fitted is None:
        return found
    cooled = at_temperature(slices.probabilities, fitted.temperature)
    loss = estimate(drawn.mean(slice_log_losses(slices.labels, cooled)))
    return found | {
        "temperature": fitted.temperature,
        "expected_calibration_error_at_temperature": _errors(slices, cooled),
        "weighted_log_loss_at_temperature": loss,
    }


def _errors(slices: Scorable, probabilities: np.ndarray) -> dict[str, float]:
    columns = range(len(LABELS))
    tables = [reliability(slices.labels[:, k], probabilities[:, k]) for k in columns]
    return by_label(np.array([x.error for x in tables]))


def _plain_rule(slices: Scorable, dense_mm2: np.ndarray, drawn: Resampling) -> dict[str, Any]:
    """The AUC of `any` by the rule, by the network, and the network's minus the rule's."""
    truth = slices.labels[:, [ANY]]
    rule, _ = drawn.rankings(truth, dense_mm2[:, np.newaxis])
    network, _ = drawn.rankings(truth, slices.probabilities[:, [ANY]])
    return {
        "auc_any": estimate(rule[:, 0]),
        "network_auc_any": estimate(network[:, 0]),
        "difference": estimate((network - rule)[:, 0]),
    }


def _beaten_by_the_rule(rule: dict[str, Any]) -> list[str]:
    if rule["difference"]["value"] is None:
        return []
    low = (rule["difference"]["interval"] or [rule["difference"]["value"]])[0]
    if low > 0:
        return []
    return [
        f"any: not shown to beat a plain rule (AUC {rule['auc_any']['value']:.3f}, the network"
        f" {rule['network_auc_any']['value']:.3f}): the largest region as dense as blood"
    ]

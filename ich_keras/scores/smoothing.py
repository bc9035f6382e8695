"""Probabilities of a slice that take its neighbours in the series into account.

A hemorrhage rarely ends with a slice. So the log odds of a slice are averaged with those of the
slices around it, weighted by a Gaussian of the distance along the slice normal. Its width is fitted
on validation; slices far apart hardly change. The series of one study are smoothed separately,
because another kernel or contrast at the same place has probabilities of its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from ich_keras.model.predictions import Predictions
from ich_keras.scores.calibration import fit_temperature, logits
from ich_keras.scores.cases import Cases, rows_by_group, slice_cases
from ich_keras.scores.metrics import weighted_log_loss

WIDTHS_MM = (0.1, 40.0)
TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Smoothing:
    """How probabilities are smoothed."""

    sigma_mm: float  # standard deviation of the Gaussian, along the slice normal
    temperature: float  # divides the averaged log odds, because averaging shrinks them


def smooth_predictions(predictions: Predictions, smoothing: Smoothing) -> Predictions:
    """The predictions with smoothed probabilities, float64."""
    series, position_mm = predictions.series, predictions.position_mm
    return predictions.with_probabilities(
        smooth_series(predictions.probabilities, series, position_mm, smoothing)
    )


def smooth_series(
    probabilities: np.ndarray, series: np.ndarray, position_mm: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    """Smooths the probabilities of each series.

    `probabilities` are (N, 6), 0..1; `series`, (N,), are any values that tell series apart;
    `position_mm`, (N,), is along the slice normal, in any order; a slice at NaN, which is of an
    unknown position, stays as it is. Returns float64 (N, 6), 0..1.
    """
    averaged = _averaged(logits(probabilities), series, position_mm, smoothing.sigma_mm)
    unknown = np.isnan(position_mm)[:, np.newaxis]
    return np.where(unknown, probabilities, expit(averaged / smoothing.temperature))


def fit_smoothing(predictions: Predictions) -> Smoothing:
    """The smoothing with the least weighted log loss on validation slices."""
    log_odds, labels = logits(predictions.probabilities), predictions.labels

    def at_width(sigma_mm: float) -> tuple[float, Smoothing]:
        averaged = _averaged(log_odds, predictions.series, predictions.position_mm, sigma_mm)
        temperature = fit_temperature(labels, expit(averaged))
        loss = weighted_log_loss(labels, expit(averaged / temperature))
        return loss, Smoothing(float(sigma_mm), temperature)

    best = minimize_scalar(
        lambda sigma_mm: at_width(sigma_mm)[0],
        bounds=WIDTHS_MM,
        method="bounded",
        options={"xatol": TOLERANCE_MM},
    )
    return at_width(best.x)[1]


def _averaged(
    log_odds: np.ndarray, series: np.ndarray, position_mm: np.ndarray, sigma_mm: float
) -> np.ndarray:
    """The log odds averaged within each series, float64 (N, 6); not where a position is NaN."""
    averaged = np.empty_like(log_odds)
    for rows in rows_by_group(series):
        z = position_mm[rows].astype(np.float64)
        weights = np.nan_to_num(np.exp(-0.5 * ((z[:, np.newaxis] - z) / sigma_mm) ** 2))
        np.fill_diagonal(weights, 1.0)
        averaged[rows] = weights @ log_odds[rows] / weights.sum(axis=1, keepdims=True)
    return averaged


def cases_by_level(
    predictions: Predictions, smoothing: Smoothing | None, *, draws: int = 0, seed: int = 0
) -> dict[str, Cases]:
    """Slices (`slice`), studies (`study`), and studies after smoothing (`study_smoothed`).

    A study has a label if any of its slices has it; its probability is the maximum of its slices.
    Without `smoothing` there is no `study_smoothed`.
    """
    slices = slice_cases(predictions, draws, seed)
    levels = {"slice": slices, "study": slices.maximum("study", predictions.study_id)}
    if smoothing is not None:
        smoothed = smooth_predictions(predictions, smoothing).probabilities
        smoothed_slices = slices.with_probabilities(smoothed)
        levels["study_smoothed"] = smoothed_slices.maximum("study", predictions.study_id)
    return levels

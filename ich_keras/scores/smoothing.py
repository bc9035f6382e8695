"""Answers for a slice that take its neighbours in the series into account.

A hemorrhage rarely ends with a slice. So the log odds of a slice are averaged with those of the
slices around it, weighted by a Gaussian of the distance along the slice normal. Its width is fitted
on validation; slices far apart, or alone, are left nearly as they are. Series of one study are not
averaged with each other: another kernel or contrast at the same place has answers of its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from ich_keras.model.predictions import Predictions
from ich_keras.scores.calibration import fit_temperature, logits
from ich_keras.scores.metrics import weighted_log_loss

WIDTHS_MM = (0.1, 40.0)
TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Smoothing:
    """How answers are smoothed.

    Attributes:
        sigma_mm: standard deviation of the Gaussian, along the slice normal.
        temperature: by which the averaged log odds are divided, as averaging makes them timid.
    """

    sigma_mm: float
    temperature: float


def smoothed(predictions: Predictions, smoothing: Smoothing) -> np.ndarray:
    """The smoothed probabilities, float64 (N, 6)."""
    return smooth_series(
        predictions.probabilities, predictions.series, predictions.position_mm, smoothing
    )


def smooth_series(
    probabilities: np.ndarray, series: np.ndarray, position_mm: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    """Smooths the answers of each series.

    Args:
        probabilities: float (N, 6), 0..1.
        series: (N,), any values that tell series apart.
        position_mm: float (N,), along the slice normal, in any order.
        smoothing: width and temperature.

    Returns:
        float64 (N, 6), 0..1.
    """
    averaged = _averaged(logits(probabilities), series, position_mm, smoothing.sigma_mm)
    return expit(averaged / smoothing.temperature)


def fit_smoothing(predictions: Predictions) -> Smoothing:
    """The smoothing with the least weighted log loss.

    Args:
        predictions: of validation slices.
    """
    own = logits(predictions.probabilities)

    def loss(sigma_mm: float) -> float:
        return weighted_log_loss(predictions.labels, smoothed(predictions, _at(sigma_mm)))

    def _at(sigma_mm: float) -> Smoothing:
        averaged = _averaged(own, predictions.series, predictions.position_mm, sigma_mm)
        return Smoothing(float(sigma_mm), fit_temperature(predictions.labels, expit(averaged)))

    found = minimize_scalar(
        loss, bounds=WIDTHS_MM, method="bounded", options={"xatol": TOLERANCE_MM}
    )
    return _at(found.x)


def _averaged(
    own: np.ndarray, series: np.ndarray, position_mm: np.ndarray, sigma_mm: float
) -> np.ndarray:
    """The log odds averaged within each series, float64 (N, 6)."""
    averaged = np.empty_like(own)
    order = np.argsort(series, kind="stable")
    starts = np.flatnonzero(series[order][1:] != series[order][:-1]) + 1
    for rows in np.split(order, starts):
        z = position_mm[rows].astype(np.float64)
        weights = np.exp(-0.5 * ((z[:, np.newaxis] - z) / sigma_mm) ** 2)
        averaged[rows] = weights @ own[rows] / weights.sum(axis=1, keepdims=True)
    return averaged

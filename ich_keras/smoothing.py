"""Answers for a slice that take its neighbours in the study into account.

A bleeding seldom ends with a slice. So the log odds of a slice are averaged with those of the
slices around it, weighted by a Gaussian of the distance along the slice normal. Its width is fitted
on validation; slices far apart, or alone, are left nearly as they are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from ich_keras.calibration import fit_temperature, logits
from ich_keras.metrics import weighted_log_loss
from ich_keras.scoring import Predictions

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
    return expit(_averaged(predictions, smoothing.sigma_mm) / smoothing.temperature)


def smoothed_study(
    probabilities: np.ndarray, position_mm: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    """The smoothed probabilities of a single study, float64 (N, 6).

    Args:
        probabilities: float (N, 6), 0..1.
        position_mm: float (N,), along the slice normal, in any order.
        smoothing: how.
    """
    averaged = _averaged_study(logits(probabilities), position_mm, smoothing.sigma_mm)
    return expit(averaged / smoothing.temperature)


def fit_smoothing(predictions: Predictions) -> Smoothing:
    """The smoothing with the least weighted log loss.

    Args:
        predictions: of validation slices.
    """

    def loss(sigma_mm: float) -> float:
        return weighted_log_loss(predictions.labels, smoothed(predictions, _at(sigma_mm)))

    def _at(sigma_mm: float) -> Smoothing:
        averaged = expit(_averaged(predictions, sigma_mm))
        return Smoothing(float(sigma_mm), fit_temperature(predictions.labels, averaged))

    found = minimize_scalar(
        loss, bounds=WIDTHS_MM, method="bounded", options={"xatol": TOLERANCE_MM}
    )
    return _at(found.x)


def _averaged(predictions: Predictions, sigma_mm: float) -> np.ndarray:
    """The log odds averaged within each study, float64 (N, 6)."""
    own = logits(predictions.probabilities)
    averaged = np.empty_like(own)
    order = np.argsort(predictions.study_id, kind="stable")
    studies = predictions.study_id[order]
    starts = np.flatnonzero(np.r_[True, studies[1:] != studies[:-1]])
    for rows in np.split(order, starts[1:]):
        averaged[rows] = _averaged_study(own[rows], predictions.position_mm[rows], sigma_mm)
    return averaged


def _averaged_study(own: np.ndarray, position_mm: np.ndarray, sigma_mm: float) -> np.ndarray:
    z = position_mm.astype(np.float64)
    weights = np.exp(-0.5 * ((z[:, np.newaxis] - z) / sigma_mm) ** 2)
    return weights @ own / weights.sum(axis=1, keepdims=True)

"""Calibration of probabilities: its error, and the temperature that smoothing needs."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logit

from ich_keras.scores.ranking import ratio

BINS = 10  # of equal width, over 0..1
CLIP = 1e-6  # so that a logit is finite
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """The slices in bins of predicted probability."""

    slices: np.ndarray  # int, shape (BINS,)
    predicted: np.ndarray  # float, shape (BINS,): mean probability; NaN without slices
    observed: np.ndarray  # float, shape (BINS,): share of slices with the label; NaN without slices

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |observed - predicted| over slices.

        Guo et al., "On calibration of modern neural networks", 2017, equation 5.
        """
        gaps = np.abs(self.observed - self.predicted)
        return float(np.average(np.nan_to_num(gaps), weights=self.slices))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> Reliability:
    """The bins of one label, from labels (N,), 0 or 1, and probabilities (N,), 0..1."""
    probabilities = np.asarray(probabilities, np.float64)
    index = np.clip((probabilities * BINS).astype(int), 0, BINS - 1)
    slices = np.bincount(index, minlength=BINS)
    return Reliability(
        slices,
        ratio(np.bincount(index, probabilities, BINS), slices),
        ratio(np.bincount(index, labels, BINS), slices),
    )


def logits(probabilities: np.ndarray) -> np.ndarray:
    """The log odds, float64; finite, because probabilities are clipped."""
    return logit(np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The divisor of the log odds with the least cross-entropy. Guo et al. 2017, section 4.2."""
    signed = np.where(labels == 1, 1, -1) * logits(probabilities)

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    best = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x))

"""Whether probabilities mean what they say, and the temperature that mends them."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from ich_keras.scores.ranking import ratio

BINS = 10  # of equal width, over 0..1
CLIP = 1e-6  # so that a logit is finite
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """The slices by what was said of them: what was said, and how often it was so.

    Attributes:
        slices: int, shape (BINS,).
        said: float, shape (BINS,): mean probability; NaN where there is no slice.
        observed: float, shape (BINS,): share of slices that bear the label; NaN likewise.
    """

    slices: np.ndarray
    said: np.ndarray
    observed: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |observed - said| over slices.

        Guo et al., "On calibration of modern neural networks", 2017, equation 5.
        """
        gaps = np.abs(self.observed - self.said)
        return float(np.average(np.nan_to_num(gaps), weights=self.slices))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> Reliability:
    """The reliability of one label.

    Args:
        labels: (N,), 0 or 1.
        probabilities: (N,), 0..1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    place = np.clip((probabilities * BINS).astype(int), 0, BINS - 1)
    slices = np.bincount(place, minlength=BINS)
    return Reliability(
        slices,
        ratio(np.bincount(place, probabilities, BINS), slices),
        ratio(np.bincount(place, labels, BINS), slices),
    )


def logits(probabilities: np.ndarray) -> np.ndarray:
    """The log odds, float64, finite."""
    return logit(np.clip(np.asarray(probabilities, np.float64), CLIP, 1 - CLIP))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities less sure (temperature above 1) or surer (below): their log odds divided."""
    return expit(logits(probabilities) / temperature)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature at which the cross-entropy is least. Guo et al. 2017, section 4.2.

    Args:
        labels: (N, 6), 0 or 1, of validation slices.
        probabilities: (N, 6), 0..1.
    """
    signed = np.where(labels == 1, 1, -1) * logits(probabilities)

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))

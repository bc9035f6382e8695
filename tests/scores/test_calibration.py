"""Calibration against scikit-learn, and of networks whose error is known."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from ich_keras.scores.calibration import fit_temperature, reliability


def calibrated(slices: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, 6) drawn with the probabilities (N, 6)."""
    rng = np.random.default_rng(seed)
    probabilities = expit(rng.normal(-1, 2, (slices, 6)))
    return (rng.random((slices, 6)) < probabilities).astype(int), probabilities


def test_the_curve_is_that_of_scikit_learn():
    labels, probabilities = calibrated(3000)
    bins = reliability(labels[:, 0], probabilities[:, 0])
    observed, predicted = calibration_curve(labels[:, 0], probabilities[:, 0], n_bins=10)
    np.testing.assert_allclose(bins.observed, observed, atol=1e-12)
    np.testing.assert_allclose(bins.predicted, predicted, atol=1e-12)
    assert bins.slices.sum() == 3000


def test_the_expected_error_of_a_hand_made_case():
    # Said 0.15 four times and 0.95 six times; there are 1 and 3: |.25 - .15| 4/10 + |.5 - .95| 6/10
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0, 0])
    probabilities = np.array([0.15] * 4 + [0.95] * 6)
    assert reliability(labels, probabilities).error == pytest.approx(0.04 + 0.27)


def test_0_and_1_have_their_bins():
    bins = reliability(np.array([0, 1]), np.array([0.0, 1.0]))
    assert bins.slices.tolist() == [1] + [0] * 8 + [1]
    assert bins.error == 0


def test_a_calibrated_network_keeps_its_probabilities():
    assert fit_temperature(*calibrated(20_000)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_temperature_of_an_over_or_underconfident_network_is_fitted(temperature):
    labels, calibrated_values = calibrated(20_000)
    found = fit_temperature(labels, expit(temperature * logit(calibrated_values)))
    assert found == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_that_of_a_logistic_regression_without_intercept():
    labels, calibrated_values = calibrated(5000)
    stretched = expit(1.7 * logit(calibrated_values))
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8)
    regression.fit(logit(stretched).reshape(-1, 1), labels.ravel())
    assert 1 / fit_temperature(labels, stretched) == pytest.approx(regression.coef_[0, 0], rel=1e-3)

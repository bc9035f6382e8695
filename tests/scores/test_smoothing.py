"""Smoothing over the slices of a series: what it keeps, and when it helps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit, logit

from ich_keras.scores.metrics import weighted_log_loss
from ich_keras.scores.smoothing import Smoothing, fit_smoothing, smooth_predictions, smooth_series
from tests.support.made_predictions import SPACING_MM, made_up, predictions_of


def smoothed(predictions, smoothing):
    return smooth_predictions(predictions, smoothing).probabilities


def test_in_the_middle_of_a_study_it_is_a_gaussian_filter_of_the_log_odds():
    given = made_up(studies=1)
    found = smoothed(given, Smoothing(sigma_mm=1.0 * SPACING_MM, temperature=1.0))
    expected = gaussian_filter1d(logit(given.probabilities), 1.0, axis=0, truncate=20)
    np.testing.assert_allclose(found[7:13], expit(expected)[7:13], rtol=1e-6)


def test_studies_do_not_mix_and_the_order_of_rows_does_not_matter():
    given = made_up(studies=3)
    smoothing = Smoothing(sigma_mm=8.0, temperature=0.9)
    together = smoothed(given, smoothing)
    shuffled = np.random.default_rng(0).permutation(60)
    again = smoothed(
        predictions_of(
            given.labels[shuffled],
            given.probabilities[shuffled],
            study=shuffled // 20,
            position_mm=given.position_mm[shuffled],
        ),
        smoothing,
    )
    np.testing.assert_allclose(again, together[shuffled])
    alone = predictions_of(given.labels[20:40], given.probabilities[20:40])
    np.testing.assert_allclose(smoothed(alone, smoothing), together[20:40])


def test_series_of_one_study_do_not_mix():
    given = made_up(studies=2)
    smoothing = Smoothing(sigma_mm=8.0, temperature=0.9)
    one_study = replace(
        given,
        study_id=np.full(40, "study"),
        series_id=given.study_id,
        position_mm=np.tile(given.position_mm[:20], 2),
    )
    np.testing.assert_allclose(smoothed(one_study, smoothing), smoothed(given, smoothing))


def test_a_study_alone_is_smoothed_as_among_others_in_any_order():
    given = made_up(studies=3)
    smoothing = Smoothing(sigma_mm=8.0, temperature=0.9)
    order = np.random.default_rng(0).permutation(20)
    rows = np.arange(20, 40)[order]
    series = np.zeros(len(rows))
    found = smooth_series(given.probabilities[rows], series, given.position_mm[rows], smoothing)
    np.testing.assert_allclose(found, smoothed(given, smoothing)[rows])


def test_coherent_probabilities_stay_coherent():
    given = made_up(studies=2)
    given.probabilities[:, 5] = given.probabilities.max(axis=1)
    found = smoothed(given, Smoothing(sigma_mm=8.0, temperature=0.7))
    assert np.all(found[:, :5].max(axis=1) <= found[:, 5] + 1e-12)


def test_a_width_near_0_changes_nothing():
    given = made_up(studies=2)
    found = smoothed(given, Smoothing(sigma_mm=0.1, temperature=1.0))
    np.testing.assert_allclose(found, given.probabilities, rtol=1e-9)


def test_noise_that_is_new_on_each_slice_is_smoothed_away():
    fitted = fit_smoothing(made_up(seed=1))
    unseen = made_up(seed=2)
    before = weighted_log_loss(unseen.labels, unseen.probabilities)
    assert weighted_log_loss(unseen.labels, smoothed(unseen, fitted)) < 0.9 * before
    assert 0.5 * SPACING_MM < fitted.sigma_mm < 4 * SPACING_MM


def test_without_information_in_neighbours_it_does_not_smooth():
    rng = np.random.default_rng(0)
    probabilities = expit(rng.normal(0, 3, (2000, 6)))
    labels = (rng.random((2000, 6)) < probabilities).astype(int)
    fitted = fit_smoothing(predictions_of(labels, probabilities))
    assert fitted.sigma_mm < 0.4 * SPACING_MM
    assert fitted.temperature == pytest.approx(1, abs=0.1)


def test_a_slice_at_an_unknown_position_stays_as_it_is():
    given = made_up(seed=4)
    positions = given.position_mm.copy()
    positions[::2] = np.nan
    smoothing = Smoothing(sigma_mm=8.0, temperature=0.7)
    found = smooth_series(given.probabilities, given.series, positions, smoothing)
    np.testing.assert_array_equal(found[::2], given.probabilities[::2])
    assert np.isfinite(found).all()
    assert not np.allclose(found[1::2], given.probabilities[1::2])

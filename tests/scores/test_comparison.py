"""Two answers to the same slices: the difference, and why it is paired."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ich_keras.scores.bootstrap import resample
from ich_keras.scores.comparison import compare
from ich_keras.scores.metrics import evaluate_scores, weighted_log_loss
from tests.support.made_predictions import made_up
from tfrecords_tools.classes import LABELS


def test_values_are_those_of_scikit_learn_and_the_difference_is_theirs():
    first, second = made_up(seed=3, noise=1.0), made_up(seed=3, noise=2.0)
    drawn = resample(first.patient_key, 50, seed=0)
    found = compare(first.labels, first.probabilities, second.probabilities, drawn)
    for k, label in enumerate(LABELS):
        scores = found[f"auc {label}"]
        areas = [roc_auc_score(first.labels[:, k], x.probabilities[:, k]) for x in (first, second)]
        assert [scores["first"], scores["second"]] == pytest.approx(areas, abs=1e-9)
        assert scores["difference"]["value"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
    losses = [weighted_log_loss(first.labels, x.probabilities) for x in (first, second)]
    assert found["weighted_log_loss"]["difference"]["value"] == pytest.approx(losses[0] - losses[1])


def test_an_answer_beside_itself_differs_by_nothing():
    given = made_up()
    drawn = resample(given.patient_key, 50, seed=0)
    found = compare(given.labels, given.probabilities, given.probabilities, drawn)
    assert all(x["difference"] == {"value": 0, "interval": [0, 0]} for x in found.values())


def test_a_small_difference_shows_although_the_scores_themselves_vary_more():
    given = made_up(studies=40)
    rng = np.random.default_rng(0)
    worse = np.clip(given.probabilities + rng.normal(0, 0.08, given.probabilities.shape), 0, 1)
    drawn = resample(given.patient_key, 400, seed=0)
    found = compare(given.labels, given.probabilities, worse, drawn)["mean_auc"]
    low, high = found["difference"]["interval"]
    alone = evaluate_scores(given.labels, given.probabilities, given.patient_key, draws=400)
    own_low, own_high = alone["mean_auc"]["interval"]
    assert low > 0
    assert high - low < (own_high - own_low) / 2

"""Thresholds, against scikit-learn's ROC and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import recall_score, roc_curve

from ich_keras.scores.operating_points import by_sensitivity, by_youden, choose_thresholds
from tests.support.made_predictions import made_up

LABELLED = st.integers(4, 60).flatmap(
    lambda n: st.tuples(
        arrays(int, n, elements=st.integers(0, 1)),
        arrays(float, n, elements=st.integers(0, 20).map(lambda x: x / 20)),
    )
)


@given(LABELLED)
def test_no_threshold_has_a_higher_youden_index(drawn):
    labels, scores = drawn
    if labels.min() == labels.max():
        assert np.isnan(by_youden(labels, scores))
        return
    alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    said = scores >= by_youden(labels, scores)
    sensitivity, specificity = (
        recall_score(labels, said),
        recall_score(labels, said, pos_label=0),
    )
    best = (found - alarms)[1:].max()  # the first threshold is above all scores
    assert sensitivity + specificity - 1 == pytest.approx(best)


@given(LABELLED)
def test_the_threshold_of_95_percent_is_the_highest_that_finds_as_many(drawn):
    labels, scores = drawn
    threshold = by_sensitivity(labels, scores)
    if labels.min() == labels.max():
        assert np.isnan(threshold)
        return
    assert recall_score(labels, scores >= threshold) >= 0.95
    higher = scores[scores > threshold]
    if higher.size:
        assert recall_score(labels, scores >= higher.min()) < 0.95


def test_by_hand():
    labels = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    assert by_youden(labels, scores) == 0.8  # 2/3 + 1 - 1, and the same at 0.3: the higher one
    assert by_sensitivity(labels, scores) == 0.3


def test_each_label_has_its_own():
    given = made_up()
    chosen = choose_thresholds(given.labels, given.probabilities)
    for k in range(6):
        column = given.labels[:, k], given.probabilities[:, k]
        assert chosen["youden"][k] == by_youden(*column)
        assert chosen["sensitivity_95"][k] == by_sensitivity(*column)

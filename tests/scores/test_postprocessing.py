"""Thresholds, against scikit-learn's ROC and by hand; what was fitted is read back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import recall_score, roc_curve

from ich_keras.data.network_input import NetworkInput
from ich_keras.run.folder import RunError, RunFolder, RunInput, write_input, write_json
from ich_keras.scores.cases import make_cases, slice_cases
from ich_keras.scores.postprocessing import (
    Source,
    answer_thresholds,
    choose_thresholds,
    fit_postprocessing,
    read_postprocessing,
    sensitivity_threshold,
    write_postprocessing,
    youden_threshold,
)
from tests.support.made_predictions import made_up
from tfrecords_tools.classes import LABELS, SUBTYPES

LABELLED = st.integers(4, 60).flatmap(
    lambda n: st.tuples(
        arrays(int, n, elements=st.integers(0, 1)),
        arrays(float, n, elements=st.integers(0, 20).map(lambda x: x / 20)),
    )
)


@settings(deadline=None)
@given(LABELLED)
def test_no_threshold_has_a_higher_youden_index(drawn):
    labels, scores = drawn
    if labels.min() == labels.max():
        assert np.isnan(youden_threshold(labels, scores))
        return
    alarms, detected, _ = roc_curve(labels, scores, drop_intermediate=False)
    predicted = scores >= youden_threshold(labels, scores)
    sensitivity, specificity = (
        recall_score(labels, predicted),
        recall_score(labels, predicted, pos_label=0),
    )
    best = (detected - alarms)[1:].max()  # the first threshold is above all scores
    assert sensitivity + specificity - 1 == pytest.approx(best)


@settings(deadline=None)
@given(LABELLED)
def test_the_threshold_for_95_percent_sensitivity_is_the_highest(drawn):
    labels, scores = drawn
    threshold = sensitivity_threshold(labels, scores)
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
    assert (
        youden_threshold(labels, scores) == 0.8
    )  # 2/3 + 1 - 1, and the same at 0.3: the higher one
    assert sensitivity_threshold(labels, scores) == 0.3


def test_each_label_has_its_own():
    given = made_up()
    chosen = choose_thresholds(slice_cases(given))
    for k, label in enumerate(LABELS):
        column = given.labels[:, k], given.probabilities[:, k]
        assert chosen["youden"][label] == youden_threshold(*column)
        assert chosen["sensitivity_95"][label] == sensitivity_threshold(*column)


def test_what_was_fitted_is_read_back_until_another_checkpoint_is_the_best(tmp_path):
    run = RunFolder(tmp_path)
    assert read_postprocessing(run, 64) is None
    source = Source(checkpoint_step=7, size=64, data_fingerprint="f")
    postprocessing = fit_postprocessing(made_up(seed=1), source)
    write_postprocessing(run, postprocessing)
    write_input(run, RunInput(NetworkInput(64, 64, (), 0), "shards", source.data_fingerprint))
    write_json(run.position, {"step": 9, "best_step": source.checkpoint_step})
    assert read_postprocessing(run, 64) == postprocessing
    write_json(run.position, {"step": 9, "best_step": 8})
    assert read_postprocessing(run, 64) is None
    run.fitted(64).write_text('{"source": {}}')
    with pytest.raises(RunError, match=r"64\.json: damaged .* remove it"):
        read_postprocessing(run, 64)


def test_an_answer_is_sensitive_for_any_and_balanced_for_kinds():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 6)) < 0.3).astype(int)
    probabilities = np.clip(0.3 * labels + rng.random((300, 6)) * 0.7, 0, 1)
    thresholds = choose_thresholds(make_cases(labels, probabilities, np.arange(300)))
    chosen = answer_thresholds(thresholds)
    assert chosen["any"] == thresholds["sensitivity_95"]["any"] != thresholds["youden"]["any"]
    for kind in SUBTYPES:
        assert chosen[kind] == thresholds["youden"][kind] != thresholds["sensitivity_95"][kind]

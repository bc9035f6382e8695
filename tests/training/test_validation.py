"""What a validation says, when there is one, and which checkpoint is kept."""

import numpy as np
import pytest

from ich_keras.experiment.schema import TrainingConfig
from ich_keras.training.losses import make_loss
from ich_keras.training.schedule import Schedule, is_better
from ich_keras.training.validation import collapse, validation_scores
from tests.support.made_predictions import predictions_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("low", "high", "description"),
    [
        (0.0, 0.49, "always negative"),
        (0.5, 1.0, "always positive"),
        (0.3, 0.3001, "the same answer for every slice"),
        (0.0, 1.0, ""),
    ],
)
def test_collapse_is_named(low, high, description):
    assert collapse(RNG.uniform(low, high, (40, 6)).astype("float32")) == description


def test_one_slice_that_predicted_positive_is_no_collapse():
    probabilities = np.full((40, 6), 0.01)
    probabilities[7, 2] = 0.6
    assert collapse(probabilities) == ""


def config(**values) -> TrainingConfig:
    return TrainingConfig(**{"max_steps": 100, "batch_size": 10, "learning_rate": 1.0} | values)


def test_a_undefined_score_is_none():
    labels = np.zeros((8, 6), int)
    scores = validation_scores(predictions_of(labels, RNG.random((8, 6))), make_loss(config()))
    assert scores["val_mean_auc"] is None
    assert all(np.isfinite(scores[x]) for x in scores if x != "val_mean_auc")


@pytest.mark.parametrize(
    ("monitor", "value", "best", "better"),
    [
        ("mean_auc", 0.6, None, True),
        ("mean_auc", 0.6, 0.5, True),
        ("mean_auc", 0.5, 0.5, False),
        ("loss", 0.4, 0.5, True),
        ("weighted_log_loss", 0.6, 0.5, False),
    ],
)
def test_which_score_is_better(monitor, value, best, better):
    assert is_better(monitor, value, best) is better


def test_what_happens_after_which_step():
    intervals = config(validate_every=4, log_every=3, figure_every=5)
    each, last = Schedule(intervals, 10, True), Schedule(intervals, 10, False)
    steps = range(1, 11)
    assert [x for x in steps if each.validates(x)] == [4, 8, 10]
    assert [x for x in steps if last.validates(x)] == [10]
    assert [x for x in steps if last.saves(x)] == [4, 8, 10]
    assert [x for x in steps if last.draws(x)] == [5, 10]
    assert [x for x in steps if last.logs(x)] == [3, 4, 5, 6, 8, 9, 10]


def test_the_share_of_validation_counts_forward_passes():
    """halfres.yaml: 12,000 slices forward after 12,000 slices forward and backward."""
    halfres = config(max_steps=38_000, batch_size=12, validate_every=1000)
    assert Schedule(halfres, 38_000, True).validation_share(12_000) == pytest.approx(1 / 4)
    assert Schedule(halfres, 38_000, True).validation_share(64_000) == pytest.approx(0.64)
    assert Schedule(halfres, 20_000, False).validation_share(12_000) == pytest.approx(1 / 61)

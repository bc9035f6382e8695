"""The losses against scikit-learn and against what is written in the papers."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, log_loss

from ich_keras.data.cells import UNKNOWN
from ich_keras.experiment.schema import LabelWeights, ModelConfig, TrainingConfig
from ich_keras.model.network import build_model, with_logits
from ich_keras.scores.metrics import weighted_log_loss
from ich_keras.training.losses import (
    LABEL_LOSSES,
    constant_guess_loss,
    label_shares,
    make_loss,
    make_map_loss,
)
from tfrecords_tools.classes import LABELS

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 2, (50, 6))
ANSWER = RNG.uniform(0.01, 0.99, (50, 6)).astype("float32")


def config(loss: str, **weights: float) -> TrainingConfig:
    return TrainingConfig(
        max_steps=1,
        batch_size=1,
        learning_rate=1.0,
        loss=loss,
        label_weights=LabelWeights(**weights),
    )


def test_every_loss_of_an_experiment_exists():
    assert set(get_args(TrainingConfig.model_fields["loss"].annotation)) == set(LABEL_LOSSES)


def mean_loss(loss: str, truth=TRUTH, answer=ANSWER, **weights: float) -> float:
    logits = logit(answer.astype(float)).astype("float32")
    per_slice = make_loss(config(loss, **weights))(truth.astype("float32"), logits)
    assert per_slice.shape == (len(truth),)
    return float(np.mean(per_slice))


def test_mse_is_the_mean_of_the_brier_scores():
    expected = np.mean([brier_score_loss(TRUTH[:, k], ANSWER[:, k]) for k in range(6)])
    assert mean_loss("mse") == pytest.approx(expected, rel=1e-5)


def test_bce_is_the_mean_of_the_log_losses():
    expected = np.mean([log_loss(TRUTH[:, k], ANSWER[:, k]) for k in range(6)])
    assert mean_loss("bce") == pytest.approx(expected, rel=1e-5)


def test_weighted_log_loss_is_that_of_the_challenge():
    assert mean_loss("weighted_log_loss") == pytest.approx(
        weighted_log_loss(TRUTH, ANSWER), rel=1e-5
    )


def test_focal_loss_is_equation_4_with_gamma_2():
    p_t = np.where(TRUTH == 1, ANSWER, 1 - ANSWER).astype(float)
    assert mean_loss("focal") == pytest.approx(np.mean(-((1 - p_t) ** 2) * np.log(p_t)), rel=1e-4)


def test_label_weights_set_the_share_of_a_label():
    np.testing.assert_allclose(label_shares(config("mse")), np.full(6, 1 / 6), rtol=1e-6)
    np.testing.assert_allclose(
        label_shares(config("weighted_log_loss")), np.array([1, 1, 1, 1, 1, 2]) / 7, rtol=1e-6
    )
    expected = np.average((TRUTH - ANSWER) ** 2, axis=1, weights=[5, 1, 1, 1, 1, 1]).mean()
    assert mean_loss("mse", epidural=5.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "bce", "focal", "weighted_log_loss"])
def test_the_best_constant_guess_is_not_beaten_by_any_other(loss):
    prevalences = np.array([0.004, 0.05, 0.03, 0.1, 0.5, 0.0])
    guesses = np.linspace(1e-4, 1 - 1e-4, 5000, dtype="float32")
    everywhere = np.repeat(guesses[:, np.newaxis], 6, axis=1)
    of, logits = make_loss(config(loss)), logit(everywhere)
    positive, negative = (np.asarray(of(np.full_like(logits, y), logits)) for y in (1, 0))
    lowest = [np.min(p * positive + (1 - p) * negative) for p in prevalences]
    expected = np.dot(label_shares(config(loss)), lowest)
    assert constant_guess_loss(config(loss), prevalences) == pytest.approx(expected, abs=1e-4)


def test_the_best_constant_guess_of_the_data_set_is_that_of_its_prevalences():
    """The table of the field: .00418, .04798, ... give an MSE of .05169 and a score of .2311."""
    prevalences = np.array([3145, 36118, 26205, 35675, 47166, 107933]) / 752803
    assert constant_guess_loss(config("mse"), prevalences) == pytest.approx(0.05169, abs=1e-5)
    score = constant_guess_loss(config("weighted_log_loss"), prevalences)
    assert score == pytest.approx(0.2311, abs=1e-4)


@pytest.mark.parametrize("loss", ["bce", "focal", "weighted_log_loss"])
def test_a_network_that_is_certain_and_wrong_still_learns(loss):
    """A probability that float32 rounds to 0 or 1 must not end the gradient."""
    labels, shares = np.array([[1, 0] * 3], "float32"), label_shares(config(loss))
    wrong = tf.Variable(np.array([[-40, 40, -40, 40, -40, 40]], "float32"))
    with tf.GradientTape() as tape:
        value = make_loss(config(loss))(labels, wrong)
    gradient = tape.gradient(value, wrong).numpy()
    np.testing.assert_allclose(gradient, [[-1, 1] * 3] * shares, rtol=1e-5)
    np.testing.assert_allclose(value, [40.0], rtol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "average", "logsumexp"])
def test_training_takes_the_logits_of_the_network(pooling):
    """Whatever the network does with its logits afterwards."""
    model = build_model(ModelConfig(widths=(4, 8), pooling=pooling), 1)
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 1), np.uint8)
    logits = with_logits(model)(images)
    np.testing.assert_allclose(model(images), expit(logits), rtol=1e-5)
    assert logits.numpy().min() < 0


def test_labels_keep_their_order():
    """Weights are named, probabilities are numbered."""
    for k, label in enumerate(LABELS):
        shares = label_shares(config("mse", **{label: 100.0}))
        assert shares.argmax() == k


def test_the_loss_of_class_maps_is_the_weighted_log_loss_of_their_cells():
    training = config("mse", any=3.0).model_copy(update={"map_weight": 2.0})
    cells = RNG.integers(0, 2, (4, 3, 3, 6)).astype("float32")
    cells[1] = UNKNOWN
    maps = RNG.uniform(0.01, 0.99, cells.shape)
    losses = np.asarray(make_map_loss(training)(cells, logit(maps).astype("float32")))
    for row in (0, 2, 3):
        each = [log_loss(cells[row, ..., k].ravel(), maps[row, ..., k].ravel()) for k in range(6)]
        assert losses[row] == pytest.approx(2 * np.average(each, weights=[1] * 5 + [3]), rel=1e-4)
    assert losses[1] == 0
    assert make_map_loss(config("mse")) is None

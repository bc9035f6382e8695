"""What a network is fitted by: losses of six probabilities a slice, weighted by label."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar

from ich_keras.config import TrainingConfig
from tfrecords_tools.bleedings import ANY, LABELS

FOCUS = 2.0  # gamma, the best of those that Lin et al. tried

Loss = Callable[[Any, Any], Any]  # labels and probabilities, both (N, 6), to a loss (N,)


def squared_error(labels: Any, probabilities: Any) -> Any:
    """(y - p)², which Brier scored forecasts by."""
    return ops.square(labels - probabilities)


def cross_entropy(labels: Any, probabilities: Any) -> Any:
    """-log of the probability given to what is true, from the logits where Keras knows them."""
    return ops.binary_crossentropy(labels, probabilities)


def focal(labels: Any, probabilities: Any) -> Any:
    """The cross-entropy times the squared probability given to what is false.

    Lin et al., "Focal loss for dense object detection", 2017, equation 4.
    """
    return ops.power(ops.abs(labels - probabilities), FOCUS) * cross_entropy(labels, probabilities)


OF_A_LABEL: dict[str, Callable[[Any, Any], Any]] = {
    "mse": squared_error,
    "bce": cross_entropy,
    "focal": focal,
    "weighted_log_loss": cross_entropy,
}


def label_shares(config: TrainingConfig) -> np.ndarray:
    """Which part each label has in the loss; float32 (6,), adding up to 1.

    `weighted_log_loss` counts "any" twice, as the RSNA challenge of 2019 did.
    """
    weights = np.array([getattr(config.label_weights, label) for label in LABELS], "float32")
    if config.loss == "weighted_log_loss":
        weights[ANY] *= 2
    return weights / weights.sum()


def make_loss(config: TrainingConfig) -> Loss:
    """The loss of a training.

    Returns:
        A function of labels, float32 (N, 6), and probabilities, float32 (N, 6), to the loss of
        each slice, float32 (N,): the weighted mean over its labels.
    """
    of_a_label, shares = OF_A_LABEL[config.loss], label_shares(config)
    return lambda labels, probabilities: ops.sum(shares * of_a_label(labels, probabilities), axis=1)


def constant_guess_loss(config: TrainingConfig, prevalences: np.ndarray) -> float:
    """The loss of the best answer that does not look at the slice.

    Found label by label. For MSE and cross-entropy that answer is the prevalence p, and its loss
    p (1 - p) or the entropy of p; the focal loss has another one.

    Args:
        config: the loss and its weights.
        prevalences: the share of slices that bear each label; float (6,).
    """
    of_a_label = OF_A_LABEL[config.loss]

    def expected(guess: float, prevalence: float) -> float:
        positive, negative = np.asarray(of_a_label(np.array([1.0, 0.0]), np.full(2, guess)))
        return float(prevalence * positive + (1 - prevalence) * negative)

    best = [
        minimize_scalar(expected, bounds=(0, 1), args=(p,), options={"xatol": 1e-7}).fun
        for p in prevalences
    ]
    return float(label_shares(config) @ best)

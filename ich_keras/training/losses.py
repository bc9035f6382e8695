"""Training losses: of the six logits of a slice, weighted by label.

A loss takes logits, since a float32 probability that rounds to 0 or 1 has no gradient left. To add
one, name it in LABEL_LOSSES and in `TrainingConfig.loss`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar
from scipy.special import logit

from ich_keras.experiment.schema import TrainingConfig
from tfrecords_tools.classes import ANY, LABELS

FOCUS = 2.0  # gamma; the best value of Lin et al.

Loss = Callable[[Any, Any], Any]  # labels and logits, both (N, 6), to a loss (N,)


def squared_error(labels: Any, logits: Any) -> Any:
    """(y - p)², the Brier score."""
    return ops.square(labels - ops.sigmoid(logits))


def cross_entropy(labels: Any, logits: Any) -> Any:
    """-log of the probability of the true label."""
    return ops.binary_crossentropy(labels, logits, from_logits=True)


def focal(labels: Any, logits: Any) -> Any:
    """The cross-entropy times the squared probability of the wrong label.

    Lin et al., "Focal loss for dense object detection", 2017, equation 4.
    """
    wrong = ops.abs(labels - ops.sigmoid(logits))
    return ops.power(wrong, FOCUS) * cross_entropy(labels, logits)


LABEL_LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mse": squared_error,
    "bce": cross_entropy,
    "focal": focal,
    "weighted_log_loss": cross_entropy,
}


def label_shares(config: TrainingConfig) -> np.ndarray:
    """Returns the share of each label in the loss; float32 (6,), summing to 1.

    `weighted_log_loss` counts "any" twice, as the RSNA challenge of 2019 did.
    """
    weights = np.array([getattr(config.label_weights, label) for label in LABELS], "float32")
    if config.loss == "weighted_log_loss":
        weights[ANY] *= 2
    return weights / weights.sum()


def make_loss(config: TrainingConfig) -> Loss:
    """Returns a training's loss: the weighted mean over the labels of each slice, float32 (N,).

    Its arguments are labels and logits, float32 (N, 6).
    """
    label_loss, shares = LABEL_LOSSES[config.loss], label_shares(config)
    return lambda labels, logits: ops.sum(shares * label_loss(labels, logits), axis=1)


def make_map_loss(config: TrainingConfig) -> Loss | None:
    """Returns the loss of the class maps: `map_weight` times the cross-entropy of their cells.

    Its arguments are what the cells should show and their logits, float32 (N, H, W, 6); its result
    is the mean over cells, float32 (N,), 0 for a slice whose cells are UNKNOWN. Without
    weight there is no such loss.
    """
    if not config.map_weight:
        return None
    shares = label_shares(config)

    def loss(cells: Any, logits: Any) -> Any:
        known = ops.cast(cells[:, 0, 0, 0] >= 0, "float32")
        each = cross_entropy(ops.maximum(cells, 0), logits)
        return config.map_weight * known * ops.mean(ops.sum(shares * each, axis=-1), axis=(1, 2))

    return loss


def constant_guess_loss(config: TrainingConfig, prevalences: np.ndarray) -> float:
    """Returns the loss of the best constant answer, which does not look at the slice.

    It is computed per label. For MSE and cross-entropy the best answer is the prevalence p, with a
    loss of p (1 - p) or the entropy of p; for the focal loss it is another value.
    """
    label_loss = LABEL_LOSSES[config.loss]

    def expected(guess: float, prevalence: float) -> float:
        logits = np.full(2, logit(guess))
        positive, negative = np.asarray(label_loss(np.array([1.0, 0.0]), logits))
        return float(prevalence * positive + (1 - prevalence) * negative)

    best = [
        minimize_scalar(expected, bounds=(0, 1), args=(p,), options={"xatol": 1e-7}).fun
        for p in prevalences
    ]
    return float(label_shares(config) @ best)

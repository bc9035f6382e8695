"""Validation: scores, and whether the network's answer still depends on the slice."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_keras.model.forward import predict_split
from ich_keras.model.predictions import Predictions
from ich_keras.scores import metrics
from ich_keras.scores.calibration import logits
from ich_keras.training.checks import TrainingError
from ich_keras.training.losses import Loss
from ich_keras.training.session import Session

SAME = 1e-3  # probabilities that differ by less over all slices count as the same answer


@dataclass(frozen=True)
class Validation:
    """What the network answers on the validation slices."""

    predictions: Predictions
    columns: dict[str, Any]  # of the history: the scores and `warning`
    seconds: float


def validate(session: Session, step: int) -> Validation:
    """Runs the network over the validation split, or over the part that the experiment names.

    Raises:
        TrainingError: if an answer is not finite.
    """
    began = time.monotonic()
    predictions = predict_split(
        session.forward,
        session.shards,
        "val",
        batch_size=session.experiment.evaluation.batch_size,
        slices=session.experiment.training.validation_slices,
    )
    probabilities = predictions.probabilities
    if not np.isfinite(probabilities).all():
        raise TrainingError(
            f"the network's answers are not finite at step {step}; lower training.learning_rate,"
            " or set training.precision to float32"
        )
    scores = validation_scores(predictions, session.loss)
    columns = scores | {"warning": collapse(probabilities)}
    return Validation(predictions, columns, time.monotonic() - began)


def validation_scores(predictions: Predictions, loss: Loss) -> dict[str, float | None]:
    """Returns the validation columns of the history, without intervals.

    `val_mean_auc` is None if no label has both positive and negative slices.
    """
    labels, probabilities = predictions.labels, predictions.probabilities
    losses = np.asarray(loss(labels.astype("float32"), logits(probabilities).astype("float32")))
    mean_auc = metrics.mean_auc(labels, probabilities)
    return {
        "val_loss": float(np.mean(losses)),
        "val_accuracy": float(np.mean((probabilities >= 0.5) == (labels == 1))),
        "val_mean_auc": None if np.isnan(mean_auc) else mean_auc,
        "val_weighted_log_loss": metrics.weighted_log_loss(labels, probabilities),
    }


def collapse(probabilities: np.ndarray) -> str:
    """Describes a network whose answers, (N, 6), do not depend on the slice; "" if they do.

    Such a network can have a small loss and, if hemorrhages are rare, a high accuracy.
    """
    positive = probabilities >= 0.5
    if np.ptp(probabilities, axis=0).max() < SAME:
        return "the same answer for every slice"
    if not positive.any():
        return "always negative"
    return "always positive" if positive.all() else ""

"""What a validation says of a network: scores, and whether it still looks at the slices."""

import numpy as np

from ich_keras.model.predictions import Predictions
from ich_keras.scores import metrics
from ich_keras.scores.calibration import logits
from ich_keras.training.losses import Loss

SAME = 1e-3  # probabilities that differ by less, over all slices, are one answer


def validation_scores(predictions: Predictions, loss: Loss) -> dict[str, float | None]:
    """The validation columns of the history, without intervals.

    Args:
        predictions: of the validation split, or of a part of it.
        loss: from `make_loss`.

    Returns:
        Scores by column. `val_mean_auc` is None if no label has both positive and negative slices.
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
    """What is wrong with a network whose answer does not depend on the slice; else "".

    Such a network can have a small loss and, where bleedings are rare, a high accuracy.

    Args:
        probabilities: float (N, 6).
    """
    says = probabilities >= 0.5
    if np.ptp(probabilities, axis=0).max() < SAME:
        return "the same answer for every slice"
    if not says.any():
        return "always negative"
    return "always positive" if says.all() else ""

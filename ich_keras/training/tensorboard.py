"""TensorBoard: scalars, images, precision-recall curves and hyperparameters of a run."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.pr_curve import summary as pr_curve

from ich_keras.experiment.experiment import Experiment
from ich_keras.model.predictions import Predictions
from tfrecords_tools.classes import LABELS

Value = bool | int | float | str


class EventLog:
    """The event file of one session; each session of a run has its own."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        with self._writer.as_default():
            hparams.hparams(_flat(experiment.model_dump(mode="json")), trial_id=_group(experiment))

    def scalars(self, row: dict[str, Any]) -> None:
        """Writes the numbers of a row of the history."""
        with self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                if isinstance(value, float):
                    tf.summary.scalar(_tag(name), value)
        self._writer.flush()

    def precision_recall(self, step: int, predictions: Predictions) -> None:
        """Writes a curve for each label that has both positive and negative slices."""
        with self._writer.as_default(step=step):
            for k, label in enumerate(LABELS):
                truth = predictions.labels[:, k] == 1
                if 0 < truth.sum() < len(truth):
                    curve = pr_curve.pb(
                        f"validation/{label}", truth, predictions.probabilities[:, k]
                    )
                    tf.summary.experimental.write_raw_pb(curve.SerializeToString())

    def picture(self, step: int, name: str, png: Path) -> None:
        """Writes an image from a PNG file."""
        with self._writer.as_default(step=step):
            tf.summary.image(name, tf.io.decode_png(png.read_bytes(), channels=3)[tf.newaxis])

    def close(self) -> None:
        self._writer.close()


def describe_search(folder: Path, keys: Sequence[str], objective: str) -> None:
    """Limits TensorBoard's table of hyperparameters to those that a search varies.

    `folder` is the parent of the folders of the runs, `keys` are key paths of the experiment.
    """
    with tf.summary.create_file_writer(str(folder)).as_default():
        hparams.hparams_config(
            hparams=[hparams.HParam(key) for key in keys],
            metrics=[hparams.Metric(_tag(objective), display_name=objective)],
        )


def _group(experiment: Experiment) -> str:
    """Returns the same text for runs that differ only in their seed."""
    content = experiment.model_dump(mode="json", exclude={"seed"})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{experiment.name}-{digest[:8]}"


def _tag(column: str) -> str:
    return column.replace("val_", "validation/")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Value]:
    """Returns values by key path; what TensorBoard does not take as a hyperparameter, as text."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, Value) else str(value)
    return flat

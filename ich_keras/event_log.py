"""A run as TensorBoard shows it: scalars, pictures, precision-recall curves, hyperparameters."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.pr_curve import summary as pr_curve

from ich_keras.config import Experiment
from ich_keras.scoring import Predictions
from tfrecords_tools.bleedings import LABELS

Value = bool | int | float | str


class EventLog:
    """The event file of one session. A session that goes on begins another beside it."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        with self._writer.as_default():
            hparams.hparams(_flat(experiment.model_dump(mode="json")), trial_id=experiment.name)

    def scalars(self, row: dict[str, Any]) -> None:
        """The numbers of a row of the history."""
        with self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                if isinstance(value, float):
                    tf.summary.scalar(name.replace("val_", "validation/"), value)
        self._writer.flush()

    def precision_recall(self, step: int, predictions: Predictions) -> None:
        """A curve for each label that the validation has both with and without."""
        with self._writer.as_default(step=step):
            for k, label in enumerate(LABELS):
                truth = predictions.labels[:, k] == 1
                if 0 < truth.sum() < len(truth):
                    curve = pr_curve.pb(
                        f"validation/{label}", truth, predictions.probabilities[:, k]
                    )
                    tf.summary.experimental.write_raw_pb(curve.SerializeToString())

    def picture(self, step: int, name: str, png: Path) -> None:
        """A PNG file."""
        with self._writer.as_default(step=step):
            tf.summary.image(name, tf.io.decode_png(png.read_bytes(), channels=3)[tf.newaxis])

    def close(self) -> None:
        self._writer.close()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Value]:
    """Key paths to what TensorBoard takes for hyperparameters: the rest of it as text."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, Value) else str(value)
    return flat

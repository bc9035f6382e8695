"""Batches to probabilities: the network over a whole split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from ich_keras.data.batches import ShardSet, evaluation_batches
from ich_keras.model.baseline import dense_areas, window_for_rule
from tfrecords_tools.classes import LABELS
from tfrecords_tools.progress import progress


@dataclass(frozen=True)
class Predictions:
    """The network's answer for the slices of a split, one row a slice.

    Attributes:
        slice_id: str, shape (N,).
        study_id: str, shape (N,).
        patient_key: str, shape (N,).
        position_mm: float32, shape (N,), along the slice normal.
        labels: int64, shape (N, 6), 0 or 1, in the order of LABELS.
        probabilities: float32, shape (N, 6), 0..1.
        dense_mm2: float, shape (N,), what the plain rule sees; None where it was not asked.
        series_id: str, shape (N,), of the series of each slice; None for shards, which record
            studies only.
    """

    slice_id: np.ndarray
    study_id: np.ndarray
    patient_key: np.ndarray
    position_mm: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    dense_mm2: np.ndarray | None = None
    series_id: np.ndarray | None = None

    @property
    def series(self) -> np.ndarray:
        """Tells the series of the slices apart; of shards the studies, which have one each."""
        return self.study_id if self.series_id is None else self.series_id

    def take(self, rows: np.ndarray) -> "Predictions":
        """Some of the rows, by their indices."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: x[rows] for k, x in columns.items() if x is not None})

    def with_probabilities(self, probabilities: np.ndarray) -> "Predictions":
        """The same slices with other answers, (N, 6)."""
        return replace(self, probabilities=probabilities)

    def with_plain_rule(self, dense_mm2: np.ndarray) -> "Predictions":
        """The same slices with what the plain rule sees in them, (N,)."""
        return replace(self, dense_mm2=dense_mm2)

    def table(self) -> pd.DataFrame:
        """A row a slice: ids, then `<label>` and `<label>_true` for the six labels."""
        columns: dict[str, np.ndarray] = {
            "slice_id": self.slice_id,
            "study_id": self.study_id,
            "patient_key": self.patient_key,
        }
        for k, label in enumerate(LABELS):
            columns[label] = self.probabilities[:, k]
            columns[f"{label}_true"] = self.labels[:, k]
        return pd.DataFrame(columns)


Forward = Callable[[tf.Tensor], tf.Tensor]


def compile_forward(model: keras.Model) -> Forward:
    """The network without dropout as one graph that takes any batch, height and width."""
    signature = tf.TensorSpec((None, None, None, model.input.shape[-1]), tf.uint8)
    return tf.function(
        lambda image: model(image, training=False), input_signature=[signature], autograph=False
    )


def predict_split(
    forward: Forward,
    shards: ShardSet,
    split: str,
    *,
    batch_size: int,
    slices: int | None = None,
    with_plain_rule: bool = False,
) -> Predictions:
    """Runs the network over a labelled split.

    Args:
        forward: from `compile_forward`.
        shards: the slices.
        split: its name.
        batch_size: slices at once.
        slices: only the first so many, which are a random sample, as the order of shards is
            random; None means the whole split.
        with_plain_rule: ask the plain rule too, where a window shows what it needs.
    """
    window = window_for_rule(shards.input.windows) if with_plain_rule else None
    wanted = min(shards.slices(split), slices or shards.slices(split))
    total = -(-wanted // batch_size)
    rows: dict[str, list[np.ndarray]] = {}
    dataset = evaluation_batches(shards, split, batch_size=batch_size)
    for batch in progress(islice(dataset, total), total=total, desc=f"score {split}", unit="batch"):
        answer = {key: batch[key].numpy() for key in batch if key != "image"}
        answer["probabilities"] = forward(batch["image"]).numpy()
        if window is not None:
            shown = batch["image"][..., shards.input.channel_of(window)].numpy()
            answer["dense_mm2"] = dense_areas(shown, shards.input.windows[window], shards.pixel_mm)
        for key, values in answer.items():
            rows.setdefault(key, []).append(values)
    columns = {key: np.concatenate(values)[:wanted] for key, values in rows.items()}
    return Predictions(
        slice_id=columns["slice_id"].astype(str),
        study_id=columns["study_id"].astype(str),
        patient_key=columns["patient_key"].astype(str),
        position_mm=columns["position_mm"],
        labels=columns["label"],
        probabilities=columns["probabilities"],
        dense_mm2=columns.get("dense_mm2"),
    )


def read_images(shards: ShardSet, split: str, slice_ids: Sequence[str]) -> np.ndarray:
    """Fetches single slices, opening only the shards that hold them.

    Returns:
        uint8, shape (len(slice_ids), size, size, channels), in the order asked for.
    """
    wanted = shards.index().set_index("slice_id").loc[list(slice_ids), "shard"]
    images: dict[str, np.ndarray] = {}
    for batch in evaluation_batches(shards, split, batch_size=64, only=set(wanted)):
        names = batch["slice_id"].numpy().astype(str)
        for place in np.flatnonzero(np.isin(names, wanted.index)):
            images[names[place]] = batch["image"][place].numpy()
    return np.stack([images[slice_id] for slice_id in slice_ids])

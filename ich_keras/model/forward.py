"""Runs a network over the slices of a split."""

from collections.abc import Callable
from itertools import islice

import keras
import numpy as np
import tensorflow as tf

from ich_keras.data.batches import evaluation_batches
from ich_keras.data.shards import ShardSet
from ich_keras.model.baseline import plain_rule_areas
from ich_keras.model.predictions import Predictions
from tfrecords_tools.progress import progress

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
    """Runs the network, and on request the plain rule, over a labelled split.

    `slices` takes only the first so many: a random sample, as the order of shards is random.
    """
    count = min(shards.slices(split), slices or shards.slices(split))
    steps = -(-count // batch_size)
    batches = islice(evaluation_batches(shards, split, batch_size=batch_size), steps)
    parts = []
    for batch in progress(batches, total=steps, desc=f"score {split}", unit="batch"):
        part = {key: batch[key].numpy() for key in batch if key != "image"}
        part["probabilities"] = forward(batch["image"]).numpy()
        if with_plain_rule:
            images = batch["image"].numpy()
            part["dense_mm2"] = plain_rule_areas(images, shards.input, shards.pixel_mm)
        parts.append(part)
    return _predictions(parts, count)


def _predictions(parts: list[dict[str, np.ndarray]], count: int) -> Predictions:
    columns = {
        key: np.concatenate([part[key] for part in parts])[:count]
        for key, values in parts[0].items()
        if values is not None
    }
    return Predictions(
        slice_id=columns["slice_id"].astype(str),
        study_id=columns["study_id"].astype(str),
        patient_key=columns["patient_key"].astype(str),
        position_mm=columns["position_mm"],
        labels=columns["label"],
        probabilities=columns["probabilities"],
        dense_mm2=columns.get("dense_mm2"),
    )

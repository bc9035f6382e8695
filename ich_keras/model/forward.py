"""Runs a network over slices."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ich_keras.data.batches import evaluation_batches
from ich_keras.data.shards import ShardSet
from ich_keras.model.baseline import plain_rule_areas
from ich_keras.model.predictions import Predictions
from tfrecords_tools.progress import progress

Forward = Callable[[Any], Any]
AHEAD = 2  # batches that a GPU computes while others are read; more would fill its memory


def compile_forward(model: keras.Model) -> Forward:
    """The network without dropout as one graph that takes any batch, height and width.

    XLA would compile it again for each of these, so it does not.
    """
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
    computed = _computed(forward, batches)
    for batch, output in progress(computed, total=steps, desc=f"score {split}", unit="batch"):
        part = {key: batch[key].numpy() for key in batch if key != "image"}
        if with_plain_rule:
            images = batch["image"].numpy()
            part["dense_mm2"] = plain_rule_areas(images, shards.input, shards.pixel_mm)
        parts.append(part | {"probabilities": output.numpy()})
    return _predictions(parts, count)


def _computed(
    forward: Forward, batches: Iterable[dict[str, tf.Tensor]]
) -> Iterator[tuple[dict[str, tf.Tensor], tf.Tensor]]:
    """Each batch with its output, a little late: a GPU computes those that were not asked for."""
    started: deque[tuple[dict[str, tf.Tensor], tf.Tensor]] = deque()
    for batch in batches:
        started.append((batch, forward(batch["image"])))
        if len(started) > AHEAD:
            yield started.popleft()
    yield from started


def predict_images(forward: Forward, images: np.ndarray, batch_size: int) -> Any:
    """Outputs for slices in memory, uint8 (N, size, size, channels); arrays, as those of `forward`.

    A GPU computes all batches while the first is waited for.
    """
    starts = range(0, len(images), batch_size)
    outputs = [forward(images[start : start + batch_size]) for start in starts]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *outputs)


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

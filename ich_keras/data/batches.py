"""Shards to batches, as tf.data pipelines."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import tensorflow as tf

from ich_keras.data.augmentation import augment
from ich_keras.data.cells import Cells
from ich_keras.data.passes import training_passes, without_autograph, without_tuner
from ich_keras.data.shards import DatasetError, ShardSet
from ich_keras.experiment.schema import AugmentationConfig, DataConfig
from tfrecords_tools.dataset.manifest import Shard
from tfrecords_tools.records.schema import decode_image, parse_examples
from tfrecords_tools.storage.shard_path import ShardPath

# Batches prepared in parallel: one per core, but not so many that they fill the memory.
PARALLEL_BATCHES = min(os.cpu_count() or 1, 16)
UNCHANGED = AugmentationConfig()
PREFETCH = 2  # batches prepared ahead
READ_AT_ONCE = 64  # records among which single slices are looked for
WRONG_LABEL = "a label is not six of 0 or 1 with `any` the OR of the five kinds"


@contextmanager
def reading(folder: ShardPath) -> Iterator[None]:
    """Turns errors of a pipeline that reads the folder into one line.

    Raises:
        DatasetError: if a shard is damaged or missing, the store does not answer, or a label is
            invalid.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if "GetNext" not in str(error):  # of the network, not of the pipeline
            raise
        if WRONG_LABEL in str(error) or "Key: label" in str(error):  # the latter if not six
            raise DatasetError(
                f"{folder}: {WRONG_LABEL}; `ich-keras verify {folder}` tells which: convert again"
            ) from error
        raise DatasetError(
            f"{folder}: a shard cannot be read ({_plain_message(error)}); `ich-keras verify"
            f" {folder}` tells which"
        ) from error


def _plain_message(error: tf.errors.OpError) -> str:
    """The message of an error, without where in a graph it was raised."""
    message = error.message
    if message.startswith("Graph execution error"):  # then the lines of the graph, and the message
        message = message.rpartition("\n\n")[2]
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*|\n.*", "", message, flags=re.DOTALL).strip(" :")
    text = text.removeprefix("No response body.")  # in answer to any request for a header
    return text or type(error).__name__


def training_batches(
    shards: ShardSet,
    config: DataConfig,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: int = 0,
    workers: int = 1,
    cell: int | None = None,
) -> tf.data.Dataset:
    """Endless shuffled batches of the training split, as a pure function of the step.

    Each pass over the data has its own order, drawn from the seed and the number of the pass, and
    each slice its own augmentation, drawn from the seed and its position in the stream. A run that
    resumes at step k therefore sees exactly what an uninterrupted run sees from step k on.

    Images are decoded and changed by Python code on TensorFlow's threads, which cannot run while a
    process ends: an iterator must be out of scope by then, so keep none in a global variable.

    `start_step` batches were trained on before. All `workers` share each batch, whose size must be
    a multiple of their number. A worker gets (image, label): uint8 (batch_size / workers, size,
    size, channels) and float32 (batch_size / workers, 6). With `cell`, the edge of a cell of the
    class maps in pixels, it gets the cells as well (`Cells.of_batch`).

    Raises:
        DatasetError: as `training_passes`.
    """
    if batch_size % workers:
        raise ValueError(f"a batch of {batch_size} cannot be shared by {workers} workers")
    share = batch_size // workers
    inputs = (shards.input, shards.stored, config.augmentation, seed)
    cells = None if cell is None else Cells(*inputs, cell)
    passes = training_passes(shards, config, seed=seed, worker=worker, workers=workers)
    # The positions of the workers alternate, so no two draw the same augmentation.
    positions = tf.data.Dataset.range(
        start_step * batch_size + worker, np.iinfo(np.int64).max, workers
    )
    return without_tuner(
        tf.data.Dataset.zip((positions, passes.records_from(start_step * share)))
        .batch(share, drop_remainder=True)
        .map(
            _Decoder(shards, config.augmentation, seed, cells).training_batch,
            num_parallel_calls=PARALLEL_BATCHES,
            deterministic=True,
        )
        .prefetch(PREFETCH)
    )


def evaluation_batches(shards: ShardSet, split: str, *, batch_size: int) -> tf.data.Dataset:
    """Every slice of a split once, in the order of the shards; the last batch may be smaller.

    Gives dictionaries of `image` uint8 (N, size, size, channels), `slice_id`, `study_id`,
    `patient_key` string (N,), `position_mm` float32 (N,) and, if the split is labelled, `label`
    int64 (N, 6).
    """
    decoder = _Decoder(shards)
    decode = decoder.unlabelled_batch if split == "unlabelled" else decoder.labelled_batch
    return _batches(shards, shards.split_shards(split), batch_size, decode)


def read_images(shards: ShardSet, slice_ids: Sequence[str]) -> np.ndarray:
    """Reads single slices; uint8 (len(slice_ids), size, size, channels), in their order."""
    images = dict(iterate_images(shards, slice_ids))
    return np.stack([images[slice_id] for slice_id in slice_ids])


def iterate_images(shards: ShardSet, slice_ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads slices, by their ids, in the order of the shards.

    Each shard that holds any of them is read once, and only their images are decoded.
    """
    names = shards.shards_of(slice_ids)
    chosen = [shard for shard in shards.manifest.shards if shard.name in names]
    decoder = _SomeSlices(_Decoder(shards), frozenset(x.encode() for x in slice_ids))
    left = len(decoder.slice_ids)
    for ids, images in _batches(shards, chosen, READ_AT_ONCE, decoder.batch).as_numpy_iterator():
        yield from zip(ids.astype(str), images, strict=True)
        left -= len(ids)
        if not left:
            return


def _batches(
    shards: ShardSet, chosen: Sequence[Shard], size: int, decode: Callable
) -> tf.data.Dataset:
    """All records of these shards, in batches of that size, decoded."""
    # A shard cut short is an error, not a smaller evaluation.
    records = sum(shard.records for shard in chosen)
    paths = [str(shards.folder / shard.name) for shard in chosen]
    return without_tuner(
        tf.data.TFRecordDataset(tf.constant(paths, tf.string))
        .apply(tf.data.experimental.assert_cardinality(records))
        .batch(size)
        .map(decode, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
        .prefetch(PREFETCH)
    )


@dataclass(frozen=True, eq=False)
class _Decoder:
    """Batches of serialised examples to inputs of the network."""

    shards: ShardSet
    augmentation: AugmentationConfig = UNCHANGED
    seed: int = 0
    cells: Cells | None = None  # of the class maps, if they are trained too

    @without_autograph
    def training_batch(self, positions: tf.Tensor, records: tf.Tensor) -> tuple[tf.Tensor, ...]:
        batch = parse_examples(records, labelled=True, masks=self.cells is not None)
        images = self._by_python(self._decode_and_augment, batch["image"], positions)
        labels = tf.cast(_checked(batch["label"]), tf.float32)
        if self.cells is None:
            return images, labels
        return images, labels, self.cells.of_batch(batch["mask"], labels[:, -1], positions)

    @without_autograph
    def labelled_batch(self, records: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = self.unlabelled_batch(records, labelled=True)
        return {**batch, "label": _checked(batch["label"])}

    @without_autograph
    def unlabelled_batch(self, records: tf.Tensor, labelled: bool = False) -> dict[str, tf.Tensor]:
        batch = parse_examples(records, labelled)
        return {**batch, "image": self.decode(batch["image"])}

    def decode(self, contents: tf.Tensor) -> tf.Tensor:
        """The inputs of the network, uint8 (N, size, size, channels)."""
        return self._by_python(self._decode, contents)

    def _by_python(self, function: Callable[..., np.ndarray], *tensors: tf.Tensor) -> tf.Tensor:
        """Images of a batch, by a function of arrays that keeps no state.

        TensorFlow's ops take twice as long. One call makes the images of a batch, because calls are
        costly; stateless calls run in parallel even under op determinism.
        """
        cv2.setNumThreads(1)  # threads within each parallel batch would take twice the time
        images = tf.numpy_function(function, tensors, tf.uint8, stateful=False)
        return tf.ensure_shape(images, (*tensors[0].shape, *self.shards.input.shape))

    def _decode(self, contents: np.ndarray) -> np.ndarray:
        stored, encoding = self.shards.stored, self.shards.manifest.format.encoding
        images = np.empty((len(contents), *self.shards.input.shape), np.uint8)
        # Slice by slice, because a batch at the size of the shards does not fit into the cache.
        for image, content in zip(images, contents, strict=True):
            whole = decode_image(content, encoding, stored.shape)
            self.shards.input.of_stored(whole, stored, out=image)
        return images

    def _decode_and_augment(self, contents: np.ndarray, positions: np.ndarray) -> np.ndarray:
        images, air = self._decode(contents), self.shards.input.air()
        if self.augmentation == UNCHANGED:
            return images
        return augment(images, self.augmentation, seed=self.seed, positions=positions, air=air)


@dataclass(frozen=True, eq=False)
class _SomeSlices:
    """Decodes the slices with these ids alone."""

    decoder: _Decoder
    slice_ids: frozenset[bytes]

    @without_autograph
    def batch(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = parse_examples(records, labelled=False)
        wanted = tf.numpy_function(self._are_wanted, [batch["slice_id"]], tf.bool, stateful=False)
        wanted = tf.ensure_shape(wanted, [None])
        contents = tf.boolean_mask(batch["image"], wanted)
        return tf.boolean_mask(batch["slice_id"], wanted), self.decoder.decode(contents)

    def _are_wanted(self, slice_ids: np.ndarray) -> np.ndarray:
        return np.array([slice_id in self.slice_ids for slice_id in slice_ids])


def _checked(labels: tf.Tensor) -> tf.Tensor:
    """The labels, shape (N, 6); the network would learn invalid ones, so they are an error."""
    binary = tf.reduce_all((labels == 0) | (labels == 1))
    any_is_or = tf.reduce_all(labels[:, -1] == tf.reduce_max(labels[:, :-1], axis=1))
    with tf.control_dependencies([tf.debugging.Assert(binary & any_is_or, [WRONG_LABEL])]):
        return tf.identity(labels)

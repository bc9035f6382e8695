"""Shards to batches, as tf.data pipelines."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import tensorflow as tf

from ich_keras.data.augmentation import augment
from ich_keras.data.balance import balanced, kinds_borne, sampling_weights
from ich_keras.data.network_input import NetworkInput, shrink_slices
from ich_keras.experiment.schema import AugmentationConfig, DataConfig
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    Shard,
    read_manifest,
)
from tfrecords_tools.errors import InputError
from tfrecords_tools.records.schema import parse_examples
from tfrecords_tools.storage.shard_path import ShardPath, local_copy, plain_message
from tfrecords_tools.windows import AIR, apply_windows

# In the making at a time: one a core, but not so many that memory is full of them.
PARALLEL_BATCHES = min(os.cpu_count() or 1, 16)
PREFETCH = 2  # batches that are made ahead
WRONG_LABEL = "a label is not six of 0 or 1 with `any` the OR of the five kinds"
OPEN_SHARDS = 4  # read in turn, so that a batch mixes shards; more only costs file handles
# No function of a pipeline branches on a tensor. AutoGraph would look for that all the same: it
# takes seconds at each start, and leaves files behind in a process that is killed.
as_written = tf.autograph.experimental.do_not_convert


class DatasetError(InputError):
    """Shards that an experiment cannot use, or that cannot be read."""


@dataclass(frozen=True)
class ShardSet:
    """A folder of shards as one experiment wants to see it.

    Attributes:
        folder: where the shards are.
        manifest: what they hold.
        input: what is made of a record for the network.
    """

    folder: ShardPath
    manifest: Manifest
    input: NetworkInput

    def slices(self, split: str) -> int:
        """Slices in a split.

        Raises:
            DatasetError: if the shards have no such split, or an empty one.
        """
        if split not in self.manifest.splits or not self.manifest.splits[split].slices:
            known = ", ".join(name for name, s in self.manifest.splits.items() if s.slices)
            raise DatasetError(
                f"{self.folder}: no slices in split {split!r}; choose one of: {known}"
            )
        return self.manifest.splits[split].slices

    @property
    def pixel_mm(self) -> float | None:
        """Edge of a pixel, the median of all slices; None where no file told it."""
        stored = self.manifest.pixel_mm
        return None if stored is None else stored * self.manifest.format.size / self.input.size

    def prevalences(self, split: str) -> np.ndarray:
        """The share of the slices of a split that bear each label; float64 (6,)."""
        positives = self.manifest.splits[split].positives
        return np.array([positives[label] for label in LABELS]) / self.slices(split)

    def index(self) -> pd.DataFrame:
        """`index.csv`: a row a slice."""
        texts = dict.fromkeys(("slice_id", "study_id", "patient_key", "shard"), str)
        with local_copy(self.folder / INDEX_NAME) as path:
            return pd.read_csv(path, dtype=texts)

    def labels(self, split: str) -> np.ndarray:
        """The labels of a split as `index.csv` gives them; int64, shape (N, 6), shard by shard.

        Raises:
            DatasetError: if the index is not what the manifest says.
        """
        return np.concatenate(self.labels_by_shard(split))

    def labels_by_shard(self, split: str) -> list[np.ndarray]:
        """The labels of the slices of each shard of a split; int64, shape (N, 6).

        Raises:
            DatasetError: if the index is not what the manifest says.
        """
        try:
            with local_copy(self.folder / INDEX_NAME) as path:
                kinds = {"split": "category", "shard": "category"}
                table = pd.read_csv(path, usecols=["split", "shard", *LABELS], dtype=kinds)
            table = table[table["split"] == split]
            rows = table.groupby("shard", observed=True).indices
            labels = table[list(LABELS)].to_numpy(np.int64)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{self.folder / INDEX_NAME}: cannot be read ({error}); convert again"
            ) from error
        positives = dict(zip(LABELS, labels.sum(axis=0).tolist(), strict=True))
        records = {shard.name: shard.records for shard in self.manifest.split_shards(split)}
        counted = {name: len(members) for name, members in rows.items()}
        if (counted, positives) != (records, dict(self.manifest.splits[split].positives)):
            raise DatasetError(
                f"{self.folder}: {INDEX_NAME} and {MANIFEST_NAME} count the slices or bleedings of"
                f" the split {split} differently; convert again"
            )
        return [labels[rows[name]] for name in records]


@contextmanager
def reading(folder: ShardPath) -> Iterator[None]:
    """Says in one line what keeps a pipeline from its shards.

    Raises:
        DatasetError: if a shard is damaged, or is no longer there, or the store does not answer,
            or a label is none.
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
            f"{folder}: a shard cannot be read ({plain_message(error)}); `ich-keras verify"
            f" {folder}` tells which"
        ) from error


def open_shards(folder: ShardPath, config: DataConfig, size: int | None = None) -> ShardSet:
    """Opens a shard folder for an experiment.

    Args:
        folder: a folder that `ich-keras convert` wrote.
        config: the experiment's size, windows and neighbours; None means the shards' own.
        size: overrides the experiment's size.

    Raises:
        ManifestError: if the folder holds no readable manifest.
        DatasetError: if size, windows or neighbours are not to be had from these shards.
    """
    manifest = read_manifest(folder)
    stored = manifest.format
    wanted = size or config.size or stored.size
    if wanted > stored.size:
        raise DatasetError(
            f"{folder}: the shards are {stored.size} pixels wide and size {wanted} was asked for;"
            f" set data.size to at most {stored.size}, or convert with --size {wanted}"
        )
    by_name = {window.name: window for window in stored.windows}
    missing = [name for name in config.windows or () if name not in by_name]
    if missing:
        raise DatasetError(
            f"{folder}: the shards have the windows {', '.join(by_name)}, not {', '.join(missing)};"
            " change data.windows, or convert with these --windows"
        )
    reach = stored.neighbours if config.neighbours is None else config.neighbours
    if reach > stored.neighbours:
        raise DatasetError(
            f"{folder}: the shards have {stored.neighbours} neighbours of each slice and {reach}"
            f" were asked for; change data.neighbours, or convert with --neighbours {reach}"
        )
    windows = tuple(by_name[name] for name in config.windows or by_name)
    return ShardSet(folder, manifest, NetworkInput(stored.size, wanted, windows, reach))


def training_batches(
    shards: ShardSet,
    config: DataConfig,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Endless shuffled batches of the training split, as a pure function of the step.

    Each pass over the data has its own order, drawn from the seed and the number of the pass, and
    each slice its own augmentation, drawn from the seed and its place in the stream. A run that
    starts at step k therefore sees exactly what an undisturbed run sees from step k on.

    In each pass a worker reads shards of its own, which no other reads, and shuffles those: shards
    that lie far away cross the network once. Which they are is drawn anew for each pass, as a
    worker with fewer slices is through with them sooner.

    Images are decoded and changed by Python code on TensorFlow's threads, which cannot run while a
    process ends: an iterator must be out of scope by then, so keep none in a global variable.

    Args:
        shards: what to read.
        config: shuffle buffer, of each worker, balance and augmentation.
        batch_size: slices a batch, over all workers; a multiple of `workers`.
        seed: of order, balance and augmentation.
        start_step: batches that are already behind.
        worker: whose share to read, from 0.
        workers: that share each batch.

    Returns:
        (image, label): uint8 (batch_size / workers, size, size, channels) and float32
        (batch_size / workers, 6).

    Raises:
        DatasetError: if the index contradicts the manifest, the slices cannot be balanced, or there
            are fewer shards than workers.
    """
    if batch_size % workers:
        raise ValueError(f"a batch of {batch_size} cannot be shared by {workers} workers")
    share = batch_size // workers
    own_shards = _shards_of_a_worker(shards, seed, worker, workers)
    lengths = [shard.records for shard in _split_shards(shards, "train")]
    number, behind = _place_in_passes(lengths, own_shards, start_step * share)
    one_pass = _training_pass(shards, config, seed, own_shards)
    records = tf.data.Dataset.range(number, np.iinfo(np.int64).max).flat_map(one_pass).skip(behind)
    # Those of the workers take turns: none draws an augmentation that another has drawn.
    places = tf.data.Dataset.range(
        start_step * batch_size + worker, np.iinfo(np.int64).max, workers
    )

    @as_written
    def batch(places: tf.Tensor, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = _parse(records, shards, labelled=True)
        images = parsed["image"]
        if config.augmentation != AugmentationConfig():
            images = _augmented(images, places, shards, config.augmentation, seed)
        return images, tf.cast(parsed["label"], tf.float32)

    return _untuned(
        tf.data.Dataset.zip((places, records))
        .batch(share, drop_remainder=True)
        .map(batch, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
        .prefetch(PREFETCH)
    )


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves the parallelism as it is written.

    tf.data's tuner is a thread that sleeps for up to a minute. An iterator waits for it when it
    ends, and often in vain for it to wake: TensorFlow wakes it before it declares the end. Each
    validation could so end by waiting for a minute (docs/training_speed.md).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _shards_of_a_worker(
    shards: ShardSet, seed: int, worker: int, workers: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from the number of a pass to the shards that a worker reads in it, in order."""
    count = len(_split_shards(shards, "train"))
    if count < workers:
        raise DatasetError(
            f"{shards.folder}: has {count} shards of the split train for {workers} workers, each of"
            " which reads some of its own; convert with a smaller --shard-size"
        )

    def own_shards(number: tf.Tensor) -> tf.Tensor:
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, number])
        return order[worker::workers]

    return own_shards


def _place_in_passes(
    lengths: list[int], own_shards: Callable[[tf.Tensor], tf.Tensor], behind: int
) -> tuple[int, int]:
    """In which pass a worker is after so many records, and how many of it are behind."""
    number = 0
    while behind >= (records := sum(lengths[k] for k in own_shards(tf.constant(number)).numpy())):
        behind -= records
        number += 1
    return number, behind


def _training_pass(
    shards: ShardSet,
    config: DataConfig,
    seed: int,
    own_shards: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """A function from the number of a pass to its records, as many as its shards hold."""
    files = _split_shards(shards, "train")
    paths = tf.constant([str(shards.folder / shard.name) for shard in files])
    lengths = tf.constant([shard.records for shard in files], tf.int64)
    labels = shards.labels_by_shard("train")
    weights = _balancing_weights(shards, labels, config.balance) if config.balance else None
    if weights is not None:
        totals = tf.constant([weights[kinds_borne(x)].sum() for x in labels], tf.int64)

    @as_written
    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        order = own_shards(number)
        slices = tf.reduce_sum(tf.gather(lengths, order))
        records = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order)).interleave(
            tf.data.TFRecordDataset,
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=OPEN_SHARDS,
            deterministic=True,
        )
        if weights is not None:
            total = tf.reduce_sum(tf.gather(totals, order))
            # Another seed than that of the order: the two must not hang together.
            records = balanced(records, weights, slices, total, [seed, -1 - number])
        # Encoded records are shuffled: a tenth of the memory of decoded ones.
        return records.apply(tf.data.experimental.assert_cardinality(slices)).shuffle(
            config.shuffle_buffer,
            seed=number * 1_000_003 + seed,
            reshuffle_each_iteration=False,
        )

    return one_pass


def _balancing_weights(
    shards: ShardSet, labels_by_shard: list[np.ndarray], balance: float
) -> np.ndarray:
    labels = np.concatenate(labels_by_shard)
    weights = sampling_weights(labels, balance)
    if np.ptp(weights[kinds_borne(labels)]) == 0:
        raise DatasetError(
            f"{shards.folder}: all slices of the split train are of one group, so data.balance"
            f" {balance:g} has nothing to balance; set it to 0"
        )
    return weights


def evaluation_batches(
    shards: ShardSet, split: str, *, batch_size: int, only: Collection[str] | None = None
) -> tf.data.Dataset:
    """Every slice of a split once, in the order of the shards.

    Args:
        shards: what to read.
        split: its name.
        batch_size: slices a batch; the last may be smaller.
        only: names of the shards to read; None means all of the split.

    Returns:
        Dictionaries of `image` uint8 (N, size, size, channels), `slice_id`, `study_id`,
        `patient_key` string (N,), `position_mm` float32 (N,) and, where the split is labelled,
        `label` int64 (N, 6).
    """
    labelled = split != "unlabelled"
    chosen = [x for x in _split_shards(shards, split) if only is None or x.name in only]
    # A shard cut short is an error, not a smaller evaluation.
    records = sum(shard.records for shard in chosen)
    return _untuned(
        tf.data.TFRecordDataset([str(shards.folder / shard.name) for shard in chosen])
        .apply(tf.data.experimental.assert_cardinality(records))
        .batch(batch_size)
        .map(
            as_written(lambda records: _parse(records, shards, labelled=labelled)),
            num_parallel_calls=PARALLEL_BATCHES,
            deterministic=True,
        )
        .prefetch(PREFETCH)
    )


def _augmented(
    images: tf.Tensor,
    places: tf.Tensor,
    shards: ShardSet,
    config: AugmentationConfig,
    seed: int,
) -> tf.Tensor:
    """A batch with each slice changed at random, as its place in the stream says."""
    air = apply_windows(np.full((1, 1), AIR), shards.input.windows).ravel()
    air = air.repeat(shards.input.slices)

    cv2.setNumThreads(1)  # batches are changed side by side; threads of its own take twice the time

    def change(images: np.ndarray, places: np.ndarray) -> np.ndarray:
        return augment(images, config, seed=seed, places=places, air=air)

    # Stateless, so that op determinism leaves it parallel.
    changed = tf.numpy_function(change, [images, places], tf.uint8, stateful=False)
    return tf.ensure_shape(changed, images.shape)


def _checked(label: tf.Tensor) -> tf.Tensor:
    """The labels of a batch, shape (N, 6), unless one is no label: those would be learned."""
    binary = tf.reduce_all((label == 0) | (label == 1))
    any_is_or = tf.reduce_all(label[:, -1] == tf.reduce_max(label[:, :-1], axis=1))
    with tf.control_dependencies([tf.debugging.Assert(binary & any_is_or, [WRONG_LABEL])]):
        return tf.identity(label)


def _parse(records: tf.Tensor, shards: ShardSet, *, labelled: bool) -> dict[str, tf.Tensor]:
    """A batch of serialised examples, shape (N,), as the experiment wants to see them."""
    manifest, wanted = shards.manifest, shards.input
    images = manifest.format
    stored = NetworkInput(images.size, images.size, images.windows, images.neighbours)
    shape = (stored.size, stored.size, stored.channels)
    parsed = parse_examples(records, images.encoding, shape, labelled)
    image = parsed["image"]
    channels = wanted.channels_in(stored)
    if channels != tuple(range(stored.channels)):
        image = tf.gather(image, channels, axis=-1)
    if wanted.size != stored.size:
        image = _shrunk(image, wanted.size)
    if labelled:
        parsed["label"] = _checked(parsed["label"])
    return {**parsed, "image": image}


def _shrunk(images: tf.Tensor, size: int) -> tf.Tensor:
    """A batch at a smaller size, by the function that slices of DICOM files go through."""
    cv2.setNumThreads(1)  # as in `_augmented`

    def shrink(images: np.ndarray) -> np.ndarray:
        return shrink_slices(images, size)

    shrunk = tf.numpy_function(shrink, [images], tf.uint8, stateful=False)
    return tf.ensure_shape(shrunk, (images.shape[0], size, size, images.shape[-1]))


def _split_shards(shards: ShardSet, split: str) -> tuple[Shard, ...]:
    shards.slices(split)  # refuses a split that is not there
    return shards.manifest.split_shards(split)

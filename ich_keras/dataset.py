"""Shards to batches, as tf.data pipelines."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from ich_keras.config import AugmentationConfig, DataConfig
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.manifest import INDEX_NAME, Manifest, Shard, read_manifest
from tfrecords_tools.schema import parse_example
from tfrecords_tools.storage import ShardPath, local_copy, plain_message
from tfrecords_tools.windows import Window

EVALUATION_PREFETCH = 2
OPEN_SHARDS = 4  # read in turn, so that a batch mixes shards; more only costs file handles


class DatasetError(InputError):
    """Shards that an experiment cannot use, or that cannot be read."""


@dataclass(frozen=True)
class ShardSet:
    """A folder of shards as one experiment wants to see it.

    Attributes:
        folder: where the shards are.
        manifest: what they hold.
        size: edge of a slice in pixels, at most the shards' own.
        windows: of each slice, in the experiment's order.
        neighbours: slices below and above beside each one, at most as many as the shards have.
    """

    folder: ShardPath
    manifest: Manifest
    size: int
    windows: tuple[Window, ...]
    neighbours: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Which channels of the shards make up a batch."""
        stored, reach = self.manifest.neighbours, self.neighbours
        centers = (self.manifest.windows.index(x) * (2 * stored + 1) + stored for x in self.windows)
        return tuple(c for center in centers for c in range(center - reach, center + reach + 1))

    @property
    def shown_channel(self) -> int:
        """The channel of a batch that pictures show: the slice itself in its first window."""
        return self.neighbours

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

    def prevalences(self, split: str) -> np.ndarray:
        """The share of the slices of a split that bear each label; float64 (6,)."""
        positives = self.manifest.splits[split].positives
        return np.array([positives[label] for label in LABELS]) / self.slices(split)

    def index(self) -> pd.DataFrame:
        """`index.csv`: a row a slice."""
        texts = dict.fromkeys(("slice_id", "study_id", "patient_key", "shard"), str)
        with local_copy(self.folder / INDEX_NAME) as path:
            return pd.read_csv(path, dtype=texts)


@contextmanager
def reading(folder: ShardPath) -> Iterator[None]:
    """Says in one line what keeps a pipeline from its shards.

    Raises:
        DatasetError: if a shard is damaged, or is no longer there, or the store does not answer.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if "GetNext" not in str(error):  # of the network, not of the pipeline
            raise
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
    wanted = size or config.size or manifest.size
    if wanted > manifest.size:
        raise DatasetError(
            f"{folder}: the shards are {manifest.size} pixels wide and size {wanted} was asked for;"
            f" set data.size to at most {manifest.size}, or convert with --size {wanted}"
        )
    by_name = {window.name: window for window in manifest.windows}
    missing = [name for name in config.windows or () if name not in by_name]
    if missing:
        raise DatasetError(
            f"{folder}: the shards have the windows {', '.join(by_name)}, not {', '.join(missing)};"
            " change data.windows, or convert with these --windows"
        )
    reach = manifest.neighbours if config.neighbours is None else config.neighbours
    if reach > manifest.neighbours:
        raise DatasetError(
            f"{folder}: the shards have {manifest.neighbours} neighbours of each slice and {reach}"
            f" were asked for; change data.neighbours, or convert with --neighbours {reach}"
        )
    windows = tuple(by_name[name] for name in config.windows or by_name)
    return ShardSet(folder, manifest, wanted, windows, reach)


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

    Args:
        shards: what to read.
        config: shuffle buffer and augmentation.
        batch_size: slices a batch, over all replicas.
        seed: of order and augmentation.
        start_step: batches that are already behind.
        worker: number of the process that reads, from 0; it takes every `workers`-th slice.
        workers: processes that share a batch.

    Returns:
        (image, label): uint8 (batch_size, size, size, channels) and float32 (batch_size, 6).
    """
    paths = [str(shards.folder / shard.name) for shard in _split_shards(shards, "train")]
    slices = shards.slices("train")

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(paths, seed=[seed, number])
        records = tf.data.Dataset.from_tensor_slices(order).interleave(
            tf.data.TFRecordDataset,
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # Encoded records are shuffled: a tenth of the memory of decoded ones.
        return records.shuffle(
            config.shuffle_buffer,
            seed=number * 1_000_003 + seed,
            reshuffle_each_iteration=False,
        )

    first_pass, behind = divmod(start_step * batch_size, slices)
    records = tf.data.Dataset.range(first_pass, np.iinfo(np.int64).max).flat_map(one_pass)
    places = tf.data.Dataset.range(first_pass * slices, np.iinfo(np.int64).max)

    def example(place: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = _parse(record, shards, labelled=True)
        image = augment(parsed["image"], config.augmentation, tf.stack([seed, place]))
        return image, tf.cast(parsed["label"], tf.float32)

    return (
        tf.data.Dataset.zip((places, records))
        .skip(behind)
        .shard(workers, worker)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size // workers, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


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
    return (
        tf.data.TFRecordDataset([str(shards.folder / shard.name) for shard in chosen])
        .map(
            lambda record: _parse(record, shards, labelled=labelled),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .apply(tf.data.experimental.assert_cardinality(records))
        .batch(batch_size)
        .prefetch(EVALUATION_PREFETCH)
    )


def augment(image: tf.Tensor, config: AugmentationConfig, seed: tf.Tensor) -> tf.Tensor:
    """Changes a slice at random, within the limits of the configuration.

    Args:
        image: uint8, shape (size, size, channels).
        config: the limits; all zero leaves the slice as it is.
        seed: int64, shape (2,); the same seed gives the same change.

    Returns:
        uint8, the same shape.
    """
    if config.flip:
        image = tf.image.stateless_random_flip_left_right(image, seed)
    if config.rotate_degrees or config.scale or config.shift:
        image = _random_affine(image, config, seed)
    if config.grey:
        limits = tf.random.stateless_uniform((2,), seed + 7, -config.grey, config.grey)
        grey = tf.cast(image, tf.float32) * (1 + limits[0]) + 255 * limits[1]
        image = tf.cast(tf.clip_by_value(tf.round(grey), 0, 255), tf.uint8)
    return image


def _random_affine(image: tf.Tensor, config: AugmentationConfig, seed: tf.Tensor) -> tf.Tensor:
    """Rotates, scales and shifts about the centre; what comes in from outside is black."""
    draw = tf.random.stateless_uniform((4,), seed + 3, -1, 1)
    angle = draw[0] * config.rotate_degrees * np.pi / 180
    zoom = 1 / (1 + draw[1] * config.scale)
    height, width = image.shape[0], image.shape[1]
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    cosine, sine = zoom * tf.cos(angle), zoom * tf.sin(angle)
    shift_x, shift_y = draw[2] * config.shift * width, draw[3] * config.shift * height
    # Maps output to input pixels, as ImageProjectiveTransformV3 wants it.
    transform = [
        cosine,
        -sine,
        centre_x - cosine * centre_x + sine * centre_y + shift_x,
        sine,
        cosine,
        centre_y - sine * centre_x - cosine * centre_y + shift_y,
        0.0,
        0.0,
    ]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack([transform]),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[0], image.shape)


def _parse(record: tf.Tensor, shards: ShardSet, *, labelled: bool) -> dict[str, tf.Tensor]:
    manifest = shards.manifest
    stored = manifest.channels
    parsed = parse_example(record, manifest.encoding, stored, labelled)
    image = tf.ensure_shape(parsed["image"], (manifest.size, manifest.size, stored))
    if shards.channels != tuple(range(stored)):
        image = tf.gather(image, shards.channels, axis=-1)
    if shards.size != manifest.size:
        resized = tf.image.resize(image, (shards.size, shards.size), method="area")
        image = tf.cast(tf.round(resized), tf.uint8)
    return {**parsed, "image": image}


def _split_shards(shards: ShardSet, split: str) -> tuple[Shard, ...]:
    shards.slices(split)  # refuses a split that is not there
    return shards.manifest.split_shards(split)

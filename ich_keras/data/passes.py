"""The order in which training reads its records, as a function of seed and pass alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from ich_keras.data.balance import SystematicSampling, combinations_of, sampling_weights
from ich_keras.data.shards import DatasetError, ShardSet
from ich_keras.experiment.schema import DataConfig

BLOCK = 65_536  # numbers that Python receives at a time
OPEN_SHARDS = 4  # read in turn, so that a batch mixes shards; more only costs file handles
# No function of a pipeline branches on a tensor. AutoGraph would search them for that all the same:
# it takes seconds at each start, and leaves files behind in a process that is killed.
without_autograph = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True, eq=False)
class Passes:
    """The passes of one worker over the training split.

    In each pass the shards are shuffled and dealt out to the workers, so that each is read by one
    worker only: shards that lie far away cross the network once. They are dealt out again in each
    pass, since a worker with fewer slices finishes its pass sooner.
    """

    paths: tf.Tensor  # of the shards of the split, string (S,)
    lengths: tf.Tensor  # their records, int64 (S,)
    weights: np.ndarray | None  # from `sampling_weights`; None shows each record once
    totals: tf.Tensor | None  # sum of the weights of each shard, int64 (S,); None without weights
    buffer: int  # encoded records among which the next is drawn
    seed: int  # of the order and of the sampling
    worker: int  # which of the workers, from 0
    workers: int  # how many deal out the shards

    def records_from(self, behind: int) -> tf.data.Dataset:
        """Endless serialised examples, without those that the worker has read already."""
        number = 0
        while behind >= (length := self._records_of_pass(number)):
            behind -= length
            number += 1
        later = tf.data.Dataset.range(number + 1, np.iinfo(np.int64).max)
        return self._rest(tf.constant(number, tf.int64), behind).concatenate(
            later.flat_map(self.records)
        )

    @without_autograph
    def records(self, number: tf.Tensor) -> tf.data.Dataset:
        """The serialised examples of the pass with this number, as many as its shards hold."""
        order = self._order(number)
        paths = tf.data.Dataset.from_tensor_slices(tf.gather(self.paths, order))
        records = _in_turn(paths, tf.data.TFRecordDataset)
        if self.weights is not None:
            total = tf.reduce_sum(tf.gather(self.totals, order))
            # A seed that differs from that of the order: the two must be independent.
            seed = [self.seed, -1 - number]
            slices = self._length(order)
            records = SystematicSampling(self.weights, slices, total).sample(records, seed)
        return self._shuffled(records, number)

    def _rest(self, number: tf.Tensor, behind: int) -> tf.data.Dataset:
        """A pass without its first records, as many as `behind`."""
        if not behind or self.weights is not None:  # how often a record is shown is in the record
            return self.records(number).skip(behind)
        order = self._order(number)
        lengths = tf.gather(self.lengths, order)
        skipped = self._skipped(number, lengths, behind)
        shards = tf.data.Dataset.from_tensor_slices(
            (tf.gather(self.paths, order), lengths, skipped)
        )
        return self._shuffled(_in_turn(shards, _rest_of_shard), number).skip(behind)

    def _skipped(self, number: tf.Tensor, lengths: tf.Tensor, behind: int) -> np.ndarray:
        """How many records of each shard need not be read; int64, shape (shards of the pass,).

        The order does not depend on the records, so it is repeated with numbers in their place.
        """
        slices = int(tf.reduce_sum(lengths))
        needed = np.zeros(slices, bool)
        for block in _blocks(self._shuffled(tf.data.Dataset.range(slices), number).skip(behind)):
            needed[block] = True
        # In this thread, which takes less time than several and gives the same order.
        shards = tf.data.Dataset.range(len(lengths)).interleave(
            without_autograph(lambda shard: _repeated(shard, lengths[shard])),
            cycle_length=OPEN_SHARDS,
        )
        shard_of = np.concatenate(list(_blocks(shards)))
        begun: np.ndarray = pd.Series(needed).groupby(shard_of).cummax().to_numpy()
        return np.bincount(shard_of[~begun], minlength=len(lengths))

    def _shuffled(self, records: tf.data.Dataset, number: tf.Tensor) -> tf.data.Dataset:
        slices = self._length(self._order(number))
        # Encoded records are shuffled: a tenth of the memory of decoded ones.
        return records.apply(tf.data.experimental.assert_cardinality(slices)).shuffle(
            self.buffer,
            seed=number * 1_000_003 + self.seed,
            reshuffle_each_iteration=False,
        )

    def _records_of_pass(self, number: int) -> int:
        # int64 as in the pipeline: with int32, a seed above 2**31 gives another order.
        return int(self._length(self._order(tf.constant(number, tf.int64))))

    def _order(self, number: tf.Tensor) -> tf.Tensor:
        """Indices of the worker's shards in a pass."""
        shards = tf.range(len(self.paths))
        order = tf.random.experimental.stateless_shuffle(shards, seed=[self.seed, number])
        return order[self.worker :: self.workers]

    def _length(self, order: tf.Tensor) -> tf.Tensor:
        """Records of these shards together."""
        return tf.reduce_sum(tf.gather(self.lengths, order))


def _in_turn(shards: tf.data.Dataset, read: Callable[..., tf.data.Dataset]) -> tf.data.Dataset:
    """One element of each open shard after the other."""
    return shards.interleave(
        without_autograph(read),
        cycle_length=OPEN_SHARDS,
        num_parallel_calls=OPEN_SHARDS,
        deterministic=True,
    )


def _blocks(numbers: tf.data.Dataset) -> Iterator[np.ndarray]:
    return numbers.batch(BLOCK).as_numpy_iterator()


def _rest_of_shard(path: tf.Tensor, length: tf.Tensor, skipped: tf.Tensor) -> tf.data.Dataset:
    """The records of a shard, with empty ones in place of those that are skipped."""
    paths = tf.repeat(path, tf.cast(skipped < length, tf.int32))  # else not opened
    return _repeated("", skipped).concatenate(tf.data.TFRecordDataset(paths).skip(skipped))


def _repeated(element: tf.Tensor | str, times: tf.Tensor) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors(element).repeat(times)


def training_passes(
    shards: ShardSet, config: DataConfig, *, seed: int, worker: int, workers: int
) -> Passes:
    """The passes of a worker over the training split; arguments as in `training_batches`.

    Raises:
        DatasetError: if the index contradicts the manifest, the slices cannot be balanced, or there
            are fewer shards than workers.
    """
    files = shards.split_shards("train")
    if len(files) < workers:
        raise DatasetError(
            f"{shards.folder}: has {len(files)} shards of the split train for {workers} workers,"
            " each of which reads some of its own; convert with a smaller --shard-size"
        )
    labels = shards.labels_by_shard("train")
    weights = _balancing_weights(shards, labels, config.balance) if config.balance else None
    sums = None if weights is None else [weights[combinations_of(x)].sum() for x in labels]
    return Passes(
        paths=tf.constant([str(shards.folder / shard.name) for shard in files]),
        lengths=tf.constant([shard.records for shard in files], tf.int64),
        weights=weights,
        totals=None if sums is None else tf.constant(sums, tf.int64),
        buffer=config.shuffle_buffer,
        seed=seed,
        worker=worker,
        workers=workers,
    )


def _balancing_weights(
    shards: ShardSet, labels_by_shard: list[np.ndarray], balance: float
) -> np.ndarray:
    labels = np.concatenate(labels_by_shard)
    weights = sampling_weights(labels, balance)
    if np.ptp(weights[combinations_of(labels)]) == 0:
        raise DatasetError(
            f"{shards.folder}: all slices of the split train are of one group, so data.balance"
            f" {balance:g} has nothing to balance; set it to 0"
        )
    return weights


def without_tuner(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves the parallelism as it is written.

    tf.data's tuner is a thread that sleeps for up to a minute. An iterator waits for it when it
    ends, since TensorFlow often wakes it too early, before it declares the end: each validation
    could end by waiting for a minute (docs/background/training_speed.md).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)

"""How often each slice is shown in training, so that rare subtypes are seen more often."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.records.schema import parse_labels

COMBINATIONS = 2 ** len(SUBTYPES)  # of subtypes in one slice
BITS = np.arange(len(SUBTYPES))
UNIT = 2**32  # weight of the rarest group; fine enough for any ratio of groups
BLOCK = 64  # records that are weighed together; their weights add up to less than 2**63


def combinations_of(labels: np.ndarray) -> np.ndarray:
    """The subtypes of each row of `labels`, (N, 6), as the bits of a number; int64 (N,)."""
    return labels[:, : len(SUBTYPES)].astype(np.int64) @ (1 << BITS)


def groups_of_combinations(labels: np.ndarray) -> np.ndarray:
    """The group of each combination: control, or the rarest of its subtypes.

    `labels` are those of the training split, (N, 6); the groups are int64 (COMBINATIONS,): 0 for
    control, otherwise 1 + the subtype's index.
    """
    present = np.arange(COMBINATIONS)[:, np.newaxis] >> BITS & 1  # (COMBINATIONS, 5)
    slices = labels[:, : len(SUBTYPES)].sum(axis=0)
    rarest = np.where(present, slices, len(labels) + 1).argmin(axis=1)
    return np.where(present.any(axis=1), 1 + rarest, 0)


def sampling_weights(labels: np.ndarray, balance: float) -> np.ndarray:
    """How often a slice is shown relative to others, by its combination of subtypes.

    A group of n slices is shown in proportion to n ** (1 - balance): 0 shows the groups as they
    are, 0.5 is square-root sampling, 1 shows each equally often. Kang et al., "Decoupling
    representation and classifier for long-tailed recognition", 2020, equation 1.

    `labels` are those of the training split, (N, 6), and `balance` is 0 to 1. The weights are int64
    (COMBINATIONS,), in units of 1 / UNIT of the rarest group's weight.
    """
    groups = groups_of_combinations(labels)
    slices = np.bincount(groups[combinations_of(labels)], minlength=len(LABELS))  # (6,), by group
    present = slices > 0
    ratio = slices[present].min() / np.maximum(slices, 1)
    return np.where(present, np.round(UNIT * ratio**balance), 0).astype(np.int64)[groups]


@dataclass(frozen=True, eq=False)
class SystematicSampling:
    """Leaves records out and repeats others; the number of records stays the same.

    Along the records the weights add up; each time the sum passes one of the marks, which are
    evenly spaced and as many as the records, the record is shown. So a slice is shown the floor or
    the ceiling of its expected number of times, and only a sum is held in memory.
    """

    weights: np.ndarray  # from `sampling_weights`
    slices: tf.Tensor  # the number of records, N
    total: tf.Tensor  # the sum of the weights of all records

    def sample(self, records: tf.data.Dataset, seed: Sequence) -> tf.data.Dataset:
        """N examples of N, copies in a row; the two numbers of `seed` set the first mark."""
        start = tf.random.stateless_uniform((), seed, 0, self.total, tf.int64)
        return (
            records.batch(BLOCK)  # each op of a pipeline has its cost
            .map(self._weigh)
            .scan(start, self._repeat)
            .unbatch()
        )

    def _weigh(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        present = tf.cast(parse_labels(records)[:, : len(SUBTYPES)] > 0, tf.int64)
        combinations = tf.reduce_sum(tf.bitwise.left_shift(present, BITS), axis=1)
        return records, tf.gather(self.weights, combinations)

    def _repeat(self, past: tf.Tensor, weighed: tuple[tf.Tensor, tf.Tensor]) -> tuple:
        records, weights = weighed
        # In units of a weight / slices, so that the sums stay whole.
        sums = past + tf.cumsum(weights * self.slices)
        passed = sums // self.total  # marks since the block began
        times = passed - tf.concat([[0], passed[:-1]], axis=0)
        return sums[-1] % self.total, tf.repeat(records, times)

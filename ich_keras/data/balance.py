"""How often each slice is shown, so that rare bleedings are seen more often."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.records.schema import parse_labels

KINDS = 2 ** len(SUBTYPES)  # ways in which a slice can bear the five kinds
UNIT = 2**32  # of the rarest group's weight; fine enough for any ratio of groups
BLOCK = 64  # records that are weighed together; their weights add up to less than 2**63


def kinds_borne(labels: np.ndarray) -> np.ndarray:
    """Which kinds of bleeding each slice bears, as bits of a number.

    Args:
        labels: 0 or 1, shape (N, 6), in the order of LABELS.

    Returns:
        int64, shape (N,), 0 to KINDS - 1.
    """
    return labels[:, : len(SUBTYPES)].astype(np.int64) @ (1 << np.arange(len(SUBTYPES)))


def group_of_kinds(labels: np.ndarray) -> np.ndarray:
    """The group of each way to bear the five kinds: control, or the rarest of the kinds borne.

    Args:
        labels: of the training split, 0 or 1, shape (N, 6).

    Returns:
        int64, shape (KINDS,): 0 for control, else 1 + the kind's place in LABELS.
    """
    borne = np.arange(KINDS)[:, np.newaxis] >> np.arange(len(SUBTYPES)) & 1  # (KINDS, 5)
    slices = labels[:, : len(SUBTYPES)].sum(axis=0)
    rarest = np.where(borne, slices, len(labels) + 1).argmin(axis=1)
    return np.where(borne.any(axis=1), 1 + rarest, 0)


def sampling_weights(labels: np.ndarray, balance: float) -> np.ndarray:
    """How often a slice is shown, relative to others, by the kinds that it bears.

    A group of n slices is shown in proportion to n ** (1 - balance): 0 shows the groups as they
    are, 0.5 is square-root sampling, 1 shows each equally often. Kang et al., "Decoupling
    representation and classifier for long-tailed recognition", 2020, equation 1.

    Args:
        labels: of the training split, 0 or 1, shape (N, 6).
        balance: 0 to 1.

    Returns:
        int64, shape (KINDS,), in units of 1 / UNIT of the rarest group's weight.
    """
    groups = group_of_kinds(labels)
    slices = np.bincount(groups[kinds_borne(labels)], minlength=len(LABELS))  # (6,), by group
    present = slices > 0
    ratio = slices[present].min() / np.maximum(slices, 1)
    return np.where(present, np.round(UNIT * ratio**balance), 0).astype(np.int64)[groups]


def balanced(
    records: tf.data.Dataset,
    weights: np.ndarray,
    slices: tf.Tensor,
    total: tf.Tensor,
    seed: Sequence,
) -> tf.data.Dataset:
    """Leaves records out and repeats others, by systematic sampling: as many come as went in.

    Walking over the records, the weights add up; each time the sum passes one of the marks, which
    are evenly spaced and as many as the records, the record is shown. So a slice is shown the floor
    or the ceiling of its expected number of times, and only a sum is held in memory.

    Args:
        records: serialised examples, N.
        weights: from `sampling_weights`.
        slices: how many records there are, N.
        total: of the weights of all of them.
        seed: two numbers, of where the first mark stands.

    Returns:
        N serialised examples; the copies of one follow each other.
    """

    def weigh(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        borne = tf.cast(parse_labels(records)[:, : len(SUBTYPES)] > 0, tf.int64)
        kinds = tf.reduce_sum(tf.bitwise.left_shift(borne, np.arange(len(SUBTYPES))), axis=1)
        return records, tf.gather(weights, kinds)

    def count(past: tf.Tensor, weighed: tuple[tf.Tensor, tf.Tensor]) -> tuple:
        records, weights = weighed
        sums = past + tf.cumsum(weights * slices)  # in units of a weight / slices: stays whole
        passed = sums // total  # marks, since the block began
        times = passed - tf.concat([[0], passed[:-1]], axis=0)
        return sums[-1] % total, tf.repeat(records, times)

    start = tf.random.stateless_uniform((), seed, 0, total, tf.int64)
    return (
        records.batch(BLOCK)  # each op of a pipeline has its cost
        .map(weigh)
        .scan(start, count)
        .unbatch()
    )

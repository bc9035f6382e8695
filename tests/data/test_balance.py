"""Groups are shown as often as Kang et al. say, and each pass holds as many slices as the data."""

import numpy as np
import pytest
import tensorflow as tf

from ich_keras.data.balance import (
    BLOCK,
    COMBINATIONS,
    UNIT,
    SystematicSampling,
    combinations_of,
    groups_of_combinations,
    sampling_weights,
)
from tests.support.shard_files import labelled_record

CONTROL = (0, 0, 0, 0, 0, 0)
EPIDURAL = (1, 0, 0, 0, 0, 1)
SUBDURAL = (0, 0, 0, 0, 1, 1)
EPIDURAL_AND_SUBDURAL = (1, 0, 0, 0, 1, 1)
LABELS = np.array([CONTROL] * 64 + [SUBDURAL] * 16 + [EPIDURAL] * 3 + [EPIDURAL_AND_SUBDURAL])
GROUPS = {"control": slice(64), "subdural": slice(64, 80), "epidural": slice(80, 84)}


def shown(balance: float, seed: int) -> np.ndarray:
    """How often each slice is shown in a pass; int, (84,)."""
    records = [labelled_record(f"{i}", tuple(label)) for i, label in enumerate(LABELS)]
    weights = sampling_weights(LABELS, balance)
    total = weights[combinations_of(LABELS)].sum()
    sampling = SystematicSampling(weights, len(LABELS), total)
    dataset = sampling.sample(tf.data.Dataset.from_tensor_slices(records), [seed, 0])
    places = [records.index(record) for record in dataset.as_numpy_iterator()]
    return np.bincount(places, minlength=len(LABELS))


def test_a_slice_belongs_to_the_group_of_its_rarest_subtype():
    groups = groups_of_combinations(LABELS)[combinations_of(LABELS)]
    assert groups.tolist() == [0] * 64 + [5] * 16 + [1] * 4
    assert len(groups_of_combinations(LABELS)) == COMBINATIONS


@pytest.mark.parametrize(
    ("balance", "weights"),
    [
        (0.0, (1, 1, 1)),
        (0.5, (1 / 4, 1 / 2, 1)),  # 64, 16 and 4 slices: shown as 16, 8 and 4
        (1.0, (1 / 16, 1 / 4, 1)),
    ],
)
def test_weights_are_those_of_the_paper(balance, weights):
    relative = sampling_weights(LABELS, balance)[combinations_of(LABELS)] / UNIT
    np.testing.assert_allclose(relative[[0, 64, 80]], weights)


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5, 1.0])
def test_each_slice_is_shown_the_floor_or_ceiling_of_what_is_expected(balance):
    sizes = {name: np.ptp([x.start or 0, x.stop]) for name, x in GROUPS.items()}
    shares = {name: float(size) ** (1 - balance) for name, size in sizes.items()}
    for seed in range(5):
        counts = shown(balance, seed)
        assert counts.sum() == len(LABELS)
        for name, members in GROUPS.items():
            expected = len(LABELS) * shares[name] / sum(shares.values()) / sizes[name]
            assert set(counts[members]) <= {np.floor(expected), np.ceil(expected)}
            assert abs(counts[members].sum() - expected * sizes[name]) <= 1


def test_over_many_passes_every_slice_is_shown():
    counts = sum(shown(1.0, seed) for seed in range(24))
    expected = 24 * 28 / np.array([64] * 64 + [16] * 16 + [4] * 4)  # 28 of each group a pass
    assert counts.min() > 0
    np.testing.assert_allclose(counts, expected, atol=4 * np.sqrt(expected.max() / 4))


def test_millions_of_slices_and_the_rarest_group_of_one_do_not_overflow():
    labels = np.zeros((3_000_000, 6), np.int8)
    labels[0, [0, -1]] = 1
    weights = sampling_weights(labels, 1.0)
    total = int(weights[combinations_of(labels)].sum())
    assert total / UNIT == pytest.approx(2, rel=1e-3)
    assert BLOCK * int(weights.max()) * len(labels) + total < 2**63

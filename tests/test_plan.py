"""Who is where: patients stay whole, and rare labels reach every split."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.plan import assign_splits

FRACTIONS = (0.8, 0.1, 0.1)


def patients(bleedings: list[tuple[int, ...]]) -> pd.DataFrame:
    rows = [(f"p{i}", *bits, max(bits)) for i, bits in enumerate(bleedings)]
    return pd.DataFrame(rows, columns=["patient_key", *LABELS])


def test_the_shares_are_those_asked_for():
    table = patients([(0, 0, 0, 0, 0)] * 1000)
    counts = pd.Series(assign_splits(table, FRACTIONS, seed=0)).value_counts()
    assert abs(counts["train"] - 800) <= 2
    assert abs(counts["val"] - 100) <= 2
    assert abs(counts["test"] - 100) <= 2


def test_three_patients_of_a_kind_are_enough_for_three_splits():
    rng = np.random.default_rng(0)
    common = [tuple(int(x) for x in rng.random(5) < [0, 0.2, 0.1, 0.2, 0.3]) for _ in range(200)]
    table = patients(common + [(1, 0, 0, 0, 1)] * 3)
    splits = assign_splits(table, FRACTIONS, seed=1)
    assert {splits[f"p{i}"] for i in (200, 201, 202)} == {"train", "val", "test"}


@settings(max_examples=60)
@given(
    bleedings=st.lists(st.tuples(*[st.integers(0, 1)] * 5), min_size=1, max_size=120),
    seed=st.integers(0, 5),
)
def test_each_patient_has_one_split_and_rows_in_any_order_give_the_same(bleedings, seed):
    table = patients(bleedings)
    doubled = pd.concat([table, table])
    splits = assign_splits(doubled, FRACTIONS, seed)
    assert splits.keys() == set(table["patient_key"])
    assert set(splits.values()) <= {"train", "val", "test"}
    shuffled = doubled.sample(frac=1, random_state=0)
    assert assign_splits(shuffled, FRACTIONS, seed) == splits


@settings(max_examples=40)
@given(counts=st.lists(st.integers(3, 60), min_size=5, max_size=5), seed=st.integers(0, 5))
def test_every_label_reaches_every_split(counts, seed):
    rows = [tuple(int(j == k) for j in range(5)) for k, n in enumerate(counts) for _ in range(n)]
    table = patients(rows).set_index("patient_key")
    splits = assign_splits(table.reset_index(), FRACTIONS, seed)
    for label in BLEEDINGS:
        assert {splits[key] for key in table.index[table[label] == 1]} == {"train", "val", "test"}


def test_a_split_of_no_share_gets_nobody():
    table = patients([(0, 0, 0, 0, 1)] * 50)
    assert set(assign_splits(table, (0.7, 0.3, 0.0), seed=0).values()) == {"train", "val"}


def test_the_seed_changes_who_is_where():
    table = patients([(0, 0, 0, 0, 0)] * 100)
    assert assign_splits(table, FRACTIONS, 0) != assign_splits(table, FRACTIONS, 1)

"""Who is where: patients stay whole, and rare labels reach every split."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rsna_folder import scanned, write_labels, write_rsna, write_slice
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dataset.manifest import split_of
from tfrecords_tools.dataset.shard_format import ShardFormat
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.plan import make_plan
from tfrecords_tools.planning.rejected import NO_SPLIT
from tfrecords_tools.planning.split import assign_splits, join_duplicates, parse_split
from tfrecords_tools.planning.split_file import SplitError, read_split
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.windows import WINDOWS

FRACTIONS = (0.8, 0.1, 0.1)


def patients(bleedings: list[tuple[int, ...]]) -> pd.DataFrame:
    rows = [(f"p{i}", *bits, max(bits)) for i, bits in enumerate(bleedings)]
    return pd.DataFrame(rows, columns=["group", *LABELS])


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
    assert splits.keys() == set(table["group"])
    assert set(splits.values()) <= {"train", "val", "test"}
    shuffled = doubled.sample(frac=1, random_state=0)
    assert assign_splits(shuffled, FRACTIONS, seed) == splits


@settings(max_examples=40)
@given(counts=st.lists(st.integers(3, 60), min_size=5, max_size=5), seed=st.integers(0, 5))
def test_every_label_reaches_every_split(counts, seed):
    rows = [tuple(int(j == k) for j in range(5)) for k, n in enumerate(counts) for _ in range(n)]
    table = patients(rows).set_index("group")
    splits = assign_splits(table.reset_index(), FRACTIONS, seed)
    for label in SUBTYPES:
        assert {splits[key] for key in table.index[table[label] == 1]} == {"train", "val", "test"}


@pytest.mark.parametrize("seed", range(4))
def test_every_label_is_shared_out_as_asked_for(seed):
    """Also where kinds occur together, as they do: by a hidden severity here."""
    rng = np.random.default_rng(seed)
    severity = rng.normal(size=(1500, 1)) + rng.normal(size=(1500, 5))
    bleedings = (severity > [3.2, 1.4, 1.7, 1.6, 1.4]).astype(int)
    splits = assign_splits(patients([tuple(row) for row in bleedings.tolist()]), FRACTIONS, seed)
    for name, fraction in zip(("train", "val", "test"), FRACTIONS, strict=True):
        rows = bleedings[[splits[f"p{i}"] == name for i in range(len(bleedings))]]
        assert np.abs(rows.sum(axis=0) - fraction * bleedings.sum(axis=0)).max() <= 2
        assert abs(len(rows) - fraction * len(bleedings)) <= 2


def test_a_split_of_no_share_gets_nobody():
    table = patients([(0, 0, 0, 0, 1)] * 50)
    assert set(assign_splits(table, (0.7, 0.3, 0.0), seed=0).values()) == {"train", "val"}


def test_the_seed_changes_who_is_where():
    table = patients([(0, 0, 0, 0, 0)] * 100)
    assert assign_splits(table, FRACTIONS, 0) != assign_splits(table, FRACTIONS, 1)


def test_small_groups_do_not_all_leave_out_the_same_split():
    table = patients([tuple(int(j == k) for j in range(5)) for k in range(5) for _ in range(2)])
    splits = assign_splits(table, (0.6, 0.2, 0.2), seed=0)
    counts = pd.Series(splits).value_counts()
    assert counts.to_dict() == {"train": 5, "val": 3, "test": 2} or counts.min() >= 2
    for k in range(5):
        assert "train" in {splits[f"p{2 * k}"], splits[f"p{2 * k + 1}"]}


@settings(max_examples=40)
@given(
    bleedings=st.lists(st.tuples(*[st.integers(0, 1)] * 5), min_size=1, max_size=80),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.3, 0.2), (0.9, 0.1, 0)]),
)
def test_of_the_rarest_kind_no_split_gets_more_than_its_share_rounded_up(bleedings, fractions):
    """Balinski and Young: the method of Adams stays within the upper quota."""
    splits = assign_splits(patients(bleedings), fractions, seed=3)
    rows = np.array(bleedings)
    rarest = np.argmin(rows.sum(axis=0))
    sides = [splits[f"p{number}"] for number in np.flatnonzero(rows[:, rarest])]
    for name, fraction in zip(("train", "val", "test"), fractions, strict=True):
        assert sides.count(name) <= math.ceil(len(sides) * fraction - 1e-9)


def test_splits_are_three_fractions():
    assert parse_split("0.8,0.1,0.1") == (0.8, 0.1, 0.1)
    assert parse_split("1, 0, 0") == (1, 0, 0)
    assert parse_split("0,1,0") == (0, 1, 0)  # a set that is only judged on


@pytest.mark.parametrize(
    "text", ["", "0.8,0.2", "0.8,0.1,0.2", "a,b,c", "1.2,-0.1,-0.1", "nan,0.5,0.5"]
)
def test_other_splits_are_refused(text):
    with pytest.raises(UsageError, match=r"^--split .*0\.8,0\.1,0\.1$"):
        parse_split(text)


def split_file(tmp_path, text):
    path = tmp_path / "split.csv"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def rsna(tmp_path_factory) -> Path:
    """Two slices of patient pa, one each of pb and pc."""
    root = tmp_path_factory.mktemp("rsna")
    template = next(iter(write_rsna(tmp_path_factory.mktemp("other"), patients=1).values()))
    truths = [
        replace(template, slice_id=f"{x}{i}", study_id=f"s{x}", patient_id=f"p{x}", z=5.0 * i)
        for x, count in (("a", 2), ("b", 1), ("c", 1))
        for i in range(1, count + 1)
    ]
    for truth in truths:
        write_slice(root / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(root / "stage_2_train.csv", truths)
    return root


def followed(root: Path, given_split: pd.Series) -> dict[str, str]:
    """Each slice's split in the plan of these files, "" where it is left out as NO_SPLIT."""
    headers = scanned(root)
    shard_format = ShardFormat((WINDOWS["brain"],), 0, 32, "zlib")
    options = PlanOptions(shard_format, given_split, seed=0, shard_size=2)
    labels = read_labels(root / "stage_2_train.csv")
    plan = make_plan(headers, labels, options)
    assert set(plan.rejected.rejects["reason"]) <= {NO_SPLIT}
    without_split = {Path(path).stem: "" for path in plan.rejected.rejects["path"]}
    splits = {x: split_of(shard.name) for shard in plan.shards for x in shard.slices["slice_id"]}
    return dict(sorted((splits | without_split).items()))


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,split\npa,train\npb,test\n",
        "split,study_id,note\ntrain,sa,x\ntest,sb,y\ntest,sb,y\n\n",
        "slice_id,study_id,patient_key,split\na1,sa,k,train\na2,sa,k,train\nb1,sb,l,test\n",
        "slice_id,split\na1,train\na2,train\nb1,test\nc1,unlabelled\n",
    ],
)
def test_a_split_file_is_followed_by_patient_study_or_slice(rsna, tmp_path, text):
    given_split = read_split(split_file(tmp_path, text))
    wanted = {"a1": "train", "a2": "train", "b1": "test", "c1": ""}
    assert followed(rsna, given_split) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,split\npa,train\n", "has the columns patient, split; expected split and one of"),
        ("patient_id,fold\npa,train\n", "expected split and one of slice_id, study_id, patient_id"),
        ("study_id,split\nsa,train\nsb,fold 2\n", "line 3: expected the split train, val or test"),
        ("study_id,split\nsa,train\nsb,val\nsa,val\n", "line 4: its id is in another split"),
        ("patient_id,split\npa,train,\npb,test,\n", "not a readable CSV .Length of header"),
        ("patient_id,split\npa,train\n,test\n", "line 3: its patient_id is empty; use another id"),
        ("study_id,split\n", "assigns nothing to train, val or test"),
        ("", "not a readable CSV"),
    ],
)
def test_a_split_file_with_faults_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(SplitError, match=message) as caught:
        read_split(split_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_split_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"--split .*no such file; give a CSV, or fractions"):
        read_split(tmp_path / "nowhere.csv")


def test_a_split_file_that_tears_a_patient_apart_is_refused(rsna, tmp_path):
    given_split = read_split(split_file(tmp_path, "slice_id,split\na1,train\na2,test\n"))
    with pytest.raises(SplitError, match=r"puts 1 patients .*study sa.*split by patient"):
        followed(rsna, given_split)


def test_patients_that_share_a_slice_are_one():
    slices = pd.DataFrame(
        {
            "patient": ["d", "a", "a", "b", "c", "c", "e", "f"],
            "pixel_hash": [9, 1, 2, 2, 3, 9, 0, 0],  # a-b and c-d; plain slices join nobody
        }
    )
    assert list(join_duplicates(slices)) == ["c", "a", "a", "a", "c", "c", "e", "f"]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=30))
def test_joining_is_what_following_shared_slices_from_patient_to_patient_finds(pairs):
    slices = pd.DataFrame(pairs, columns=["patient", "pixel_hash"])
    joined = dict(zip(slices["patient"], join_duplicates(slices), strict=True))
    for start in joined:
        reached, known = {start}, set()
        while reached != known:
            known = set(reached)
            pictures = {h for p, h in pairs if p in reached and h}
            reached |= {p for p, h in pairs if h in pictures}
        assert joined[start] == min(reached)

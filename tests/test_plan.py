"""Who is where: patients stay whole, and rare labels reach every split."""

import hmac
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.errors import UsageError
from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.plan import (
    Options,
    PlanError,
    assign_splits,
    default_shard_size,
    make_plan,
    parse_split,
)
from tfrecords_tools.windows import WINDOWS

FRACTIONS = (0.8, 0.1, 0.1)
OPTIONS = Options(
    size=64,
    windows=(WINDOWS["brain"],),
    split=(0.6, 0.2, 0.2),
    seed=1,
    encoding="zlib",
    shard_size=7,
)
NO_REJECTS = pd.DataFrame(columns=["path", "reason", "detail"])


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
def test_no_group_gives_a_split_more_than_its_share_rounded_up(bleedings, fractions):
    """Balinski and Young: the method of Adams stays within the upper quota."""
    splits = assign_splits(patients(bleedings), fractions, seed=3)
    rows = np.array(bleedings)
    rarest_first = np.argsort(rows.sum(axis=0), kind="stable")
    groups: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        group = next((rank for rank, label in enumerate(rarest_first) if row[label]), 5)
        groups.setdefault(group, []).append(splits[f"p{number}"])
    for members in groups.values():
        for name, fraction in zip(("train", "val", "test"), fractions, strict=True):
            assert members.count(name) <= math.ceil(len(members) * fraction - 1e-9)


def tables(count: int = 40, slices: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Headers as `scan` gives them, and labels as `read_labels` does."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "path": f"stage_2_train/ID_{patient:04x}{number}.dcm",
            "bytes": 1000 + number,
            "slice_id": f"ID_{patient:04x}{number}",
            "study_id": f"ID_study{patient}",
            "patient_id": f"ID_patient{patient}",
            "position_mm": 5.0 * number,
            "labelled": True,
        }
        for patient in range(count)
        for number in range(slices)
    ]
    bleedings = (rng.random((len(rows), 5)) < [0.05, 0.1, 0.1, 0.2, 0.2]).astype(np.uint8)
    values = np.hstack([bleedings, bleedings.max(axis=1, keepdims=True)])
    index = pd.Index([row["slice_id"] for row in rows], name="slice_id")
    return pd.DataFrame(rows), pd.DataFrame(values, index=index, columns=list(LABELS))


def planned(plan) -> pd.DataFrame:
    """Every planned slice, with its split and shard."""
    return pd.concat(x.slices.assign(shard=x.name, split=x.name.split("-")[0]) for x in plan.shards)


def same(left, right) -> bool:
    return left.fingerprint == right.fingerprint and all(
        a.name == b.name and a.slices.drop(columns="path").equals(b.slices.drop(columns="path"))
        for a, b in zip(left.shards, right.shards, strict=True)
    )


def test_every_slice_is_planned_once_and_patients_are_kept_whole():
    slices, labels = tables()
    table = planned(make_plan(slices, NO_REJECTS, labels, OPTIONS))
    assert sorted(table["slice_id"]) == sorted(slices["slice_id"])
    assert (table.groupby("patient_key")["split"].nunique() == 1).all()
    joined = table.set_index("slice_id")[list(LABELS)]
    assert (joined == labels.loc[joined.index]).all(axis=None)


def test_shards_are_even_full_at_most_and_named_by_their_number():
    slices, labels = tables()
    plan = make_plan(slices, NO_REJECTS, labels, OPTIONS)
    for split, shards in planned(plan).groupby("split"):
        sizes = shards.groupby("shard").size()
        count = math.ceil(len(shards) / OPTIONS.shard_size)
        names = [f"{split}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
        assert list(sizes.index) == names
        assert sizes.max() <= OPTIONS.shard_size
        assert sizes.max() - sizes.min() <= 1


def test_a_shard_is_a_sample_of_its_split():
    slices, labels = tables(count=100)
    plan = make_plan(slices, NO_REJECTS, labels, replace(OPTIONS, shard_size=60))
    train = [x.slices for x in plan.shards if x.name.startswith("train")]
    assert len(train) == 3
    assert all(shard["patient_key"].nunique() > 35 for shard in train)


def test_the_plan_knows_no_order_and_no_folder():
    slices, labels = tables()
    plan = make_plan(slices, NO_REJECTS, labels, OPTIONS)
    moved = slices.assign(path="elsewhere/" + slices["path"]).sample(frac=1, random_state=1)
    again = make_plan(
        moved.reset_index(drop=True), NO_REJECTS, labels.sample(frac=1, random_state=2), OPTIONS
    )
    assert same(plan, again)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 65},
        {"windows": (WINDOWS["bone"],)},
        {"split": (0.7, 0.2, 0.1)},
        {"seed": 2},
        {"encoding": "raw"},
        {"shard_size": 8},
    ],
    ids=str,
)
def test_every_option_changes_the_fingerprint(change):
    slices, labels = tables()
    plan = make_plan(slices, NO_REJECTS, labels, OPTIONS)
    other = make_plan(slices, NO_REJECTS, labels, replace(OPTIONS, **change))
    assert other.fingerprint != plan.fingerprint


def test_every_change_of_the_data_changes_the_fingerprint():
    slices, labels = tables()
    turned = labels.copy()
    turned.iloc[4] = 1 - turned.iloc[4]
    other_patient = slices.assign(patient_id=slices["patient_id"].replace("ID_patient3", "ID_x"))
    plans = [
        make_plan(slices, NO_REJECTS, labels, OPTIONS),
        make_plan(slices, NO_REJECTS, turned, OPTIONS),
        make_plan(slices[1:], NO_REJECTS, labels, OPTIONS),
        make_plan(slices.assign(bytes=999), NO_REJECTS, labels, OPTIONS),
        make_plan(other_patient, NO_REJECTS, labels, OPTIONS),
        make_plan(slices, NO_REJECTS, labels, OPTIONS, key=b"secret"),
        make_plan(slices, NO_REJECTS, labels, OPTIONS, key=b"other secret"),
    ]
    assert len({plan.fingerprint for plan in plans}) == len(plans)


def test_slices_of_doubtful_identity_are_set_aside_with_their_reason():
    slices, labels = tables()
    slices.loc[3, "path"] = "stage_2_train/ID_0badbad.dcm"
    slices.loc[5, ["slice_id", "path"]] = slices.loc[4, "slice_id"], "copies/a.dcm"
    slices.loc[6, ["slice_id", "path"]] = "1.2.3.4", "clinic/b.dcm"
    plan = make_plan(slices, NO_REJECTS, labels, OPTIONS)
    reasons = dict(zip(plan.rejects["path"], plan.rejects["reason"], strict=True))
    assert reasons == {
        "stage_2_train/ID_0badbad.dcm": "id_mismatch",
        "copies/a.dcm": "duplicate_id",
        slices.loc[4, "path"]: "duplicate_id",
        "clinic/b.dcm": "no_label",
    }
    assert plan.rejects["detail"].str.len().min() > 20
    assert plan.labels_without_files == 4  # slices 3 to 6 of the label file
    assert len(planned(plan)) == len(slices) - 4


def test_a_swapped_file_does_not_take_its_victim_along():
    """The file named A that holds B is refused; the rightful B stays."""
    slices, labels = tables()
    slices.loc[0, "slice_id"] = slices.loc[1, "slice_id"]
    plan = make_plan(slices, NO_REJECTS, labels, OPTIONS)
    assert list(plan.rejects["path"]) == [slices.loc[0, "path"]]
    assert slices.loc[1, "slice_id"] in set(planned(plan)["slice_id"])


def test_unlabelled_slices_form_a_split_of_their_own():
    slices, labels = tables()
    slices.loc[60:, "labelled"] = False
    table = planned(make_plan(slices, NO_REJECTS, labels, OPTIONS))
    of_test = table[table["split"] == "unlabelled"]
    assert sorted(of_test["slice_id"]) == sorted(slices["slice_id"][60:])
    assert of_test[list(LABELS)].isna().all(axis=None)
    assert table[table["split"] != "unlabelled"][list(LABELS)].notna().all(axis=None)


def test_patients_are_hashed_with_the_seed_and_other_ids_kept():
    slices, labels = tables(count=1, slices=1)
    row = planned(make_plan(slices, NO_REJECTS, labels, OPTIONS)).iloc[0]
    assert row["patient_key"] == hmac.digest(b"1", b"ID_patient0", "sha256").hex()[:16]
    assert (row["slice_id"], row["study_id"]) == ("ID_00000", "ID_study0")


def test_with_a_key_no_identifier_is_left_and_who_is_where_stays():
    slices, labels = tables()
    bare = planned(make_plan(slices, NO_REJECTS, labels, OPTIONS))
    table = planned(make_plan(slices, NO_REJECTS, labels, OPTIONS, key=b"secret"))
    published = table[["slice_id", "study_id", "patient_key"]]
    assert published.map(lambda text: len(text) == 16 and int(text, 16) >= 0).all(axis=None)
    assert list(table["shard"]) == list(bare["shard"])
    assert list(table["sop_uid"]) == list(bare["slice_id"])
    reference = hmac.digest(b"secret", bare["slice_id"].iloc[0].encode(), "sha256").hex()
    assert table["slice_id"].iloc[0] == reference[:16]


def test_slices_that_name_no_patient_go_by_study():
    slices, labels = tables()
    table = planned(make_plan(slices.assign(patient_id=""), NO_REJECTS, labels, OPTIONS))
    assert table.groupby("study_id")["patient_key"].nunique().eq(1).all()
    assert table["patient_key"].nunique() == 40
    bare = slices.assign(patient_id="", study_id="")
    assert planned(make_plan(bare, NO_REJECTS, labels, OPTIONS))["patient_key"].nunique() == 1


def test_nothing_usable_is_an_error_that_counts_why():
    slices, labels = tables(count=2)
    with pytest.raises(PlanError, match=r"no usable slice: no_label \(6\); check the folder"):
        make_plan(slices, NO_REJECTS, labels.rename(index=lambda name: name + "9"), OPTIONS)


@pytest.mark.parametrize(
    ("size", "encoding", "slices", "records"),
    [
        (512, "zlib", 752_803, 762),  # 0.75 MiB of pixels each, to a quarter
        (512, "raw", 752_803, 190),
        (256, "zlib", 752_803, 3051),
        (128, "zlib", 5120, 320),  # 16 shards, though each is small
        (128, "zlib", 30, 64),
        (20_000, "raw", 1000, 1),
    ],
)
def test_shards_are_of_some_150_megabytes_or_sixteen(size, encoding, slices, records):
    assert default_shard_size(size, 3, encoding, slices) == records


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

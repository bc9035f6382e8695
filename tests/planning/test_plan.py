"""Every slice is planned once, whatever the order and the folder of the files."""

import functools
import hmac
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.rsna_folder import SLICES, Truth, scanned, write_rsna
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import ShardFormat
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.plan import Plan, default_shard_size, make_plan
from tfrecords_tools.planning.scan import Scan
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.windows import WINDOWS, parse_windows

FORMAT = ShardFormat(windows=(WINDOWS["brain"],), neighbours=0, size=64, encoding="zlib")
OPTIONS = PlanOptions(FORMAT, split=(0.6, 0.2, 0.2), seed=1, shard_size=7)
ONE_REJECT = pd.DataFrame({"path": ["a.dcm"], "reason": ["not_ct"], "detail": ["no image"]})
NO_REJECTS = pd.DataFrame(columns=["path", "reason", "detail"])


@functools.cache
def _read() -> tuple[list[Truth], pd.DataFrame, pd.DataFrame]:
    """The slices of 100 patients, with the scan of their files and their labels."""
    with tempfile.TemporaryDirectory() as folder:
        truths = list(write_rsna(Path(folder), patients=100).values())
        headers, labels = scanned(Path(folder)), read_labels(Path(folder, "stage_2_train.csv"))
    assert headers.rejects.empty
    order = [truth.slice_id for truth in truths]
    slices = headers.slices.set_index("slice_id", drop=False).loc[order]
    return truths, slices.reset_index(drop=True), labels


def tables(count: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Headers of as many patients as `scan` gives them, and labels as `read_labels` does."""
    _, slices, labels = _read()
    slices = slices[: count * SLICES].copy()
    return slices, labels.loc[slices["slice_id"]]


def plan_of(
    slices: pd.DataFrame,
    labels: pd.DataFrame,
    options: PlanOptions = OPTIONS,
    rejects: pd.DataFrame = NO_REJECTS,
) -> Plan:
    return make_plan(Scan("", slices, rejects), labels, options)


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
    table = planned(plan_of(slices, labels))
    assert sorted(table["slice_id"]) == sorted(slices["slice_id"])
    assert (table.groupby("patient_key")["split"].nunique() == 1).all()
    joined = table.set_index("slice_id")[list(LABELS)]
    assert (joined == labels.loc[joined.index]).all(axis=None)


def test_shards_have_even_sizes_and_numbered_names():
    slices, labels = tables()
    plan = plan_of(slices, labels)
    for split, shards in planned(plan).groupby("split"):
        sizes = shards.groupby("shard").size()
        count = math.ceil(len(shards) / OPTIONS.shard_size)
        names = [f"{split}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
        assert list(sizes.index) == names
        assert sizes.max() <= OPTIONS.shard_size
        assert sizes.max() - sizes.min() <= 1


def test_a_shard_is_a_random_sample_of_its_split():
    slices, labels = tables(count=100)
    plan = plan_of(slices, labels, replace(OPTIONS, shard_size=60))
    train = [x.slices for x in plan.shards if x.name.startswith("train")]
    assert len(train) == 3
    assert all(shard["patient_key"].nunique() > 35 for shard in train)


def test_the_plan_does_not_depend_on_order_or_folder():
    slices, labels = tables()
    plan = plan_of(slices, labels)
    moved = slices.assign(path="elsewhere/" + slices["path"]).sample(frac=1, random_state=1)
    again = plan_of(moved.reset_index(drop=True), labels.sample(frac=1, random_state=2))
    assert same(plan, again)


@pytest.mark.parametrize(
    "change",
    [
        {"format": replace(FORMAT, size=65)},
        {"format": replace(FORMAT, neighbours=1)},
        {"format": replace(FORMAT, windows=(WINDOWS["bone"],))},
        {"format": replace(FORMAT, encoding="raw")},
        {"split": (0.7, 0.2, 0.1)},
        {"seed": 2},
        {"shard_size": 8},
    ],
    ids=str,
)
def test_every_option_changes_the_fingerprint(change):
    slices, labels = tables()
    plan = plan_of(slices, labels)
    other = plan_of(slices, labels, replace(OPTIONS, **change))
    assert other.fingerprint != plan.fingerprint


def test_every_change_of_the_data_changes_the_fingerprint():
    slices, labels = tables()
    turned = labels.copy()
    turned.iloc[4] = 1 - turned.iloc[4]
    other_patient = slices.assign(
        patient_id=slices["patient_id"].replace(slices["patient_id"][9], "ID_x")
    )
    plans = [
        plan_of(slices, labels),
        plan_of(slices, turned),
        plan_of(slices[1:], labels),
        plan_of(slices.assign(bytes=999), labels),
        plan_of(slices, labels, rejects=ONE_REJECT),
        plan_of(slices.assign(header_hash=999), labels),
        plan_of(other_patient, labels),
        plan_of(slices, labels, replace(OPTIONS, key=b"secret")),
        plan_of(slices, labels, replace(OPTIONS, key=b"other secret")),
    ]
    assert len({plan.fingerprint for plan in plans}) == len(plans)


def test_slices_with_a_doubtful_identity_are_rejected_with_their_reason():
    slices, labels = tables()
    slices.loc[3, "path"] = "stage_2_train/ID_0badbad.dcm"
    slices.loc[5, ["slice_id", "path"]] = slices.loc[4, "slice_id"], "copies/a.dcm"
    slices.loc[6, ["slice_id", "path"]] = "1.2.3.4", "clinic/b.dcm"
    plan = plan_of(slices, labels)
    reasons = dict(zip(plan.rejected.rejects["path"], plan.rejected.rejects["reason"], strict=True))
    assert reasons == {
        "stage_2_train/ID_0badbad.dcm": "id_mismatch",
        "copies/a.dcm": "duplicate_id",
        slices.loc[4, "path"]: "duplicate_id",
        "clinic/b.dcm": "no_label",
    }
    assert plan.rejected.rejects["detail"].str.len().min() > 20
    assert (
        plan.rejected.labels_without_files == 3
    )  # of slices 3 to 6, one has a file that is left out
    assert len(planned(plan)) == len(slices) - 4


def test_a_misnamed_file_does_not_reject_the_rightful_one():
    """The file named A that holds B is rejected; the rightful B stays."""
    slices, labels = tables()
    slices.loc[0, "slice_id"] = slices.loc[1, "slice_id"]
    plan = plan_of(slices, labels)
    assert list(plan.rejected.rejects["path"]) == [slices.loc[0, "path"]]
    assert slices.loc[1, "slice_id"] in set(planned(plan)["slice_id"])


def test_unlabelled_slices_form_a_separate_split():
    slices, labels = tables()
    slices.loc[60:, "labelled"] = False
    table = planned(plan_of(slices, labels))
    of_test = table[table["split"] == "unlabelled"]
    assert sorted(of_test["slice_id"]) == sorted(slices["slice_id"][60:])
    assert of_test[list(LABELS)].isna().all(axis=None)
    assert table[table["split"] != "unlabelled"][list(LABELS)].notna().all(axis=None)


def test_patients_are_hashed_with_the_seed_and_other_ids_kept():
    slices, labels = tables(count=1)
    truth = {truth.slice_id: truth for truth in _read()[0]}
    for row in planned(plan_of(slices, labels)).itertuples():
        patient = truth[row.slice_id].patient_id.encode()
        assert row.patient_key == hmac.digest(b"1", patient, "sha256").hex()[:16]
        assert row.study_id == truth[row.slice_id].study_id


def test_a_key_hashes_all_identifiers_and_keeps_the_splits():
    slices, labels = tables()
    bare = planned(plan_of(slices, labels))
    table = planned(plan_of(slices, labels, replace(OPTIONS, key=b"secret")))
    published = table[["slice_id", "study_id", "patient_key"]]
    assert published.map(lambda text: len(text) == 16 and int(text, 16) >= 0).all(axis=None)
    assert list(table["shard"]) == list(bare["shard"])
    assert list(table["path"]) == list(bare["path"])
    reference = hmac.digest(b"secret", bare["slice_id"].iloc[0].encode(), "sha256").hex()
    assert table["slice_id"].iloc[0] == reference[:16]


def test_slices_without_a_patient_id_are_grouped_by_study():
    slices, labels = tables()
    table = planned(plan_of(slices.assign(patient_id=""), labels))
    assert table.groupby("study_id")["patient_key"].nunique().eq(1).all()
    assert table["patient_key"].nunique() == 40
    bare = slices.assign(patient_id="", study_id="")
    assert planned(plan_of(bare, labels))["patient_key"].nunique() == 1


def test_an_error_counts_the_reasons_if_no_slice_is_usable():
    slices, labels = tables(count=2)
    with pytest.raises(ConvertError, match=r"no usable slice: no_label \(6\); check the folder"):
        plan_of(slices, labels.rename(index=lambda name: name + "9"))


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
def test_the_default_shard_size_gives_150_megabytes_or_sixteen_shards(
    size, encoding, slices, records
):
    windows = parse_windows("brain,subdural,bone")
    assert default_shard_size(ShardFormat(windows, 0, size, encoding), slices) == records

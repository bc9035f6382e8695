"""Split files are read as documented and followed by each of their ids."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.rsna_folder import scanned, write_labels, write_rsna, write_slice
from tfrecords_tools.dataset.manifest import ShardFormat, split_of
from tfrecords_tools.errors import ConvertError, UsageError
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.plan import make_plan
from tfrecords_tools.planning.rejected import NO_SPLIT
from tfrecords_tools.planning.split_file import read_split
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.windows import WINDOWS


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
def test_a_split_file_assigns_by_patient_study_or_slice(rsna, tmp_path, text):
    given_split = read_split(split_file(tmp_path, text))
    expected = {"a1": "train", "a2": "train", "b1": "test", "c1": ""}
    assert followed(rsna, given_split) == expected


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
def test_an_invalid_split_file_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ConvertError, match=message) as caught:
        read_split(split_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_split_file_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"--split .*no such file; give a CSV, or fractions"):
        read_split(tmp_path / "nowhere.csv")


def test_a_split_file_that_puts_a_patient_into_two_splits_is_refused(rsna, tmp_path):
    given_split = read_split(split_file(tmp_path, "slice_id,split\na1,train\na2,test\n"))
    with pytest.raises(ConvertError, match=r"puts 1 patients .*study sa.*split by patient"):
        followed(rsna, given_split)

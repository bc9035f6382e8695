"""`convert --split FILE` from end to end, by each of the ids that such a file may name."""

import hmac
import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pydicom import dcmread

from ich_keras.cli.main import main
from tests.support.rsna_folder import EDGE, Truth, write_labels, write_rsna, write_slice
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.planning.split_file import GIVEN_SPLITS, ID_COLUMNS
from tfrecords_tools.verify import verify

PATIENTS = 12
KEYWORDS = {
    "slice_id": "SOPInstanceUID",
    "study_id": "StudyInstanceUID",
    "patient_id": "PatientID",
}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """The command leaves its logging behind, which would reach the tests that follow."""
    monkeypatch.setattr(module, "local_engine", serial_engine)
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    level = logging.root.level
    with warnings.catch_warnings():
        yield
    logging.root.setLevel(level)


@pytest.fixture
def truths(tmp_path) -> list[Truth]:
    """The slices of `tmp_path/rsna`; the first two patients share a picture."""
    truths = list(write_rsna(tmp_path / "rsna", patients=PATIENTS).values())
    truths[3] = replace(truths[3], hu=truths[0].hu)
    write_slice(tmp_path / "rsna" / "stage_2_train" / f"{truths[3].slice_id}.dcm", truths[3])
    return truths


@pytest.fixture
def assigned(truths, tmp_path) -> pd.DataFrame:
    """The ids in the files, as pydicom reads them, and a split in which each patient is whole."""
    paths = sorted((tmp_path / "rsna" / "stage_2_train").iterdir())
    headers = [dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    ids = pd.DataFrame(
        {name: [str(x[word].value) for x in headers] for name, word in KEYWORDS.items()}
    )
    number = {truth.patient_id: i // 3 for i, truth in enumerate(truths)}
    return ids.assign(split=[GIVEN_SPLITS[number[x] // 2 % 3] for x in ids["patient_id"]])


@pytest.fixture
def key(tmp_path) -> Path:
    (tmp_path / "key").write_bytes(b"secret")
    return tmp_path / "key"


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["ich-keras", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code)


def convert(monkeypatch, source: Path, out: Path, split: Path, *more: object) -> int:
    options = ("--size", EDGE, "--windows", "brain", "--shard-size", 5)
    return run(
        monkeypatch, "convert", source, "--out", out, "--split", split, *options, "--quiet", *more
    )


def split_file(folder: Path, assigned: pd.DataFrame, *columns: str) -> Path:
    path = folder / f"by_{'_'.join(columns)}.csv"
    assigned[[*columns, "split"]].drop_duplicates().to_csv(path, index=False)
    return path


def splits(out: Path) -> dict[str, str]:
    index = pd.read_csv(out / "index.csv", dtype=str)
    assert len(index) == verify(out).slices
    return dict(zip(index["slice_id"], index["split"], strict=True))


def expected(assigned: pd.DataFrame) -> dict[str, str]:
    return dict(zip(assigned["slice_id"], assigned["split"], strict=True))


@pytest.mark.parametrize("column", ID_COLUMNS)
@pytest.mark.parametrize("more", [(), ("--group-duplicates",)], ids=["", "group-duplicates"])
def test_a_split_is_followed_by_each_id(assigned, tmp_path, monkeypatch, column, more):
    path = split_file(tmp_path, assigned, column)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", path, *more) == 0
    assert splits(tmp_path / "out") == expected(assigned)


@pytest.mark.parametrize("column", ID_COLUMNS)
def test_a_split_is_followed_by_ids_that_a_key_hashes(assigned, tmp_path, monkeypatch, key, column):
    path = split_file(tmp_path, assigned, column)
    keyed = ("--patient-key-file", key)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", path, *keyed) == 0
    hashed = {
        hmac.digest(b"secret", name.encode(), "sha256").hex()[:16]: split
        for name, split in expected(assigned).items()
    }
    assert splits(tmp_path / "out") == hashed


@pytest.mark.parametrize("column", ["slice_id", "study_id"])
def test_the_index_of_keyed_shards_is_followed_with_the_same_key(
    assigned, tmp_path, monkeypatch, key, column
):
    keyed = ("--patient-key-file", key)
    by_slice = split_file(tmp_path, assigned, "slice_id")
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", by_slice, *keyed) == 0
    index = pd.read_csv(tmp_path / "out" / "index.csv", dtype=str)
    path = split_file(tmp_path, index, column)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "again", path, *keyed) == 0
    assert splits(tmp_path / "again") == splits(tmp_path / "out")


@pytest.mark.parametrize("column", ID_COLUMNS)
@pytest.mark.parametrize("more", [False, True], ids=["", "patient-key-file"])
def test_additions_follow_a_split(truths, assigned, tmp_path, monkeypatch, key, column, more):
    """The first slice of one patient is converted before the others."""
    keyed = ("--patient-key-file", key) if more else ()
    path = split_file(tmp_path, assigned, column)
    first = truths[: 3 * PATIENTS // 2 + 1]
    for truth in first:
        write_slice(tmp_path / "half" / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(tmp_path / "half" / "stage_2_train.csv", first)
    assert convert(monkeypatch, tmp_path / "half", tmp_path / "out", path, *keyed) == 0
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", path, "--add", *keyed) == 0
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "once", path, *keyed) == 0
    assert splits(tmp_path / "out") == splits(tmp_path / "once")


@pytest.mark.parametrize("column", ID_COLUMNS)
def test_an_addition_moves_no_patient(assigned, tmp_path, monkeypatch, capsys, column):
    path = split_file(tmp_path, assigned, column)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", path) == 0
    there = splits(tmp_path / "out")
    moved = assigned.assign(
        split=assigned["split"].map({"train": "val", "val": "test"}).fillna("train")
    )
    path = split_file(tmp_path, moved, column)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "out", path, "--add") == 1
    assert (
        f"moves {PATIENTS} patients of existing shards to another split" in capsys.readouterr().err
    )
    assert splits(tmp_path / "out") == there


@pytest.mark.parametrize("column", ID_COLUMNS)
def test_patients_who_share_a_slice_are_kept_in_one_split(
    assigned, tmp_path, monkeypatch, capsys, truths, column
):
    twin = assigned["patient_id"] == truths[3].patient_id
    path = split_file(tmp_path, assigned.assign(split=assigned["split"].mask(twin, "test")), column)
    assert convert(monkeypatch, tmp_path / "rsna", tmp_path / "apart", path) == 0
    grouped = convert(monkeypatch, tmp_path / "rsna", tmp_path / "o", path, "--group-duplicates")
    assert grouped == 1
    assert "puts 1 patients into more than one split" in capsys.readouterr().err

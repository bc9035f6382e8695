"""What a conversion says at its end."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.rsna_folder import write_labels, write_rsna, write_slice
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.summary import doubts


@pytest.fixture
def said(monkeypatch, caplog):
    monkeypatch.setattr(module, "local_engine", serial_engine)
    caplog.set_level(logging.INFO)

    def run(source: Path, out: Path, **options) -> str:
        caplog.clear()
        convert(source, out, ConvertOptions(size=32, **options))
        return caplog.text

    return run


def test_the_end_says_what_is_in_each_split_and_what_was_left_out(tmp_path: Path, said) -> None:
    source = tmp_path / "source"
    truths = list(write_rsna(source, patients=24, test_patients=2).values())
    train = source / "stage_2_train"
    (train / f"{truths[0].slice_id}.dcm").unlink()
    (train / "notes.txt").write_text("no DICOM file")
    (train / "copy.dcm").write_bytes((train / f"{truths[5].slice_id}.dcm").read_bytes())
    text = said(source, tmp_path / "out", split="0.5,0.25,0.25")
    rows = {
        line[:30].strip(): line.split()[-4:]
        for line in text.splitlines()
        if line.startswith("slices") or line.startswith("patients")
    }
    index = pd.read_csv(tmp_path / "out" / "index.csv")
    splits = ["train", "val", "test", "unlabelled"]
    assert rows["slices"] == [str(x) for x in index["split"].value_counts()[splits]]
    patients = index.groupby("split")["patient_key"].nunique()[splits]
    assert rows["patients"] == [str(x) for x in patients]
    assert "files left out: 3 (2 duplicate_id, 1 not_dicom), see rejects.csv" in text
    assert "labels without a file: 1 slice" in text
    assert "Patient ID has" not in text


def test_patients_who_share_one_id_are_said(tmp_path: Path, said) -> None:
    source = tmp_path / "source"
    truths = [replace(x, patient_id="ANON") for x in write_rsna(source).values()]
    for truth in truths:
        write_slice(source / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(source / "stage_2_train.csv", truths)
    text = said(source, tmp_path / "out")
    assert "one Patient ID has 12 of 12 studies, all in one split" in text


def test_a_split_without_hemorrhages_or_without_others_is_said() -> None:
    rows = [
        ("train", 0, 1),
        ("train", 1, 0),
        ("val", 2, 0),
        ("test", 3, 1),
        ("unlabelled", 4, None),
    ]
    index = pd.DataFrame(rows, columns=["split", "study_id", "any"])
    index["patient_key"] = index["study_id"]
    found = list(doubts(index))
    assert [x.split(":")[0] for x in found] == [
        "test has no study without a hemorrhage",
        "val has no study with a hemorrhage",
    ]

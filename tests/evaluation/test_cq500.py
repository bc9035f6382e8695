"""CQ500: majorities of the reads, names of scans, and the choice of a series."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from ich_keras.evaluation.cq500 import (
    MARKS,
    READERS,
    has_reads,
    read_reads,
    scan_name,
)
from tfrecords_tools.classes import LABELS
from tfrecords_tools.tables.label_csv import LabelError


def write_reads(path: Path, *rows: tuple) -> Path:
    """A file of a scan's name and the marks of three readers, each in the order of LABELS."""
    columns = [f"{reader}:{MARKS[label]}" for label in LABELS for reader in READERS]
    table = pd.DataFrame(
        [(name, *itertools.chain.from_iterable(zip(*marks, strict=True))) for name, *marks in rows],
        columns=["name", *columns],
    )
    table.to_csv(path, index=False)
    return path


def test_two_of_three_readers_decide(tmp_path):
    path = write_reads(
        tmp_path / "reads.csv",
        ("CQ500-CT-7", "110001", "010001", "000101"),
        ("CQ500-CT-12", "000000", "000000", "000001"),
    )
    table = read_reads(path)
    assert table.index.tolist() == ["CQ500-CT-7", "CQ500-CT-12"]
    assert table.loc["CQ500-CT-7"].tolist() == [0, 1, 0, 0, 0, 1]
    assert table.loc["CQ500-CT-12"].tolist() == [0] * 6


def test_the_real_file_gives_the_published_counts(realdata):
    path = realdata / "csv" / "cq500_reads.csv"
    assert has_reads(list(pd.read_csv(path, nrows=0).columns))
    table = read_reads(path)
    # Chilamkurthy et al. 2018, table 2: of 491 scans, by majority.
    assert len(table) == 491
    assert table.sum().to_dict() == {
        "epidural": 13,
        "intraparenchymal": 134,
        "intraventricular": 28,
        "subarachnoid": 60,
        "subdural": 53,
        "any": 205,
    }


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("CQ500-CT-1", "000000", "000000", "000000")] * 2, "line 2"),
        ([("CQ500-CT-1", "000000", "00000x", "000000")], "line 2"),
        ([("somebody", "000000", "000000", "000000")], "expected one row per scan"),
    ],
)
def test_faults_are_named_by_line(tmp_path, rows, fault):
    with pytest.raises(LabelError, match=fault):
        read_reads(write_reads(tmp_path / "reads.csv", *rows))


def test_a_missing_reader_is_named(tmp_path):
    path = write_reads(tmp_path / "reads.csv", ("CQ500-CT-1", "000000", "000000", "000000"))
    pd.read_csv(path).drop(columns="R2:EDH").to_csv(path, index=False)
    with pytest.raises(LabelError, match="has no column R2:EDH"):
        read_reads(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CQ500CT12 CQ500CT12/Unknown Study/CT Plain/CT000003.dcm", "CQ500-CT-12"),
        ("CQ500-CT-0", "CQ500-CT-0"),
        ("cq500ct427.zip:deep/CT000000.dcm", "CQ500-CT-427"),
        ("study/CT000000.dcm", None),
        ("CQ500CT12345", None),
    ],
)
def test_scans_are_named_by_their_folders(text, name):
    assert scan_name(text) == name

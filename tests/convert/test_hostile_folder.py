"""A folder of hostile files and some good ones, from end to end."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword

from tests.fuzzing.hostile_corpus import made_samples, phantom_samples
from tests.fuzzing.mutations import Sample, damaged, with_value
from tests.support.rsna_folder import EDGE, Truth, contents, write_rsna
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import (
    INDEX_COLUMNS,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECT_COLUMNS,
    REJECTS_NAME,
    Manifest,
)
from tfrecords_tools.dicom.reader import read_header
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.records.schema import decode_example
from tfrecords_tools.records.tfrecord import read_records
from tfrecords_tools.tables.csv_cells import path_cell
from tfrecords_tools.verify import verify
from tfrecords_tools.windows import parse_windows, window_slice

SEED, HOSTILE = 11, 300
pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, of damaged files

OPTIONS = ConvertOptions(size=EDGE, windows="brain,bone", shard_size=40, workers=2)
NAMES = (
    "=cmd|' !A0",
    "+1",
    "-1",
    "@x",
    'a "quoted", name',
    "a\nb",
    "a\rb,c",
    "\t=1",
    "\x1b[2J",
    "\u2028line",
    "$(touch x) `id` ; rm -rf",
    "..%2f..%2fetc",
    "... ",
    "x" * 250,
    "\udcff\udcfe",  # bytes that are no text
    "-rf",
)


STAGES = ("stage_2_train/", "stage_2_test/")
PLACES = ("stage_2_train", "stage_2_test", "stage_2_test/deeper", ".")


class Folder(NamedTuple):
    """What there is to be converted.

    Attributes:
        root: of the data set.
        good: what its good files were written from, by id.
    """

    root: Path
    good: dict[str, Truth]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("hostile") / "rsna"
    good = write_rsna(root, patients=8, test_patients=1)
    groups = made_samples(), phantom_samples()
    for number in range(HOSTILE):
        named = tuple(tuple(_named(x, number) for x in group) for group in groups)
        place, name = PLACES[number % len(PLACES)], f"{number}.dcm"
        if number < len(PLACES) * len(NAMES):
            name = NAMES[number // len(PLACES)]
        (root / place).mkdir(exist_ok=True)
        (root / place / name).write_bytes(damaged(named, SEED, number).content)
    return Folder(root, good)


def _named(sample: Sample, number: int) -> Sample:
    """The same as a slice of its own; else all that is taken would be rejected as doubled."""
    tag = tag_for_keyword("SOPInstanceUID") or 0
    return Sample(sample.name, with_value(sample.content, tag, f"1.2.{number}".encode()))


@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_hostile_folder_costs_only_its_hostile_files(
    folder: Folder, unlabelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before, out = contents(folder.root), tmp_path / "out"
    manifest = convert(folder.root, out, replace(OPTIONS, unlabelled=unlabelled))
    assert contents(folder.root) == before
    assert set(tmp_path.iterdir()) == {elsewhere, out}
    assert not list(elsewhere.iterdir())
    check_files(out, manifest)
    index, rejects = rows(out / INDEX_NAME), rows(out / REJECTS_NAME)
    check_tables(index, rejects)
    assert verify(out).slices == len(index) - 1
    assert Counter(row[1] for row in rejects[1:]) == manifest.rejected
    check_good(out, manifest, folder.good)
    paths = [path for path in before if unlabelled or path.startswith(STAGES)]
    check_every_file(
        folder.root, paths, {row[0] for row in index[1:]}, {row[0] for row in rejects[1:]}
    )


def check_files(out: Path, manifest: Manifest) -> None:
    """No identifier has become a path."""
    expected = {MANIFEST_NAME, INDEX_NAME, REJECTS_NAME, *(x.name for x in manifest.shards)}
    assert set(contents(out)) == expected


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file, strict=True))
    assert len(found) == path.read_bytes().count(b"\n"), "a row has more than one line"
    return found


def check_tables(index: list[list[str]], rejects: list[list[str]]) -> None:
    assert index[0] == INDEX_COLUMNS
    assert rejects[0] == REJECT_COLUMNS
    for table in (index, rejects):
        assert {len(row) for row in table} == {len(table[0])}
    texts = [cell for row in index for cell in row[:-2]] + [cell for row in rejects for cell in row]
    for text in texts:
        assert text.isprintable()
        assert not text.startswith(("=", "+", "-", "@"))


def check_good(out: Path, manifest: Manifest, good: dict[str, Truth]) -> None:
    records = (record for x in manifest.shards for record in read_records(out / x.name))
    examples = {x.slice_id: x for x in (decode_example(record, "zlib") for record in records)}
    for slice_id, truth in good.items():
        expected = window_slice(truth.hu.astype(np.float32), EDGE, parse_windows("brain,bone"))
        np.testing.assert_array_equal(examples[slice_id].image, expected)


def check_every_file(root: Path, paths: list[str], taken: set[str], rejected: set[str]) -> None:
    """Each file is either converted or rejected, never both."""
    kept = 0
    for path in paths:
        try:
            in_index = read_header(root / path).slice.slice_id in taken
        except RejectedSlice:
            in_index = False
        assert in_index != (path_cell(path) in rejected), path
        kept += in_index
    assert kept == len(taken)
    assert len(rejected) == len(paths) - kept
    assert kept > HOSTILE / 20


@pytest.mark.parametrize(
    ("path", "cell"),
    [
        ("stage_2_train/ID_1.dcm", "stage_2_train/ID_1.dcm"),
        ("=1+1", "./=1+1"),
        ("a\nb\r\x1b", r"a\nb\r\x1b"),
        ("\udcff\u2028", r"\udcff\u2028"),
        ("\u6f22 \u00fc", "\u6f22 \u00fc"),
    ],
)
def test_paths_in_a_table(path: str, cell: str) -> None:
    assert path_cell(path) == cell

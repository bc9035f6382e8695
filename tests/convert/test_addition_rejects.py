"""`--add` reports files rejected earlier as a single conversion of the whole folder would."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.rsna_folder import EDGE, Truth, contents, write_labels, write_rsna, write_slice
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import (
    MANIFEST_NAME,
    Manifest,
    RejectedFile,
    _sealed,
    read_manifest,
)
from tfrecords_tools.verify import verify

OPTIONS = ConvertOptions(size=EDGE, windows="brain", split="0.5,0.25,0.25", shard_size=5)
PATIENTS = 6
PIXEL_BYTES = 2 * EDGE * EDGE


@pytest.fixture(autouse=True)
def _without_processes(monkeypatch):
    monkeypatch.setattr(module, "local_engine", serial_engine)


@pytest.fixture(scope="module")
def truths(tmp_path_factory) -> list[Truth]:
    return list(write_rsna(tmp_path_factory.mktemp("all"), patients=PATIENTS).values())


class Folder:
    """A data set that changes, with its shards."""

    def __init__(self, place: Path, truths: Sequence[Truth], options: ConvertOptions) -> None:
        self.root, self.out, self.truths, self.options = place / "r", place / "out", truths, options
        self._other = place / "other"
        for number in range(len(truths)):
            self.good(number)
        self.label(truths)

    def path(self, number: int) -> Path:
        return self.root / "stage_2_train" / f"{self.truths[number].slice_id}.dcm"

    def good(self, number: int) -> None:
        write_slice(self.path(number), self.truths[number])

    def truncated(self, number: int) -> None:
        """RejectedFile by its header."""
        self.good(number)
        self.path(number).write_bytes(self.path(number).read_bytes()[:-100])

    def damaged(self, number: int, value: bytes = b"\x01\x80") -> None:
        """With the same size and header, rejected by its pixels."""
        self.good(number)
        content = self.path(number).read_bytes()
        pixels = value * (PIXEL_BYTES // len(value))
        self.path(number).write_bytes(content[:-PIXEL_BYTES] + pixels)

    def text(self, number: int) -> None:
        self.path(number).write_text("no slice")

    def copy(self, number: int, name: str) -> Path:
        copy = self.path(number).with_name(name)
        copy.write_bytes(self.path(number).read_bytes())
        return copy

    def label(self, truths: Sequence[Truth]) -> None:
        write_labels(self.root / "stage_2_train.csv", list(truths))

    def convert(self, **changes) -> Manifest:
        """Converts or adds; repeating it must change nothing."""
        manifest = convert(self.root, self.out, replace(self.options, add=True, **changes))
        assert manifest == read_manifest(self.out)
        verify(self.out)
        assert manifest.rejected_files == len(self.rejects())
        before = contents(self.out)
        assert convert(self.root, self.out, replace(self.options, add=True, **changes)) == manifest
        assert contents(self.out) == before
        return manifest

    def rejects(self) -> dict[str, str]:
        table = pd.read_csv(self.out / "rejects.csv", dtype=str)
        assert table["path"].is_unique
        return {Path(x.path).name: x.reason for x in table.itertuples()}

    def check_as_converted_at_once(self) -> None:
        """Compares with a single conversion of the folder as it is now."""
        once = convert(self.root, self._other, replace(self.options, fresh=True))
        now = read_manifest(self.out)
        assert (self.out / "rejects.csv").read_text() == (self._other / "rejects.csv").read_text()
        assert now.rejected == once.rejected
        assert now.labels_without_files == once.labels_without_files
        assert now.refused == once.refused
        ours, theirs = (pd.read_csv(x / "index.csv", dtype=str) for x in (self.out, self._other))
        assert list(ours["slice_id"]) == list(theirs["slice_id"])


@pytest.fixture(params=["", "key"])
def folder(request, tmp_path, truths) -> Folder:
    options = OPTIONS
    if request.param:
        (tmp_path / "key").write_bytes(b"secret")
        options = replace(options, patient_key_file=tmp_path / "key")
    return Folder(tmp_path, truths, options)


@pytest.mark.parametrize("fault", ["truncated", "damaged", "text"])
def test_a_repaired_file_is_converted_and_no_longer_rejected(folder, fault):
    getattr(folder, fault)(4)
    assert folder.convert().rejected_files == 1
    folder.good(4)
    manifest = folder.convert()
    assert (manifest.rejected, manifest.refused) == ({}, ())
    assert manifest.slices == len(folder.truths)
    folder.check_as_converted_at_once()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["truncated", "damaged", "text"])
@pytest.mark.parametrize("after", ["truncated", "damaged", "text"])
def test_a_file_rejected_for_another_reason_has_only_that_reason(folder, before, after):
    """And has the first reason again once it is as before."""
    for fault in (before, after, before):
        getattr(folder, fault)(4)
        assert folder.convert().rejected_files == 1
        folder.check_as_converted_at_once()


def test_other_pixels_are_tried_and_rejected_again(folder):
    folder.damaged(4)
    first = folder.convert()
    folder.damaged(4, b"\x02\x80")
    second = folder.convert()
    assert second.rejected == first.rejected == {"implausible_hu": 1}
    folder.check_as_converted_at_once()


def test_a_label_that_comes_later(folder, truths):
    folder.label(truths[:-1])
    assert folder.convert().rejected == {"no_label": 1}
    folder.label(truths)
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


def test_a_file_that_comes_later(folder):
    for number in (3, 4):
        folder.path(number).unlink()
    assert folder.convert().labels_without_files == 2
    folder.good(3)
    assert folder.convert().labels_without_files == 1
    folder.damaged(4)
    assert folder.convert().labels_without_files == 0
    folder.check_as_converted_at_once()


def test_a_label_file_that_changes_alone(folder, truths):
    folder.path(4).unlink()
    assert folder.convert().labels_without_files == 1
    folder.label([x for x in truths if x is not truths[4]])
    assert folder.convert().labels_without_files == 0
    folder.check_as_converted_at_once()


def test_without_a_label_file_the_count_of_labels_without_files_stays(folder):
    folder.path(4).unlink()
    folder.convert()
    assert folder.convert(unlabelled=True).labels_without_files == 1


def test_a_split_file_that_names_a_slice_later(folder, tmp_path):
    ids = [truth.study_id for truth in folder.truths]
    split = tmp_path / "split.csv"
    table = pd.DataFrame({"study_id": ids, "split": "train"}).drop_duplicates()
    table[1:].to_csv(split, index=False)
    folder.options = replace(folder.options, split=str(split))
    assert folder.convert().rejected == {"no_split": 3}
    table.to_csv(split, index=False)
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


def test_a_slice_in_two_files_with_other_names_has_a_file(folder):
    folder.copy(4, "a.dcm")
    folder.path(4).rename(folder.path(4).with_name("b.dcm"))
    manifest = folder.convert()
    assert (manifest.rejected, manifest.labels_without_files) == ({"duplicate_id": 2}, 0)
    folder.path(4).with_name("a.dcm").write_text("no slice")
    folder.path(4).with_name("b.dcm").write_text("no slice")
    assert folder.convert().labels_without_files == 1
    folder.check_as_converted_at_once()


@pytest.mark.parametrize("gone", ["copy", "first"])
def test_one_of_two_files_of_a_slice_is_removed(folder, gone):
    copy = folder.copy(4, "copy.dcm")
    assert folder.convert().rejected == {"duplicate_id": 2}
    (copy if gone == "copy" else folder.path(4)).unlink()
    manifest = folder.convert()
    assert (manifest.rejected, manifest.slices) == ({}, len(folder.truths))
    folder.check_as_converted_at_once()


def test_a_copy_of_an_existing_slice_appears_and_disappears(folder):
    folder.convert()
    copy = folder.copy(4, "copy.dcm")
    assert folder.convert().rejected == {"duplicate_id": 2}
    copy.unlink()
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


@pytest.mark.parametrize("fault", ["truncated", "damaged"])
def test_a_slice_appears_in_another_file_with_its_name(folder, fault):
    getattr(folder, fault)(4)
    folder.convert()
    folder.path(4).unlink()
    write_slice(folder.path(4).parent / "again" / folder.path(4).name, folder.truths[4])
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


def test_a_rejected_file_that_moves_is_listed_at_its_new_place(folder):
    folder.damaged(4)
    folder.convert()
    moved = folder.path(4).parent / "moved" / folder.path(4).name
    moved.parent.mkdir()
    folder.path(4).rename(moved)
    folder.convert()
    folder.check_as_converted_at_once()


def test_the_manifest_names_no_file(folder):
    folder.damaged(4)
    folder.copy(5, "Mary Miller.dcm")
    assert folder.convert().rejected_files == 3
    content = (folder.out / MANIFEST_NAME).read_text()
    assert "Miller" not in content
    assert "stage_2" not in content


@pytest.mark.parametrize("fault", ["truncated", "damaged", "text"])
def test_a_rejected_file_that_vanishes_stays_in_the_table(folder, fault):
    """As existing slices stay: perhaps a list just does not name it."""
    getattr(folder, fault)(4)
    first = folder.convert()
    folder.path(4).unlink()
    assert folder.convert() == first


def test_a_list_of_new_files_removes_no_other_rejects(folder, monkeypatch):
    folder.truncated(3)
    folder.damaged(4)
    folder.copy(5, "copy.dcm")
    new = folder.path(0)
    new.unlink()
    monkeypatch.chdir(folder.root)  # which the paths of a list are relative to
    before = folder.convert()
    assert (before.rejected_files, before.labels_without_files) == (4, 1)
    folder.good(0)
    labels = folder.root / "stage_2_train.csv"
    added = convert([str(new)], folder.out, replace(folder.options, add=True, labels=labels))
    assert (added.rejected, added.labels_without_files) == (before.rejected, 0)
    assert added.refused == before.refused
    assert added.slices == before.slices + 1
    folder.good(3)
    repaired = [str(folder.path(3))]
    added = convert(repaired, folder.out, replace(folder.options, add=True, labels=labels))
    assert added.rejected == {"duplicate_id": 2, "implausible_hu": 1}
    folder.check_as_converted_at_once()


def test_a_slice_whose_file_is_damaged_later_stays_and_the_file_is_listed(folder):
    folder.convert()
    folder.truncated(4)
    manifest = folder.convert()
    assert manifest.rejected == {"truncated_pixels": 1}
    assert manifest.slices == len(folder.truths)
    folder.good(4)
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


def test_shards_of_older_releases_that_store_only_ids_of_rejected_slices_are_added_to(folder):
    folder.damaged(4)
    manifest = folder.convert()
    path = folder.out / MANIFEST_NAME
    content = json.loads(path.read_text())
    del content["checksum"]
    content["refused"] = [x["slice_id"] for x in content["refused"]]
    path.write_text(_sealed(content))
    assert read_manifest(folder.out).refused == (
        RejectedFile("", manifest.refused[0].slice_id, ""),
    )
    assert folder.convert().rejected == manifest.rejected
    folder.good(4)
    assert folder.convert().rejected == {}
    folder.check_as_converted_at_once()


def test_the_command_reports_repaired_files(folder, caplog):
    folder.truncated(4)
    before = folder.convert()
    folder.good(4)
    with caplog.at_level("INFO"):
        after = folder.convert()
    assert "1 files of rejects.csv are no longer rejected" in caplog.text
    assert after.addition(before).endswith(", 1 fewer rejected")


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_repairs_ends_like_a_single_conversion(tmp_path, truths, seed):
    """Each file goes from fault to fault, and is good or stays damaged in the end."""
    rng = np.random.default_rng(seed)
    folder = Folder(tmp_path, truths, OPTIONS)
    faults = [folder.truncated, folder.damaged, folder.text]
    bad = {int(x) for x in rng.choice(len(truths), 9, replace=False)}
    folder.label([x for i, x in enumerate(truths) if i not in bad or rng.random() < 0.5])
    for number in bad:
        folder.text(number)
    whole = sorted(set(range(len(truths))) - bad)
    copies = [folder.copy(number, f"copy{number}.dcm") for number in whole[:3]]
    for _ in range(4):
        folder.convert()
        for number in sorted(bad):
            fate = rng.random()
            if fate < 0.3:
                folder.good(number)
                bad.remove(number)
            elif fate < 0.7:
                faults[rng.integers(len(faults))](number)
        if copies and rng.random() < 0.5:
            copies.pop().unlink()
    folder.label(truths)
    folder.convert()
    folder.check_as_converted_at_once()

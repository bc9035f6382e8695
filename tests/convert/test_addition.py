"""Additions to existing shards: no existing shard changes, and no patient changes its split."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.rsna_folder import EDGE, contents, write_labels, write_rsna, write_slice
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import ConvertError, InputError, UsageError
from tfrecords_tools.verify import verify
from tfrecords_tools.writing import index as index_module

OPTIONS = ConvertOptions(size=EDGE, windows="brain,bone", split="0.5,0.25,0.25", shard_size=5)
ADD = replace(OPTIONS, add=True)
PATIENTS = 16


@pytest.fixture(autouse=True)
def _without_processes(monkeypatch):
    monkeypatch.setattr(module, "local_engine", serial_engine)


@pytest.fixture(scope="module")
def truths(tmp_path_factory):
    return list(write_rsna(tmp_path_factory.mktemp("all"), patients=PATIENTS).values())


def write(root: Path, truths) -> Path:
    """Writes a data set of these slices, with labels for them alone."""
    for truth in truths:
        write_slice(root / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(root / "stage_2_train.csv", truths)
    return root


@pytest.fixture
def source(truths, tmp_path) -> Path:
    """Half of the patients, and the first slice of one more."""
    return write(tmp_path / "rsna", truths[: 3 * PATIENTS // 2 + 1])


@pytest.fixture
def out(source, tmp_path) -> Path:
    convert(source, tmp_path / "out", OPTIONS)
    return tmp_path / "out"


def splits(out: Path) -> dict[str, str]:
    index = pd.read_csv(out / "index.csv", dtype=str)
    assert (index.groupby("patient_key")["split"].nunique() == 1).all()
    return dict(zip(index["slice_id"], index["split"], strict=True))


def shards(out: Path) -> dict[Path, tuple[int, bytes]]:
    return {x: (x.stat().st_mtime_ns, x.read_bytes()) for x in out.glob("*.tfrecord")}


def test_existing_shards_are_not_touched_and_new_slices_get_new_shards(source, out, truths):
    before, old_shards = splits(out), shards(out)
    manifest = convert(write(source, truths), out, ADD)
    assert verify(out).slices == len(truths) == manifest.slices
    after = splits(out)
    assert before.items() <= after.items()
    assert old_shards.items() <= shards(out).items()
    added = {path.name for path in shards(out)} - {path.name for path in old_shards}
    assert all("-add1-" in name for name in added)
    assert not (out / ".work").exists()


def test_further_slices_of_a_patient_join_its_split(source, out, truths):
    first, *rest = truths[3 * PATIENTS // 2 : 3 * PATIENTS // 2 + 3]
    assert {x.patient_id for x in rest} == {first.patient_id}
    convert(write(source, truths), out, replace(ADD, split="0,0,1"))
    after = splits(out)
    assert {after[x.slice_id] for x in rest} == {after[first.slice_id]}
    new = truths[3 * PATIENTS // 2 + 3 :]
    assert {after[x.slice_id] for x in new} == {"test"}


@pytest.mark.parametrize("seed", range(3))
def test_slices_added_in_any_order_are_stored_once_in_the_split_of_their_patient(
    truths, tmp_path, seed
):
    rng = np.random.default_rng(seed)
    coming = [truths[i] for i in rng.permutation(len(truths))]
    root, out, so_far = tmp_path / "rsna", tmp_path / "out", {}
    for until in (*sorted(rng.choice(np.arange(6, len(coming)), 3, replace=False)), len(coming)):
        convert(write(root, coming[:until]), out, ADD)
        assert verify(out).slices == until
        assert so_far.items() <= splits(out).items()
        so_far = splits(out)
    patients = pd.read_csv(out / "index.csv").groupby("split")["patient_key"].nunique()
    shares = {"train": 8, "val": 4, "test": 4}
    assert all(abs(patients[name] - share) <= 1 for name, share in shares.items())


def test_the_same_additions_give_the_same_bytes(source, out, truths, tmp_path):
    for place in (out, tmp_path / "again"):
        convert(
            write(tmp_path / "half", truths[: 3 * PATIENTS // 2 + 1]),
            place,
            ADD,
        )
        convert(write(source, truths), place, ADD)
    assert contents(out) == contents(tmp_path / "again")


def test_without_new_slices_nothing_changes(source, out):
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    manifest = convert(source, out, ADD)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert manifest == read_manifest(out)


def test_a_slice_rejected_for_its_pixels_is_listed_once(source, out, truths):
    path = write(source, truths) / "stage_2_train" / f"{truths[-1].slice_id}.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: -2 * EDGE * EDGE] + b"\x01\x80" * (EDGE * EDGE))
    first = convert(source, out, ADD)
    assert first.rejected == {"implausible_hu": 1}
    assert convert(source, out, ADD) == first
    assert len(pd.read_csv(out / "rejects.csv")) == 1


def test_new_rejects_alone_are_listed_and_the_shards_do_not_change(source, out):
    before = read_manifest(out)
    (source / "stage_2_train" / "notes.txt").write_text("no slice")
    after = convert(source, out, ADD)
    assert after.rejected == {"not_dicom": 1}
    assert (after.fingerprint, after.shards) == (before.fingerprint, before.shards)
    assert verify(out).slices == before.slices


def test_with_a_key_patients_are_recognized_by_their_hash(source, truths, tmp_path):
    (tmp_path / "key").write_bytes(b"secret")
    keyed = replace(OPTIONS, patient_key_file=tmp_path / "key")
    out = tmp_path / "keyed"
    convert(source, out, keyed)
    before = splits(out)
    convert(write(source, truths), out, replace(keyed, add=True))
    assert verify(out).slices == len(truths)
    assert before.items() <= splits(out).items()
    with pytest.raises(ConvertError, match="another --seed or --patient-key-file"):
        convert(source, out, ADD)


def test_changed_labels_and_doubtful_slices_are_reported(source, out, truths, caplog):
    duplicate = source / "stage_2_train" / "copy.dcm"
    duplicate.write_bytes((source / "stage_2_train" / f"{truths[1].slice_id}.dcm").read_bytes())
    before = contents(out)
    turned = replace(truths[2], label=(1, 0, 0, 0, 0, 1))
    write_labels(source / "stage_2_train.csv", [turned if x is truths[2] else x for x in truths])
    with caplog.at_level(logging.WARNING):
        manifest = convert(source, out, ADD)
    assert "1 existing slices have other labels now" in caplog.text
    assert "1 existing slices are in doubt now, for the reasons in rejects.csv" in caplog.text
    assert manifest.rejected == {"duplicate_id": 2}
    assert {x: y for x, y in contents(out).items() if x.endswith(".tfrecord")} == {
        x: y for x, y in before.items() if x.endswith(".tfrecord")
    }


def interrupt(monkeypatch, where, what: str, source: Path, out: Path) -> None:
    """Adds to existing shards, and is interrupted before a function is called."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(where, what, stop)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out, ADD)


@pytest.fixture
def interrupted_at_the_end(source, out, truths, monkeypatch):
    """The tables include the addition already, the manifest does not."""
    interrupt(monkeypatch, index_module, "write_manifest", write(source, truths[:-3]), out)
    return out


def test_the_same_command_finishes_an_addition_that_was_interrupted_at_its_end(
    interrupted_at_the_end, source, truths, tmp_path
):
    out = interrupted_at_the_end
    convert(source, out, ADD)
    assert verify(out).slices == len(truths) - 3
    half = write(tmp_path / "half", truths[: 3 * PATIENTS // 2 + 1])
    convert(half, tmp_path / "quiet", OPTIONS)
    convert(source, tmp_path / "quiet", ADD)
    assert contents(out) == contents(tmp_path / "quiet")


def test_another_addition_discards_one_that_was_interrupted_at_its_end(
    interrupted_at_the_end, source, truths
):
    out = interrupted_at_the_end
    convert(write(source, truths), out, ADD)
    assert verify(out).slices == len(truths)


def test_an_interrupted_addition_is_resumed(source, out, truths, monkeypatch):
    interrupt(monkeypatch, module, "finish", write(source, truths), out)
    written = shards(out)
    convert(source, out, ADD)
    assert shards(out) == written
    assert verify(out).slices == len(truths)


def test_incompatible_additions_are_refused(source, out, tmp_path):
    def refused(kind, message, **changes):
        before = contents(out)
        with pytest.raises(kind, match=message):
            convert(source, out, replace(ADD, **changes))
        assert contents(out) == before

    refused(UsageError, "shards have --size 32 --windows brain=40/80,bone=600/2800", size=16)
    refused(UsageError, "add with the same", windows="brain")
    refused(UsageError, "add with the same", encoding="raw")
    refused(UsageError, "exclude each other", fresh=True)
    refused(UsageError, "cannot go with --group-duplicates", group_duplicates=True)
    refused(ConvertError, "another --seed or --patient-key-file", seed=1)
    index = pd.read_csv(out / "index.csv", dtype=str)
    moved = index.assign(split=index["split"].map({"train": "val", "val": "test", "test": "train"}))
    moved.to_csv(tmp_path / "moved.csv", index=False)
    refused(ConvertError, "moves 9 patients", split=str(tmp_path / "moved.csv"))
    (out / "index.csv").write_text("damaged", encoding="utf-8")
    refused(ConvertError, r"index\.csv: does not match the manifest; convert again with --fresh")


def test_without_existing_shards_it_is_a_first_conversion(source, out, tmp_path):
    convert(source, tmp_path / "new", ADD)
    assert contents(tmp_path / "new") == contents(out)
    with pytest.raises(InputError, match="holds shards of other data or options"):
        convert(source, out, replace(OPTIONS, shard_size=3))

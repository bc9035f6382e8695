"""More shards beside those that stand: nothing that stood changes, nobody changes sides."""

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
from tfrecords_tools.dataset.existing import StandingError
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.planning.plan import PlanError
from tfrecords_tools.verify import verify
from tfrecords_tools.writing import index as finish_module

OPTIONS = {
    "size": EDGE,
    "windows": "brain,bone",
    "split": "0.5,0.25,0.25",
    "shard_size": 5,
}
PATIENTS = 16


@pytest.fixture(autouse=True)
def _without_processes(monkeypatch):
    monkeypatch.setattr(module, "local_engine", serial_engine)


@pytest.fixture(scope="module")
def truths(tmp_path_factory):
    return list(write_rsna(tmp_path_factory.mktemp("all"), patients=PATIENTS).values())


def write(root: Path, truths) -> Path:
    """A data set of these slices, and labels of them alone."""
    for truth in truths:
        write_slice(root / "stage_2_train" / f"{truth.slice_id}.dcm", truth)
    write_labels(root / "stage_2_train.csv", truths)
    return root


@pytest.fixture
def source(truths, tmp_path) -> Path:
    """Half of the patients, and of one of the others the first slice."""
    return write(tmp_path / "rsna", truths[: 3 * PATIENTS // 2 + 1])


@pytest.fixture
def out(source, tmp_path) -> Path:
    convert(source, tmp_path / "out", ConvertOptions(**OPTIONS))
    return tmp_path / "out"


def sides(out: Path) -> dict[str, str]:
    index = pd.read_csv(out / "index.csv", dtype=str)
    assert (index.groupby("patient_key")["split"].nunique() == 1).all()
    return dict(zip(index["slice_id"], index["split"], strict=True))


def shards(out: Path) -> dict[Path, tuple[int, bytes]]:
    return {x: (x.stat().st_mtime_ns, x.read_bytes()) for x in out.glob("*.tfrecord")}


def test_what_stands_is_not_touched_and_what_is_new_stands_beside_it(source, out, truths):
    before, stood = sides(out), shards(out)
    manifest = convert(write(source, truths), out, ConvertOptions(add=True, **OPTIONS))
    assert verify(out).records == len(truths) == manifest.slices
    after = sides(out)
    assert before.items() <= after.items()
    assert stood.items() <= shards(out).items()
    added = {path.name for path in shards(out)} - {path.name for path in stood}
    assert all("-add1-" in name for name in added)
    assert not (out / ".work").exists()


def test_the_rest_of_a_patient_goes_where_its_first_slice_is(source, out, truths):
    first, *rest = truths[3 * PATIENTS // 2 : 3 * PATIENTS // 2 + 3]
    assert {x.patient_id for x in rest} == {first.patient_id}
    convert(write(source, truths), out, ConvertOptions(add=True, **{**OPTIONS, "split": "0,0,1"}))
    after = sides(out)
    assert {after[x.slice_id] for x in rest} == {after[first.slice_id]}
    new = truths[3 * PATIENTS // 2 + 3 :]
    assert {after[x.slice_id] for x in new} == {"test"}


@pytest.mark.parametrize("seed", range(3))
def test_however_studies_come_in_each_slice_stands_once_on_its_patients_side(
    truths, tmp_path, seed
):
    rng = np.random.default_rng(seed)
    coming = [truths[i] for i in rng.permutation(len(truths))]
    root, out, stands = tmp_path / "rsna", tmp_path / "out", {}
    for until in (*sorted(rng.choice(np.arange(6, len(coming)), 3, replace=False)), len(coming)):
        convert(write(root, coming[:until]), out, ConvertOptions(add=True, **OPTIONS))
        assert verify(out).records == until
        assert stands.items() <= sides(out).items()
        stands = sides(out)
    patients = pd.read_csv(out / "index.csv").groupby("split")["patient_key"].nunique()
    shares = {"train": 8, "val": 4, "test": 4}
    assert all(abs(patients[name] - share) <= 1 for name, share in shares.items())


def test_the_same_additions_give_the_same_bytes(source, out, truths, tmp_path):
    for place in (out, tmp_path / "again"):
        convert(
            write(tmp_path / "half", truths[: 3 * PATIENTS // 2 + 1]),
            place,
            ConvertOptions(add=True, **OPTIONS),
        )
        convert(write(source, truths), place, ConvertOptions(add=True, **OPTIONS))
    assert contents(out) == contents(tmp_path / "again")


def test_where_nothing_is_new_nothing_changes(source, out):
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    manifest = convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert manifest == read_manifest(out)


def test_what_its_pixels_refuse_is_told_once(source, out, truths):
    path = write(source, truths) / "stage_2_train" / f"{truths[-1].slice_id}.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: -2 * EDGE * EDGE] + b"\x01\x80" * (EDGE * EDGE))
    first = convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert first.rejected == {"implausible_hu": 1}
    assert convert(source, out, ConvertOptions(add=True, **OPTIONS)) == first
    assert len(pd.read_csv(out / "rejects.csv")) == 1


def test_new_rejects_alone_are_told_and_the_shards_stay_what_they_are(source, out):
    before = read_manifest(out)
    (source / "stage_2_train" / "notes.txt").write_text("no slice")
    after = convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert after.rejected == {"not_dicom": 1}
    assert (after.fingerprint, after.shards) == (before.fingerprint, before.shards)
    assert verify(out).records == before.slices


def test_with_a_key_patients_are_known_by_their_hash(source, truths, tmp_path):
    (tmp_path / "key").write_bytes(b"secret")
    keyed = {**OPTIONS, "patient_key_file": tmp_path / "key"}
    out = tmp_path / "keyed"
    convert(source, out, ConvertOptions(**keyed))
    before = sides(out)
    convert(write(source, truths), out, ConvertOptions(add=True, **keyed))
    assert verify(out).records == len(truths)
    assert before.items() <= sides(out).items()
    with pytest.raises(PlanError, match="another --seed or --patient-key-file"):
        convert(source, out, ConvertOptions(add=True, **OPTIONS))


def test_labels_that_changed_and_slices_that_are_doubted_are_said(source, out, truths, caplog):
    doubted = source / "stage_2_train" / "copy.dcm"
    doubted.write_bytes((source / "stage_2_train" / f"{truths[1].slice_id}.dcm").read_bytes())
    before = contents(out)
    turned = replace(truths[2], label=(1, 0, 0, 0, 0, 1))
    write_labels(source / "stage_2_train.csv", [turned if x is truths[2] else x for x in truths])
    with caplog.at_level(logging.WARNING):
        manifest = convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert "1 slices that stand have other labels now" in caplog.text
    assert "1 slices that stand are in doubt now, as rejects.csv tells" in caplog.text
    assert manifest.rejected == {"duplicate_id": 2}
    assert {x: y for x, y in contents(out).items() if x.endswith(".tfrecord")} == {
        x: y for x, y in before.items() if x.endswith(".tfrecord")
    }


def interrupt(monkeypatch, where, what: str, source: Path, out: Path) -> None:
    """Adds to what stands, and is interrupted before the function that is named."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(where, what, stop)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out, ConvertOptions(add=True, **OPTIONS))


@pytest.fixture
def interrupted_at_the_end(source, out, truths, monkeypatch):
    """The tables are those of the whole already, the manifest is not."""
    interrupt(monkeypatch, finish_module, "write_manifest", write(source, truths[:-3]), out)
    return out


def test_interrupted_at_its_end_the_same_command_ends_it(
    interrupted_at_the_end, source, truths, tmp_path
):
    out = interrupted_at_the_end
    convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert verify(out).records == len(truths) - 3
    half = write(tmp_path / "half", truths[: 3 * PATIENTS // 2 + 1])
    convert(half, tmp_path / "quiet", ConvertOptions(**OPTIONS))
    convert(source, tmp_path / "quiet", ConvertOptions(add=True, **OPTIONS))
    assert contents(out) == contents(tmp_path / "quiet")


def test_interrupted_at_its_end_another_addition_begins_anew(
    interrupted_at_the_end, source, truths
):
    out = interrupted_at_the_end
    convert(write(source, truths), out, ConvertOptions(add=True, **OPTIONS))
    assert verify(out).records == len(truths)


def test_interrupted_on_the_way_it_goes_on(source, out, truths, monkeypatch):
    interrupt(monkeypatch, module, "finish", write(source, truths), out)
    written = shards(out)
    convert(source, out, ConvertOptions(add=True, **OPTIONS))
    assert shards(out) == written
    assert verify(out).records == len(truths)


def test_what_cannot_be_added_is_refused(source, out, tmp_path):
    def refused(kind, message, **changes):
        before = contents(out)
        with pytest.raises(kind, match=message):
            convert(source, out, ConvertOptions(add=True, **{**OPTIONS, **changes}))
        assert contents(out) == before

    refused(UsageError, "shards have --size 32 --windows brain=40/80,bone=600/2800", size=16)
    refused(UsageError, "add with the same", windows="brain")
    refused(UsageError, "add with the same", encoding="raw")
    refused(UsageError, "exclude each other", fresh=True)
    refused(UsageError, "cannot go with --group-duplicates", group_duplicates=True)
    refused(PlanError, "another --seed or --patient-key-file", seed=1)
    index = pd.read_csv(out / "index.csv", dtype=str)
    moved = index.assign(split=index["split"].map({"train": "val", "val": "test", "test": "train"}))
    moved.to_csv(tmp_path / "moved.csv", index=False)
    refused(PlanError, "moves 9 patients", split=str(tmp_path / "moved.csv"))
    (out / "index.csv").write_text("damaged", encoding="utf-8")
    refused(StandingError, r"index\.csv: is not the manifest's; give --fresh")


def test_where_nothing_stands_it_is_a_first_conversion(source, out, tmp_path):
    convert(source, tmp_path / "new", ConvertOptions(add=True, **OPTIONS))
    assert contents(tmp_path / "new") == contents(out)
    with pytest.raises(InputError, match="holds shards of other data or options"):
        convert(source, out, ConvertOptions(**{**OPTIONS, "shard_size": 3}))

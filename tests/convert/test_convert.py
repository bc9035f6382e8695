"""Shards hold every usable slice once, split by patient, with the same bytes on every run."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.support.baseline_processor import baseline_environment
from tests.support.rsna_folder import write_rsna, write_slice
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.classes import LABELS
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import Split, read_manifest
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.engines.local import local_engine
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.records.schema import decode_example
from tfrecords_tools.records.tfrecord import read_records
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.verify import verify
from tfrecords_tools.windows import parse_windows, window_slice

OPTIONS = ConvertOptions(size=32, split="0.6,0.2,0.2", shard_size=40, workers=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "rsna-ich"
    synth(folder, patients=30, slices=5, size=48, seed=3, workers=2)
    (folder / "stage_2_train" / "notes.txt").write_text("not a DICOM file")
    return folder


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "shards"
    return out, convert(source, out, OPTIONS)


@pytest.fixture(autouse=True)
def _without_processes(shards, monkeypatch):
    """Except for the shards that the others are compared with."""
    monkeypatch.setattr(module, "local_engine", serial_engine)


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def examples(folder: Path):
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        for record in read_records(folder / shard.name):
            yield shard, decode_example(record, manifest.format.encoding)


def test_every_slice_is_there_once_with_its_own_pixels_and_label(source, shards):
    out, _ = shards
    labels = read_labels(source / "stage_2_train.csv")
    windows = parse_windows("brain,subdural,bone")
    found = {}
    for _, example in examples(out):
        assert example.slice_id not in found
        found[example.slice_id] = example
    rejected = pd.read_csv(out / "rejects.csv")
    lost = {Path(path).stem for path in rejected["path"]} - {"notes"}
    assert found.keys() | lost == set(labels.index)
    assert not found.keys() & lost
    for slice_id, example in found.items():
        ct = read_slice(source / "stage_2_train" / f"{slice_id}.dcm")
        np.testing.assert_array_equal(example.image, window_slice(ct.hu, 32, windows))
        assert example.label == tuple(labels.loc[slice_id])
        assert example.study_id == ct.header.study_id


def test_rejected_files_have_their_reason(shards):
    out, manifest = shards
    rejects = pd.read_csv(out / "rejects.csv")
    assert sorted(rejects["reason"]) == ["not_dicom", "truncated_pixels"]
    assert manifest.rejected == {"not_dicom": 1, "truncated_pixels": 1}


def test_no_patient_is_in_two_splits(source, shards):
    out, _ = shards
    index = pd.read_csv(out / "index.csv").set_index("slice_id")
    patient = {}
    for slice_id, split in index["split"].items():
        path = source / "stage_2_train" / f"{slice_id}.dcm"
        patient.setdefault(read_slice(path).header.patient_id, set()).add(split)
    assert all(len(splits) == 1 for splits in patient.values())
    assert set(index["split"]) == {"train", "val", "test"}


def test_the_counts_of_the_manifest_are_those_that_tensorflow_reads(shards):
    out, manifest = shards
    for name, split in manifest.splits.items():
        paths = [str(out / shard.name) for shard in manifest.split_shards(name)]
        count = sum(1 for _ in tf.data.TFRecordDataset(paths))
        assert count == split.slices == sum(x.records for x in manifest.split_shards(name))
    labels = [(shard.name.split("-")[0], x.label) for shard, x in examples(out)]
    for name, split in manifest.splits.items():
        totals = np.sum([label for where, label in labels if where == name], axis=0)
        assert dict(zip(LABELS, map(int, totals), strict=True)) == split.positives


def test_the_number_of_workers_does_not_change_the_bytes(source, shards, tmp_path, monkeypatch):
    out, _ = shards
    monkeypatch.setattr(module, "local_engine", local_engine)
    convert(source, tmp_path / "one", replace(OPTIONS, workers=1))
    assert files(out) == files(tmp_path / "one")


def test_a_processor_without_fma_gives_the_same_bytes(source, tmp_path):
    """Slices as large as they are stored, where ties of grey levels are as frequent as can be."""
    options = ("--size", "48", "--split", "0.6,0.2,0.2", "--shard-size", "40", "--workers", "1")
    command = [sys.executable, "-m", "ich_keras", "convert", source, "--out", tmp_path / "baseline"]
    subprocess.run([*command, *options, "--quiet"], env=baseline_environment(), check=True)
    convert(source, tmp_path / "here", replace(OPTIONS, size=48))
    assert files(tmp_path / "baseline") == files(tmp_path / "here")


def test_no_paths_of_the_machine_are_written(shards, source):
    out, _ = shards
    for name, content in files(out).items():
        assert str(source).encode() not in content, name
        assert str(out).encode() not in content, name
        assert not name.startswith(".")


def test_patients_are_identified_by_a_hash(source, shards, tmp_path):
    out, _ = shards
    patients = {
        read_slice(source / "stage_2_train" / f"{i}.dcm").header.patient_id
        for i in pd.read_csv(out / "index.csv")["slice_id"]
    }
    everything = b"".join(files(out).values())
    assert not [name for name in patients if name.encode() in everything]
    key = tmp_path / "key"
    key.write_bytes(b"secret of the hospital")
    convert(source, tmp_path / "keyed", replace(OPTIONS, patient_key_file=key))
    one = pd.read_csv(out / "index.csv")
    other = pd.read_csv(tmp_path / "keyed" / "index.csv")
    assert not set(one["patient_key"]) & set(other["patient_key"])
    assert not set(one["slice_id"]) & set(other["slice_id"])
    keyed = b"".join(files(tmp_path / "keyed").values())
    assert b"secret of the hospital" not in keyed


def test_a_published_split_is_reproduced_from_its_index(source, shards, tmp_path):
    out, manifest = shards
    other = replace(OPTIONS, split=str(out / "index.csv"), seed=9)
    again = convert(source, tmp_path / "again", other)
    assert again.splits == manifest.splits
    ours, theirs = (pd.read_csv(x / "index.csv") for x in (tmp_path / "again", out))
    assert list(ours["slice_id"]) == list(theirs["slice_id"])
    assert list(ours["split"]) == list(theirs["split"])


def test_slices_that_a_split_file_does_not_name_are_rejected_and_counted(source, shards, tmp_path):
    index = pd.read_csv(shards[0] / "index.csv")
    left_out = index["study_id"].unique()[:3]
    named = index[~index["study_id"].isin(left_out)]
    named[["study_id", "split"]].to_csv(tmp_path / "split.csv", index=False)
    options = replace(OPTIONS, split=str(tmp_path / "split.csv"))
    manifest = convert(source, tmp_path / "out", options)
    assert manifest.rejected["no_split"] == len(index) - len(named)
    assert sum(x.slices for x in manifest.splits.values()) == len(named)
    verify(tmp_path / "out")


def test_patients_with_an_identical_slice_stay_together(tmp_path):
    """A slice of two patients would be trained on in one split and evaluated in another."""
    truths = list(write_rsna(tmp_path / "rsna", patients=30).values())
    folder = tmp_path / "rsna" / "stage_2_train"
    for patient in range(0, 20, 2):
        picture, twin = truths[3 * patient], truths[3 * (patient + 1)]
        write_slice(folder / f"{twin.slice_id}.dcm", replace(twin, hu=picture.hu))
    options = replace(OPTIONS, split="0.5,0.25,0.25")

    def torn(out: Path) -> int:
        split = pd.read_csv(out / "index.csv").set_index("slice_id")["split"]
        pairs = [(truths[3 * p].slice_id, truths[3 * (p + 1)].slice_id) for p in range(0, 20, 2)]
        return sum(split[one] != split[other] for one, other in pairs)

    convert(tmp_path / "rsna", tmp_path / "apart", options)
    assert torn(tmp_path / "apart")
    convert(tmp_path / "rsna", tmp_path / "together", replace(options, group_duplicates=True))
    assert not torn(tmp_path / "together")


def test_a_complete_conversion_is_left_alone_and_another_is_refused(source, shards):
    out, manifest = shards
    before = files(out)
    assert convert(source, out, OPTIONS) == manifest
    with pytest.raises(UsageError, match="holds shards of other data or options"):
        convert(source, out, replace(OPTIONS, size=16))
    assert files(out) == before


def test_changed_labels_are_noticed(source, shards, tmp_path):
    other = tmp_path / "source"
    shutil.copytree(source, other)
    table = other / "stage_2_train.csv"
    lines = table.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.endswith("_epidural,0"))
    slice_id = lines[place].split("_epidural")[0]
    changed = [
        line[:-1] + "1" if line.startswith((f"{slice_id}_epidural", f"{slice_id}_any")) else line
        for line in lines
    ]
    table.write_text("\n".join(changed) + "\n")
    with pytest.raises(UsageError, match="holds shards of other data or options"):
        convert(other, shards[0], OPTIONS)


def test_a_folder_in_use_is_refused(source, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no shards"):
        convert(source, tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("out", "unlabelled"), [("stage_2_train/out", False), ("out", True), (".", True)]
)
def test_an_output_folder_inside_the_source_is_refused(tmp_path, out, unlabelled):
    """A resumed conversion would read its own shards as input."""
    write_rsna(tmp_path / "rsna", patients=2)
    place = tmp_path / "rsna" / out
    with pytest.raises(UsageError, match=r"which is read; choose another|holds no shards"):
        convert(tmp_path / "rsna", place, replace(OPTIONS, unlabelled=unlabelled))
    assert not list(place.glob("*.tfrecord"))


def test_a_folder_with_another_layout_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected stage_2_train\.csv beside the folder"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"split": "0.5,0.5"}, "expected three fractions"),
        ({"split": "0.5,0.2,0.2"}, "sum to 1"),
        ({"windows": "brian"}, "unknown window 'brian'"),
        ({"encoding": "png", "windows": "brain,bone"}, "PNG holds 1, 3 or 4 channels"),
    ],
)
def test_invalid_options_are_refused(source, tmp_path, option, message):
    with pytest.raises(UsageError, match=message):
        convert(source, tmp_path / "out", replace(OPTIONS, **option))
    assert not (tmp_path / "out").exists()


def test_slices_without_labels_are_rejected_or_converted_as_unlabelled(source, tmp_path):
    other = tmp_path / "source"
    shutil.copytree(source, other)
    table = other / "stage_2_train.csv"
    lines = table.read_text().splitlines()
    gone = lines[1].split("_epidural")[0]
    kept = [line for line in lines if not line.startswith(gone)]
    table.write_text("\n".join([*kept, *(f"ID_fffffffff_{label},0" for label in LABELS)]) + "\n")
    manifest = convert(other, tmp_path / "out", OPTIONS)
    assert manifest.rejected["no_label"] == 1
    assert manifest.labels_without_files == 1
    manifest = convert(
        source / "stage_2_train",
        tmp_path / "bare",
        replace(OPTIONS, unlabelled=True),
    )
    assert set(manifest.splits) == {"unlabelled"}
    assert all(example.label is None for _, example in examples(tmp_path / "bare"))
    assert verify(tmp_path / "bare").slices == manifest.splits["unlabelled"].slices


def test_pipes_and_links_to_folders_are_rejected(tmp_path):
    """Reading a pipe would block, and a link to a folder would be skipped silently."""
    root = tmp_path / "rsna"
    write_rsna(root, patients=4)
    (tmp_path / "elsewhere").mkdir()
    (root / "stage_2_train" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "stage_2_train" / "broken.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "stage_2_train" / "pipe")
    manifest = convert(root, tmp_path / "out", OPTIONS)
    assert manifest.rejected == {"not_dicom": 3}
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    assert [Path(path).name for path in rejects["path"]] == ["broken.dcm", "linked", "pipe"]
    assert rejects["detail"].str.contains("is no regular file").all()


def test_the_test_folder_becomes_the_unlabelled_split(tmp_path):
    truths = write_rsna(tmp_path / "rsna", patients=12, test_patients=2)
    out = tmp_path / "out"
    manifest = convert(tmp_path / "rsna", out, OPTIONS)
    assert list(manifest.splits) == ["train", "val", "test", "unlabelled"]
    assert manifest.pixel_mm == 0.5  # as the slices are neither padded nor resampled
    assert manifest.splits["unlabelled"] == Split(slices=6, patients=2, positives={})
    index = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)
    for row in index.itertuples():
        truth = truths[row.slice_id]
        assert float(row.z_mm) == truth.z
        assert float(row.pixel_mm) == 0.5
        values = tuple(getattr(row, label) for label in LABELS)
        assert values == (("",) * 6 if row.split == "unlabelled" else tuple(map(str, truth.label)))
    for shard, example in examples(out):
        unlabelled = shard.name.startswith("unlabelled")
        assert example.label == (None if unlabelled else truths[example.slice_id].label)


def test_a_renamed_file_is_rejected_instead_of_getting_the_label_of_another(source, tmp_path):
    other = tmp_path / "source"
    shutil.copytree(source, other)
    names = sorted((other / "stage_2_train").glob("ID_*.dcm"))
    names[0].rename(other / "swap")
    names[1].rename(names[0])
    (other / "swap").rename(names[1])
    manifest = convert(other, tmp_path / "out", OPTIONS)
    assert manifest.rejected["id_mismatch"] == 2


def test_an_error_explains_why_no_slice_is_usable(tmp_path):
    (tmp_path / "stage_2_train").mkdir()
    (tmp_path / "stage_2_train" / "a.dcm").write_text("x")
    rows = "".join(f"ID_1_{label},0\n" for label in LABELS)
    (tmp_path / "stage_2_train.csv").write_text("ID,Label\n" + rows)
    with pytest.raises(InputError, match=r"no usable slice: not_dicom \(1\)"):
        convert(tmp_path, tmp_path / "out", OPTIONS)


def test_every_real_file_is_converted_or_rejected(realdata, tmp_path, capfd):
    manifest = convert(realdata, tmp_path / "out", replace(OPTIONS, unlabelled=True))
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    found = [path for path in realdata.rglob("*") if path.is_file()]
    assert manifest.splits["unlabelled"].slices + len(rejects) == len(found)
    assert "Warning" not in capfd.readouterr().err
    for path, reason in zip(rejects["path"], rejects["reason"], strict=True):
        if reason != "duplicate_id":  # as one slice in several transfer syntaxes is
            assert _reason(realdata / path) == reason, path


def test_the_pixels_of_a_real_slice(realdata, tmp_path):
    folder = realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"
    convert(folder, tmp_path / "out", replace(OPTIONS, unlabelled=True))
    hu = {ct.header.slice_id: ct.hu for ct in map(read_slice, folder.glob("*.dcm"))}
    windows = parse_windows("brain,subdural,bone")
    for _, example in examples(tmp_path / "out"):
        expected = window_slice(hu.pop(example.slice_id), 32, windows)
        np.testing.assert_array_equal(example.image, expected)
    assert not hu


def _reason(path: Path) -> str | None:
    """Why a file is rejected, or None."""
    try:
        read_slice(path)
    except RejectedSlice as rejection:
        return rejection.reason
    return None

"""`doctor` finds what is installed and what is wrong, and names a fix."""

import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from ich_keras.cli import doctor
from tests.support import program
from tests.support.rsna_folder import write_rsna
from tfrecords_tools.dicom.decoders import Plugin


def findings(tmp_path: Path, *, data: Path | None = None, shards: Path | None = None):
    nowhere = tmp_path / "nowhere"
    found = list(doctor.examine(data or nowhere, shards or nowhere, tmp_path / "runs"))
    return {finding.check: finding for finding in found}


def test_each_finding_that_is_not_ok_has_a_fix(tmp_path):
    for finding in findings(tmp_path).values():
        assert bool(finding.fix) == (finding.state != "ok"), finding


def test_versions_are_those_that_are_loaded(tmp_path):
    found = findings(tmp_path)
    assert version("ich-keras") in found["ich-keras"].result
    assert tf.__version__ in found["TensorFlow"].result
    assert keras.__version__ in found["TensorFlow"].result


def test_files_are_counted_with_the_disk_space_of_their_shards(tmp_path, monkeypatch):
    data = tmp_path / "data"
    slices = write_rsna(data, patients=2, test_patients=1)
    found = findings(tmp_path, data=data)
    assert "6 files with labels, 3 without" in found["data"].result
    assert len(slices) == 9
    assert found["disk"].state == "ok"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**5))
    short = findings(tmp_path, data=data)["disk"]
    assert short.state == "failed"
    assert "--size 256" in short.fix


def test_existing_shards_need_no_disk_space(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    found = findings(tmp_path, shards=shards)
    assert found["shards"].state == "ok"
    assert "train 28, val 14" in found["shards"].result
    assert found["disk"].state == "ok"


def test_a_damaged_manifest_fails(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    assert findings(tmp_path, shards=tmp_path)["shards"].state == "failed"


def test_a_data_set_without_its_labels_fails(tmp_path):
    (tmp_path / "stage_2_train").mkdir()
    found = findings(tmp_path, data=tmp_path)["data"]
    assert found.state == "failed"
    assert "stage_2_train.csv" in found.result


def test_a_missing_decoder_is_named_with_its_extra(tmp_path, monkeypatch):
    missing = {syntax: Plugin("not_there", "some-package") for syntax in list(doctor.PLUGINS)[:2]}
    monkeypatch.setattr(doctor, "PLUGINS", doctor.PLUGINS | missing)
    found = findings(tmp_path)["codecs"]
    assert found.state == "note"
    assert "RLE Lossless (some-package)" in found.result
    assert "ich-keras[codecs]" in found.fix


def test_a_version_out_of_bounds_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["pydicom>=99", "click>=1", "no-such-thing"])
    found = findings(tmp_path)
    assert found["pydicom"].result == f"{version('pydicom')}, needed >=99"
    assert found["no-such-thing"].result == "is not installed"
    assert "click" not in found


def test_a_folder_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "runs").write_text("a file")
    found = findings(tmp_path)["runs"]
    assert found.state == "failed"
    assert "Not a directory" in found.result


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_the_command_fails_if_a_requested_gpu_is_missing(tmp_path):
    done = program.run(
        ["doctor", "--data", "x", "--shards", "x"],
        cwd=tmp_path,
        environment={"PATH": "", "CUDA_VISIBLE_DEVICES": "0", "NO_COLOR": "1", "FORCE_COLOR": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "ich-keras: 1 of the checks failed: GPU"
    assert "failed  GPU" in done.stdout.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b[3" not in done.stdout  # no colour

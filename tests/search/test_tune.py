"""A search from its file to its table, best experiment and report; what it refuses."""

import json
import os
import shutil
import socket
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from filelock import FileLock

from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunError, RunFolder, write_json
from ich_keras.search.config import load_search
from ich_keras.search.training_process import Outcome, Trainer
from ich_keras.search.tune import JOURNAL_NAME, LOCK_NAME, tune
from ich_keras.search.worker import role
from ich_keras.training import devices
from ich_keras.training.fit import TrainingError, fit
from tests.support.shard_files import write_shards
from tests.support.small_search import start, trained_here, trials, write_grid
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tfrecords_tools.errors import InputError, UsageError

SEEDS = "samples_per_point: 2"
RATES = "1e-3, 1e-2"


def write_pair(folder, limits=SEEDS):
    """A grid of two points, each trained twice."""
    return write_grid(folder, RATES, limits)


@pytest.fixture(scope="module")
def undisturbed(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    search = load_search(write_pair(folder))
    with trained_here():
        return folder / "out", tune(search, shards, folder / "out")


def test_a_grid_tries_every_point_and_the_best_has_the_lowest_mean_over_seeds(undisturbed):
    folder, result = undisturbed
    table = trials(folder)
    assert sorted(table["training.learning_rate"]) == [1e-3, 1e-2]
    samples = table[["sample_1", "sample_2"]].to_numpy()
    np.testing.assert_allclose(table["val_loss"], samples.mean(axis=1))
    np.testing.assert_allclose(table["spread"], samples.std(axis=1, ddof=1))
    assert result.value == table["val_loss"].min()


def test_each_sample_is_a_run_whose_last_validation_is_in_the_table(undisturbed):
    folder, _ = undisturbed
    seeds = set()
    for row in trials(folder).itertuples():
        for number in (1, 2):
            run = RunFolder(folder / "trials" / row.trial / f"sample_{number}")
            last = pd.read_csv(run.history).iloc[-1]
            assert getattr(row, f"sample_{number}") == pytest.approx(last["val_loss"], rel=1e-12)
            seeds.add(load_experiment(str(run.experiment)).seed)
    assert len(seeds) == 2


@pytest.mark.usefixtures("undrawn")
def test_best_yaml_reproduces_the_result_of_the_trial(undisturbed, shards, tmp_path):
    folder, result = undisturbed
    best = load_experiment(str(folder / "best.yaml"))
    assert best.training.learning_rate == result.point["training.learning_rate"]
    again = fit(best, shards, RunFolder(tmp_path / "run"))
    table = trials(folder)
    assert again.validations[-1]["val_loss"] == pytest.approx(
        table.loc[table["val_loss"].idxmin(), "sample_1"], rel=1e-12
    )


def test_the_report_has_the_statement_and_every_trial(undisturbed):
    folder, result = undisturbed
    page = (folder / "report.html").read_text()
    assert result.statement in page
    assert page.count("<td>000") == 2
    assert page.count("data:image/png;base64,") == 2


def test_a_finished_search_trains_nothing_when_resumed(undisturbed, shards):
    folder, result = undisturbed
    written = {x: x.stat().st_mtime_ns for x in folder.rglob("sample_*/history.csv")}
    search = load_search(write_pair(folder.parent))
    assert tune(search, shards, folder) == result
    assert {x: x.stat().st_mtime_ns for x in folder.rglob("sample_*/history.csv")} == written


def test_a_second_search_at_the_same_time_is_refused(undisturbed, shards):
    folder, _ = undisturbed
    search = load_search(write_pair(folder.parent))
    with (
        FileLock(folder / LOCK_NAME),
        pytest.raises(UsageError, match="another search is running"),
    ):
        tune(search, shards, folder)


def test_a_folder_of_something_else_is_left_alone(shards, tmp_path):
    search = load_search(write_grid(tmp_path))
    with pytest.raises(UsageError, match="is not empty and holds no search"):
        tune(search, shards, tmp_path)
    assert {x.name for x in tmp_path.iterdir()} == {"base.yaml", "search.yaml"}


@pytest.mark.slow
def test_the_first_error_of_a_worker_ends_the_search(tmp_path):
    shards = write_shards(tmp_path / "shards", train=28).folder  # none to validate on
    process = start(write_grid(tmp_path), shards, tmp_path / "out", "--workers", "2")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "a training needs labelled slices of train and of val" in errors.splitlines()[-1]
    assert '"end"' not in (tmp_path / "out" / JOURNAL_NAME).read_text()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [("refused", InputError, "^no labels$"), ("broken", RunError, "^a trial broke: no labels$")],
)
def test_the_first_error_stops_the_trainings_of_all_workers(
    shards, tmp_path, monkeypatch, state, error, message
):
    def train(trainer, sample):
        if sample.experiment.training.learning_rate == 1e-3:
            write_json(sample.outcome, asdict(Outcome(state, "no labels")))
        else:
            assert trainer.stop.wait(60)
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train", train)
    with pytest.raises(error, match=message):
        tune(load_search(write_grid(tmp_path)), shards, tmp_path / "out", workers=2)
    assert '"end"' not in (tmp_path / "out" / JOURNAL_NAME).read_text()


def test_kerastuners_variables_are_required_together(undisturbed, shards, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker1")
    with pytest.raises(UsageError, match="KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT: not set"):
        role()


def test_a_port_in_use_is_one_line(shards, tmp_path, monkeypatch):
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(used.getsockname()[1]))
        with pytest.raises(RunError, match=r"the chief cannot listen: .* choose another port"):
            tune(load_search(write_grid(tmp_path)), shards, tmp_path / "out")


def test_another_search_in_the_same_folder_is_refused(undisturbed, shards):
    folder, _ = undisturbed
    search = load_search(write_pair(folder.parent, "samples_per_point: 3"))
    with pytest.raises(
        RunError, match=r"differs in samples_per_point 2, now 3; give another --run"
    ):
        tune(search, shards, folder)


def test_a_search_of_an_older_version_resumes(undisturbed, shards, tmp_path):
    """Its journal lacks the keys that were added later."""
    folder, result = undisturbed
    shutil.copytree(folder, tmp_path / "old")
    journal = tmp_path / "old" / JOURNAL_NAME
    first, *events = journal.read_text().splitlines(keepends=True)
    identity = json.loads(first)
    del identity["validation_slices"], identity["base"]["training"]["patience"]
    identity["base"]["data"].pop("balance")
    journal.write_text(json.dumps(identity) + "\n" + "".join(events))
    search = load_search(write_pair(folder.parent))
    assert tune(search, shards, tmp_path / "old").value == result.value
    identity["hindsight"] = True
    journal.write_text(json.dumps(identity) + "\n" + "".join(events))
    with pytest.raises(RunError, match=r"unknown key hindsight.*this version cannot resume it"):
        tune(search, shards, tmp_path / "old")


def test_a_search_on_other_shards_is_refused(undisturbed, shards, tmp_path):
    folder, _ = undisturbed
    other = write_shards(tmp_path / "shards", train=28, val=14).folder
    write_manifest(other / MANIFEST_NAME, replace(read_manifest(other), fingerprint="1" * 64))
    with pytest.raises(RunError, match="differs in data_fingerprint"):
        tune(load_search(write_pair(folder.parent)), other, folder)


def test_a_trial_validates_only_at_its_last_step(undisturbed):
    folder, _ = undisturbed
    for path in folder.glob("trials/*/sample_*/history.csv"):
        history = pd.read_csv(path)
        assert history["step"].tolist() == [2, 4]
        assert history["val_loss"].notna().tolist() == [False, True]


def test_an_objective_that_does_not_exist_fails_its_trial(tmp_path):
    none = dict.fromkeys((f"val{i:04d}" for i in range(8)), (0,) * 6)
    shards = write_shards(tmp_path / "shards", labels=none, train=28, val=14).folder
    limits = "objective: val_mean_auc\nvalidation_slices: 8"
    search = load_search(write_grid(tmp_path, rates="1e-3", limits=limits))
    with trained_here(), pytest.raises(TrainingError, match="val_mean_auc does not exist"):
        tune(search, shards, tmp_path / "out")


def seen_by_tensorflow(monkeypatch, count):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [object()] * count)


@pytest.mark.parametrize(
    ("listed", "seen", "usable"),
    [
        (None, 0, []),
        (None, 2, ["0", "1"]),
        ("", 0, []),
        ("-1", 0, []),
        ("-1,-1", 0, []),
        ("3, 5", 2, ["3", "5"]),
        ("0,7", 1, ["0"]),  # there is no eighth
        ("0,-1,1", 1, ["0"]),
        ("0", 0, []),  # no driver
        ("0,0", 0, ["0", "0"]),  # CUDA sees none where one is listed twice
        ("MIG-a,MIG-b", 1, ["MIG-a", "MIG-b"]),  # and one instance a process
    ],
)
def test_usable_gpus_are_those_that_are_listed_and_seen(monkeypatch, listed, seen, usable):
    seen_by_tensorflow(monkeypatch, seen)
    variables = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert devices.usable_gpus(variables) == usable


def test_each_worker_has_its_own_gpu():
    assert devices.devices_of(2, ["3", "5", "6"]) == [
        {"CUDA_VISIBLE_DEVICES": "3"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    assert devices.devices_of(3, []) == [{}, {}, {}]  # they share the cores


def test_workers_share_the_memory_of_a_gpu_that_is_listed_twice():
    assigned = devices.devices_of(3, ["0", "0", "1"])
    assert [x["CUDA_VISIBLE_DEVICES"] for x in assigned] == ["0", "0", "1"]
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"  # of every process of this package


@pytest.mark.parametrize(
    ("listed", "seen", "shared"), [(None, 1, "0,0,0"), ("4", 1, "4,4,4"), ("2,3", 2, "2,3,2")]
)
def test_more_workers_than_gpus_are_refused_before_anything_is_written(
    shards, tmp_path, monkeypatch, listed, seen, shared
):
    seen_by_tensorflow(monkeypatch, seen)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    search = load_search(write_grid(tmp_path))
    advice = rf"--workers 3: .* give --workers {seen}, or .* CUDA_VISIBLE_DEVICES={shared}$"
    with pytest.raises(UsageError, match=advice):
        tune(search, shards, tmp_path / "out", workers=3)
    assert not (tmp_path / "out").exists()

"""A search goes on where it was killed, makes no trial twice, and says how sure its best is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from ich_keras.config import load_experiment, load_search
from ich_keras.run_folder import RunError, RunFolder
from ich_keras.training import fit
from ich_keras.tuning import LOCK_NAME, role, tune
from tests.shard_files import write_shards
from tests.small_search import trials, write_grid
from tfrecords_tools.errors import UsageError

SEEDS = "samples_per_point: 2"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=28, val=14).folder


def events(folder: Path, kind: str) -> list[str]:
    lines = (folder / "journal.jsonl").read_text().splitlines()[1:]
    return [x["trial"] for x in map(json.loads, lines) if x["event"] == kind]


def start(path: str, shards: Path, folder: Path, *options: str) -> subprocess.Popen:
    """`ich-keras tune`, as a process group of its own."""
    command = [sys.executable, "-m", "ich_keras", "tune", path]
    places = ["--shards", str(shards), "--run", str(folder)]
    return subprocess.Popen(
        [*command, *places, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    search = load_search(write_grid(folder, limits=SEEDS))
    return folder / "out", tune(search, shards, folder / "out")


def test_a_grid_is_every_point_and_the_best_has_the_lowest_mean_of_its_seeds(undisturbed):
    folder, result = undisturbed
    table = trials(folder)
    assert sorted(table["training.learning_rate"]) == [1e-3, 3e-3, 1e-2]
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


def test_best_yaml_gives_the_result_of_the_trial_again(undisturbed, shards, tmp_path):
    folder, result = undisturbed
    best = load_experiment(str(folder / "best.yaml"))
    assert best.training.learning_rate == result.point["training.learning_rate"]
    again = fit(best, shards, RunFolder(tmp_path / "run"))
    table = trials(folder)
    assert again.validations[-1]["val_loss"] == pytest.approx(
        table.loc[table["val_loss"].idxmin(), "sample_1"], rel=1e-12
    )


def test_the_page_tells_the_statement_and_every_trial(undisturbed):
    folder, result = undisturbed
    page = (folder / "report.html").read_text()
    assert result.statement in page
    assert page.count("<td>000") == 3
    assert page.count("data:image/png;base64,") == 2


def test_a_search_begun_again_trains_nothing(undisturbed, shards):
    folder, result = undisturbed
    written = {x: x.stat().st_mtime_ns for x in folder.rglob("sample_*/history.csv")}
    search = load_search(write_grid(folder.parent, limits=SEEDS))
    assert tune(search, shards, folder) == result
    assert {x: x.stat().st_mtime_ns for x in folder.rglob("sample_*/history.csv")} == written


def test_a_second_search_at_the_same_time_is_refused(undisturbed, shards):
    folder, _ = undisturbed
    search = load_search(write_grid(folder.parent, limits=SEEDS))
    with (
        FileLock(folder / LOCK_NAME),
        pytest.raises(UsageError, match="another search is under way"),
    ):
        tune(search, shards, folder)


def test_a_folder_of_something_else_is_left_alone(shards, tmp_path):
    search = load_search(write_grid(tmp_path))
    with pytest.raises(UsageError, match="is not empty and holds no search"):
        tune(search, shards, tmp_path)
    assert {x.name for x in tmp_path.iterdir()} == {"base.yaml", "search.yaml"}


def test_workers_that_all_end_say_why(tmp_path):
    shards = write_shards(tmp_path / "shards", train=28).folder  # none to validate on
    process = start(write_grid(tmp_path), shards, tmp_path / "out", "--workers", "2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "every worker ended before its time" in errors
    assert "a training needs labelled slices of train and of val" in errors


def test_half_of_kerastuners_variables_are_a_mistake(undisturbed, shards, monkeypatch):
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
    search = load_search(write_grid(folder.parent, limits="samples_per_point: 3"))
    with pytest.raises(RunError, match="another search, which differs in samples_per_point"):
        tune(search, shards, folder)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "two workers"])
def test_killed_it_goes_on_to_the_same_table(undisturbed, shards, tmp_path, options):
    """SIGKILL of whoever leads, in the second trial; whoever trains ends with it."""
    path = write_grid(tmp_path, limits=SEEDS)
    folder = tmp_path / "out"
    process = start(path, shards, folder, *options)
    wait_for(lambda: (folder / "journal.jsonl").is_file(), process)
    wait_for(lambda: len(events(folder, "end")) == 1, process)
    wait_for(lambda: len(list(folder.glob("trials/*/sample_1/history.csv"))) > 1, process)
    process.kill()
    process.communicate()
    before = {x: x.stat().st_mtime_ns for x in folder.glob("trials/*/sample_*_4.json")}
    time.sleep(3)  # a training that went on without its search would write by now
    assert {x: x.stat().st_mtime_ns for x in folder.glob("trials/*/sample_*_4.json")} == before
    output, errors = start(path, shards, folder, *options).communicate(timeout=300)
    assert "best of 3 trials" in output, errors
    expected, found = trials(undisturbed[0]), trials(folder)
    scores = ["training.learning_rate", "sample_1", "sample_2"]
    pd.testing.assert_frame_equal(
        found[scores].sort_values(scores, ignore_index=True),
        expected[scores].sort_values(scores, ignore_index=True),
    )
    assert all(x.stat().st_mtime_ns == time for x, time in before.items())
    assert sorted(events(folder, "begin")) == sorted(events(folder, "end"))
    assert len(set(events(folder, "end"))) == len(events(folder, "end")) == 3


def test_a_worker_that_is_killed_costs_nothing(undisturbed, shards, tmp_path):
    path = write_grid(tmp_path, limits=SEEDS)
    folder = tmp_path / "out"
    process = start(path, shards, folder, "--workers", "2")
    wait_for(lambda: len(list(folder.glob("trials/*/sample_1/history.csv"))) > 1, process)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert "best of 3 trials" in output, errors
    assert "is gone, trial" in errors
    assert sorted(trials(folder)["val_loss"]) == sorted(trials(undisturbed[0])["val_loss"])


def worker_of(pid: int) -> int:
    """The first worker that a search has started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "search_worker" in command:
            return int(entry.name)
    raise AssertionError("no worker")

"""An interrupted search resumes, repeats no trial, and gives the scores of `fit`."""

import json
import os
import signal
import socket
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunFolder
from ich_keras.search import worker
from ich_keras.training.fit import fit
from tests.support.pictures import dots
from tests.support.program import Program
from tests.support.small_search import start, trials, write_grid

SLOW = pytest.mark.slow
TWO_WORKERS = ("--workers", "2")
TWO, THREE = (1e-3, 3e-3), (1e-3, 3e-3, 1e-2)  # learning rates, each a trial


def grid(folder: Path, rates: tuple[float, ...]) -> str:
    return write_grid(folder, rates=", ".join(map(str, rates)))


@pytest.fixture(scope="module")
def expected(shards, tmp_path_factory):
    """Returns the last validation loss of each learning rate, each trained alone."""
    folder = tmp_path_factory.mktemp("alone")
    grid(folder, TWO)

    @cache
    def loss(rate: float) -> float:
        alone = load_experiment(str(folder / "base.yaml"), [f"training.learning_rate={rate}"])
        with dots():
            result = fit(alone, shards, RunFolder(folder / str(rate)))
        return result.validations[-1]["val_loss"]

    return lambda rates: {rate: loss(rate) for rate in rates}


def events(folder: Path, kind: str) -> list[str]:
    lines = (folder / "journal.jsonl").read_text().splitlines()[1:]
    return [x["trial"] for x in map(json.loads, lines) if x["event"] == kind]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "rates", "how"),
    [
        pytest.param((), TWO, signal.SIGKILL, id="alone"),
        pytest.param(TWO_WORKERS, THREE, signal.SIGKILL, id="two workers", marks=SLOW),
        pytest.param(TWO_WORKERS, THREE, signal.SIGINT, id="two workers, Ctrl-C", marks=SLOW),
    ],
)
def test_an_interrupted_search_resumes_to_the_same_table(
    expected, shards, tmp_path, options, rates, how
):
    """The search is interrupted in its second trial; its trainings end with it."""
    path = grid(tmp_path, rates)
    folder = tmp_path / "out"
    process = start(path, shards, folder, *options)
    wait_for(lambda: (folder / "journal.jsonl").is_file(), process)
    wait_for(lambda: len(events(folder, "end")) >= 1, process)
    wait_for(lambda: len(list(folder.glob("trials/*/sample_1/history.csv"))) > 1, process)
    process.send_signal(how)
    process.communicate()
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    ended = events(folder, "end")
    before = {x: x.stat().st_mtime_ns for x in folder.glob("trials/*/sample_*_4.json")}
    time.sleep(3)  # a training that went on without its search would write by now
    assert {x: x.stat().st_mtime_ns for x in folder.glob("trials/*/sample_*_4.json")} == before
    output, errors = start(path, shards, folder, *options).communicate(timeout=300)
    assert f"best of {len(rates)} trials" in output, errors
    table = trials(folder).set_index("training.learning_rate")["val_loss"]
    assert table.to_dict() == pytest.approx(expected(rates), rel=1e-12)
    assert all(x.stat().st_mtime_ns == time for x, time in before.items())
    assert events(folder, "end")[: len(ended)] == ended
    assert sorted(events(folder, "begin")) == sorted(events(folder, "end"))
    assert len(set(events(folder, "end"))) == len(events(folder, "end")) == len(rates)


def impatient() -> None:
    """Shortens the time after which a chief drops a silent worker."""
    worker.SIGN_OF_LIFE_S, worker.SILENT_S = 1, 5


@SLOW
def test_a_worker_on_another_machine_that_is_killed_costs_nothing(expected, shards, tmp_path):
    path = grid(tmp_path, TWO)
    folder = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    command = ["tune", path, "--shards", shards, "--run", folder]
    chief, *workers = (
        Program(
            command,
            environment=os.environ | address | {"KERASTUNER_TUNER_ID": name},
            first=impatient,
        )
        for name in ("chief", "one", "two")
    )
    wait_for(lambda: len(list(folder.glob("trials/*/sample_1/history.csv"))) > 1, chief)
    workers[0].kill()
    output, errors = chief.communicate(timeout=300)
    assert "best of 2 trials" in output, errors
    assert "is gone, trial" in errors
    table = trials(folder).set_index("training.learning_rate")["val_loss"].to_dict()
    assert table == pytest.approx(expected(TWO), rel=1e-12)


def watch_the_chief() -> None:
    worker.SILENT_S = worker.SIGN_OF_LIFE_S = 0.5
    worker._end_without_a_chief()


def test_a_worker_whose_chief_is_gone_ends(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as chief:
        address = {
            "KERASTUNER_TUNER_ID": "worker",
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(chief.getsockname()[1]),
        }
        process = Program([], environment=os.environ | address, first=watch_the_chief)
        chief.accept()[0].close()
        assert process.poll() is None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is gone; start all processes again" in errors

"""A run that was killed, or had no space left, ends with the bits of one that was not."""

import json
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.model.network import load_model
from ich_keras.run.folder import RunFolder
from ich_keras.run.state import STATE_NAME, read_position
from tests.support import program, small_run
from tests.support.pictures import draw_dots
from tests.support.shard_files import write_shards

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=56, val=28).folder


@pytest.fixture(scope="module")
def undisturbed(shards, tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("runs") / "undisturbed")
    small_run.train(shards, run.path)
    return run


def variables(run: RunFolder) -> dict[str, np.ndarray]:
    """Weights, statistics, dropout seeds and the optimizer's own, as the run ended."""
    with np.load(run.last / STATE_NAME, allow_pickle=False) as state:
        return {name: state[name] for name in state.files if name != "position"}


def assert_same_end(run: RunFolder, other: RunFolder, shards: Path) -> None:
    ours, theirs = variables(run), variables(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    best = zip(load_model(run.best).weights, load_model(other.best).weights, strict=True)
    assert all(np.array_equal(one, another) for one, another in best)
    rows = [pd.read_csv(x.history).drop(columns="seconds") for x in (run, other)]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    positions = [read_position(x) for x in (run, other)]
    assert all(x.seconds > 0 for x in positions)
    assert replace(positions[0], seconds=0) == replace(positions[1], seconds=0)
    for each in (run, other):
        evaluate(each, shards, split="val")
    scores = [(x.evaluation / "val.json").read_bytes() for x in (run, other)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_run_killed_twice_ends_like_an_undisturbed_one(undisturbed, shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    for validated in (4, 8):
        process = program.Program(small_run.arguments(shards, run.path))
        while not run.position.is_file() or read_position(run).step < validated:
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    small_run.train(shards, run.path)
    assert_same_end(run, undisturbed, shards)
    sessions = json.loads(run.environment.read_text("utf-8"))["sessions"]
    steps = [session["step"] for session in sessions]
    assert steps[0] == 0
    assert set(steps[1:]) <= {4, 8}
    assert steps == sorted(steps)


def test_a_killed_run_leaves_nothing_in_the_folder_of_temporary_files(shards, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run = RunFolder(tmp_path / "run")
    process = program.Program(
        small_run.arguments(shards, run.path), environment=os.environ | {"TMPDIR": str(temporary)}
    )
    while not run.position.is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert list(temporary.iterdir()) == []


def test_ctrl_c_ends_a_run_in_one_line(shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    endless = small_run.arguments(shards, run.path, training__max_steps="1000000")
    process = program.Program(endless, first=draw_dots)
    while not run.position.is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("ich-keras: interrupted; finished work is kept")
    assert "Traceback" not in errors


def little_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_resumes(undisturbed, shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    done = program.run(small_run.arguments(shards, run.path), first=little_space)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "space left" in done.stderr.splitlines()[-1]
    small_run.train(shards, run.path)
    assert_same_end(run, undisturbed, shards)


@pytest.mark.slow
def test_a_damaged_state_is_named(undisturbed, shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    small_run.train(shards, run.path, training__max_steps="4")
    state = run.last / STATE_NAME
    state.write_bytes(state.read_bytes()[:-1000])
    done = program.run(small_run.arguments(shards, run.path, training__max_steps="4"))
    assert done.returncode == 1
    assert f"{state}: damaged" in done.stderr
    assert "Traceback" not in done.stderr

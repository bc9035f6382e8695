"""The same curve on one device, on two, and by two workers; and what does not go together."""

import json
import os
import socket
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from ich_keras.distribution import DistributionError, Workers, choose_strategy, find_workers
from ich_keras.run_folder import RunFolder
from tests import small_run
from tests.shard_files import write_shards

# Dropout masks are drawn by each device for itself, so a run with them is another run.
SAME_ON_ALL = {"model__dropout": "0.0"}
CURVES = ["loss", "accuracy", "val_loss", "val_mean_auc"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=56, val=28).folder


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "alone"
    return small_run.train(shards, run, training__strategy="one", **SAME_ON_ALL)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [x.getsockname()[1] for x in sockets]
    for each in sockets:
        each.close()
    return ports


def cluster(count: int) -> list[str]:
    """`TF_CONFIG` of each worker, all on this machine."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [json.dumps({"cluster": {"worker": addresses}, "task": task}) for task in tasks]


def start_workers(count: int, command: list[str]) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            command, env={**os.environ, "TF_CONFIG": config}, stderr=subprocess.PIPE, text=True
        )
        for config in cluster(count)
    ]


def assert_same_curves(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert list(one["step"]) == list(other["step"])
    for column in CURVES:
        np.testing.assert_allclose(one[column], other[column], rtol=1e-4, err_msg=column)


def test_two_devices_learn_like_one(alone, shards, tmp_path):
    both = small_run.train(
        shards, tmp_path / "run", devices=2, training__strategy="mirrored", **SAME_ON_ALL
    )
    assert_same_curves(alone, both)


def test_two_workers_learn_like_one(alone, shards, tmp_path):
    run = tmp_path / "run"
    for process in start_workers(2, small_run.command(shards, run, **SAME_ON_ALL)):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]
    assert_same_curves(alone, pd.read_csv(run / "history.csv"))
    assert len(list((run / "tensorboard").iterdir())) == 1  # of the chief alone


def test_a_worker_that_dies_is_one_line_of_the_other(shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    endless = small_run.command(shards, run.path, training__max_steps="1000000")
    stays, dies = start_workers(2, endless)
    while not run.position.is_file():
        assert stays.poll() is None, stays.stderr.read()
        time.sleep(0.1)
    dies.kill()
    dies.communicate()
    _, errors = stays.communicate(timeout=120)
    assert stays.returncode == 1
    said = "ich-keras: worker 0 of 2: another worker ended or cannot be reached; start the same"
    assert said in errors
    assert "Traceback" not in errors


def test_workers_are_counted_as_tf_config_names_them(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_workers() == Workers(0, 1)
    hosts = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    places = {("chief", 0): 0, ("worker", 0): 1, ("worker", 1): 2}
    for (kind, index), place in places.items():
        config = {"cluster": hosts, "task": {"type": kind, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert find_workers() == Workers(place, 3)


@pytest.mark.parametrize(
    "config",
    [
        "not json",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "cook", "index": 0}}',
    ],
)
def test_a_tf_config_that_is_none_is_one_line(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(DistributionError, match=r"^TF_CONFIG: [^\n]*expected [^\n]*$"):
        find_workers()


@pytest.mark.parametrize(("name", "count"), [("multi_worker", 1), ("one", 2), ("mirrored", 2)])
def test_a_strategy_that_does_not_fit_the_workers_is_refused(name, count):
    with pytest.raises(DistributionError, match=f"strategy is {name} and TF_CONFIG names {count}"):
        choose_strategy(name, Workers(0, count))


def test_a_batch_that_two_devices_cannot_share_is_refused(shards, tmp_path):
    command = small_run.command(shards, tmp_path, devices=2, training__strategy="mirrored")
    odd = [x.replace("batch_size=8", "batch_size=7") for x in command]
    done = subprocess.run(odd, capture_output=True, text=True)
    assert done.returncode == 1
    assert "training.batch_size 7 is not a multiple of the 2 devices; change it" in done.stderr
    assert "Traceback" not in done.stderr

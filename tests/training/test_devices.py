"""The same curve on one device and on two; workers; settings that exclude each other.

What two workers learn, and that they go on, is in test_cluster.py.
"""

import json
import os
import signal
import socket
from types import SimpleNamespace

import keras
import pytest

from ich_keras.experiment.experiment import load_experiment
from ich_keras.training.devices import (
    DistributionError,
    Workers,
    check_devices,
    find_workers,
    how_to_fix,
    resolve_strategy,
    why_expected,
)
from tests.support import program, small_run
from tests.support.curves import SAME_ON_ALL, assert_same_curves
from tests.support.shard_files import write_shards


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


def start_workers(count: int, arguments: list[str]) -> list[program.Program]:
    return [
        program.Program(arguments, environment=os.environ | {"TF_CONFIG": config})
        for config in cluster(count)
    ]


def test_two_devices_learn_like_one(alone, shards, tmp_path):
    both = small_run.train(
        shards,
        tmp_path / "run",
        first=small_run.two_devices,
        training__strategy="mirrored",
        **SAME_ON_ALL,
    )
    assert_same_curves(alone, both)


class DiesAtAnEpochsEnd(keras.callbacks.Callback):
    def on_epoch_end(self, *_arguments):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_no_worker_ends_before_the_chief_has_written_the_run(shards, tmp_path):
    """The chief dies as the last step is noted; the run cannot go on without the other."""
    dying = f"[{{path: {__name__}.DiesAtAnEpochsEnd}}]"
    settings = {"training__max_steps": "4", "training__callbacks": dying}
    chief, other = start_workers(2, small_run.arguments(shards, tmp_path / "run", **settings))
    chief.communicate(timeout=300)
    assert chief.returncode == -signal.SIGKILL
    _, errors = other.communicate(timeout=300)
    assert other.returncode == 1
    assert "worker 1 of 2: another worker ended or cannot be reached" in errors
    recorded = json.loads((tmp_path / "run" / "environment.json").read_text("utf-8"))
    assert [x["strategy"] for x in recorded["sessions"]] == ["multi_worker"]  # only of the chief


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
def test_an_invalid_tf_config_is_one_line(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(DistributionError, match=r"^TF_CONFIG: [^\n]*expected [^\n]*$"):
        find_workers()


@pytest.mark.parametrize(("name", "count"), [("multi_worker", 1), ("one", 2), ("mirrored", 2)])
def test_a_strategy_that_does_not_fit_the_workers_is_refused(name, count):
    with pytest.raises(DistributionError, match=f"strategy is {name} and TF_CONFIG names {count}"):
        resolve_strategy(name, Workers(0, count))


def test_a_batch_that_two_devices_cannot_share_is_refused(shards, tmp_path):
    settings = {"training__strategy": "mirrored", "training__batch_size": "7"}
    arguments = small_run.arguments(shards, tmp_path, **settings)
    done = program.run(arguments, first=small_run.two_devices)
    assert done.returncode == 1
    assert "training.batch_size 7 is not a multiple of the 2 devices; change it" in done.stderr
    assert "Traceback" not in done.stderr


def test_xla_on_several_devices_is_refused_at_the_start():
    """With `strategy: auto` only the machine tells how many devices there are."""
    one, two = (SimpleNamespace(num_replicas_in_sync=count) for count in (1, 2))
    config = load_experiment("demo").training
    for jit_compile in ("auto", False):
        check_devices(two, config.model_copy(update={"jit_compile": jit_compile}))
    compiled = config.model_copy(update={"jit_compile": True})
    check_devices(one, compiled)
    with pytest.raises(DistributionError, match="jit_compile is true, and there are 2 devices"):
        check_devices(two, compiled)


@pytest.mark.parametrize(
    ("variables", "driver", "reason"),
    [
        ({}, False, None),
        ({}, True, "an NVIDIA driver is loaded"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False, "CUDA_VISIBLE_DEVICES is 0"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, True, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, None),
    ],
)
def test_why_a_gpu_is_expected(tmp_path, variables, driver, reason):
    if driver:
        (tmp_path / "version").touch()
    assert why_expected(variables, driver=tmp_path / "version") == reason


def test_what_to_do_about_a_gpu_depends_on_what_is_missing(tmp_path):
    driver, container = tmp_path / "driver", tmp_path / "container"
    paths = {"driver": driver, "container_files": (container,)}
    assert "install the NVIDIA driver" in how_to_fix(**paths)
    container.touch()
    assert "--gpus all" in how_to_fix(**paths)
    driver.touch()
    assert "ich-keras[gpu]" in how_to_fix(**paths)

"""With what docs/cluster/ sets, processes train and search together; only the places are others."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ich_keras.run.folder import RunFolder
from tests.support import small_run
from tests.support.curves import SAME_ON_ALL, assert_same_curves
from tests.support.documents import DOCS, ROOT
from tests.support.program import Program
from tests.support.shard_files import write_shards
from tests.support.small_search import trials, write_grid

CLUSTER = DOCS / "cluster"
JOBS = ["ich-fit", "ich-tune-chief", "ich-tune-worker"]
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
# Two workers have shards of their own; without shuffling they read these as one worker does.
TINY = {
    **SAME_ON_ALL,
    "data__size": "32",
    "data__shuffle_buffer": "1",
    "training__max_steps": "24",
    "training__validate_every": "8",
}
TIMEOUT_S = 300


def manifests(name: str) -> dict[tuple[str, str], dict]:
    """The resources of a file, by kind and name."""
    found = yaml.safe_load_all((CLUSTER / name).read_text("utf-8"))
    return {(x["kind"], x["metadata"]["name"]): x for x in found}


FIT, TUNE, COMMON = (manifests(f"{name}.yaml") for name in ("fit", "tune", "common"))


def job(name: str) -> dict:
    return (FIT | TUNE)["Job", name]["spec"]


def pod(name: str) -> dict:
    return job(name)["template"]["spec"]


def container(name: str) -> dict:
    (only,) = pod(name)["containers"]
    return only


def variables(name: str, index: int = 0) -> dict[str, str]:
    """As Kubernetes sets them: in order, each with the values of those before it."""
    found: dict[str, str] = {}
    for entry in container(name)["env"]:
        if "value" in entry:
            value = re.sub(r"\$\((\w+)\)", lambda x: found.get(x[1], x[0]), entry["value"])
        else:
            assert entry["valueFrom"] == {"fieldRef": {"fieldPath": INDEX}}
            value = str(index)
        found[entry["name"]] = value
    return found


def free_ports() -> int:
    """The first of two that are free, within those that the scripts take."""
    for port in range(20_000 + os.getpid() % 5_000, 30_000, 2):
        try:
            for each in (port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


def start(name: str, index: int, places: dict[str, str], *options: str) -> Program:
    """The container's command, with other hosts, ports and paths."""

    def here(text: str) -> str:
        for there, place in places.items():
            text = text.replace(there, place)
        return text

    settings = {key: here(value) for key, value in variables(name, index).items()}
    arguments = [here(x) for x in container(name)["args"]]
    environment = os.environ | {"ICH_SHARDS": places["/data/shards"]} | settings
    return Program([*arguments, *options], environment=environment)


def set_options(**changes: str) -> list[str]:
    return [x for override in small_run.overrides(**changes) for x in ("--set", override)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=56, val=28).folder


@pytest.fixture(scope="module")
def by_slurm(shards, tmp_path_factory):
    """The run of fit.sbatch."""
    folder = tmp_path_factory.mktemp("slurm")
    run = RunFolder(folder / "run")
    program = f'exec "{sys.executable}" -m ich_keras "$@"\n'
    places = ["halfres.yaml", "--shards", str(shards), "--run", str(run.path)]
    done = submit("fit.sbatch", [*places, *set_options(**TINY)], folder, program)
    assert done.returncode == 0, done.stderr[-3000:]
    return run


@pytest.mark.slow
def test_two_workers_of_slurm_learn_like_one(by_slurm, shards, tmp_path):
    alone = small_run.train(shards, tmp_path, experiment="halfres.yaml", **TINY)
    assert_same_curves(alone, pd.read_csv(by_slurm.history))
    assert len(list(by_slurm.tensorboard.iterdir())) == 1  # of the chief alone


@pytest.mark.slow
def test_a_worker_of_kubernetes_that_is_killed_ends_the_other_and_started_again_both_go_on(
    by_slurm, shards, tmp_path
):
    def start_both() -> list[Program]:
        port = free_ports()
        places = {"/data/shards": str(shards), "/runs": str(tmp_path)} | {
            f"ich-fit-{index}.ich-fit:2222": f"127.0.0.1:{port + index}" for index in range(2)
        }
        return [start("ich-fit", index, places, *set_options(**TINY)) for index in range(2)]

    run = RunFolder(tmp_path / "halfres")
    stays, dies = start_both()
    end = time.monotonic() + TIMEOUT_S
    while not run.position.is_file():
        assert stays.poll() is None, stays.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    dies.kill()
    dies.communicate()
    _, errors = stays.communicate(timeout=TIMEOUT_S)
    assert dies.returncode == -signal.SIGKILL
    assert stays.returncode == 1
    said = "ich-keras: worker 0 of 2: another worker ended or cannot be reached; start the same"
    assert said in errors
    assert "Traceback" not in errors
    for process in start_both():
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, errors[-3000:]
        assert re.search(r"resumed at step (8|16)$", errors, re.MULTILINE)
    histories = [pd.read_csv(x.history).drop(columns="seconds") for x in (run, by_slurm)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.slow
def test_chief_and_worker_of_kubernetes_search_together(shards, tmp_path):
    path = write_grid(tmp_path, rates="1e-3")
    places = {
        "/data/shards": str(shards),
        "/runs": str(tmp_path),
        "halfres_hparams.yaml": path,
        "8000": str(free_ports()),
    }
    worker = start("ich-tune-worker", 0, places | {"ich-tune": "127.0.0.1"})
    while "waiting for the chief" not in worker.errors():
        assert worker.poll() is None, worker.communicate()
        time.sleep(0.1)
    chief = start("ich-tune-chief", 0, places)
    output, errors = chief.communicate(timeout=TIMEOUT_S)
    assert chief.returncode == 0, errors[-3000:]
    assert "best of 1 trials" in output
    _, errors = worker.communicate(timeout=TIMEOUT_S)
    assert worker.returncode == 0, errors[-3000:]
    assert list(trials(tmp_path / "search")["state"]) == ["done"]


def test_the_workers_of_a_training_find_each_other():
    spec, name = job("ich-fit"), pod("ich-fit")["subdomain"]
    hosts = [f"ich-fit-{index}.{name}:2222" for index in range(spec["completions"])]
    assert spec["completionMode"] == "Indexed"  # which gives these names, and the index
    assert spec["parallelism"] == spec["completions"]
    for index in range(spec["completions"]):
        assert json.loads(variables("ich-fit", index)["TF_CONFIG"]) == {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
    service = FIT["Service", name]["spec"]
    assert service["clusterIP"] == "None"  # a name for each pod, not one for all
    assert service["selector"] == {"batch.kubernetes.io/job-name": "ich-fit"}


def test_the_workers_of_a_search_find_their_chief():
    chief, spec = variables("ich-tune-chief"), job("ich-tune-worker")
    assert chief["KERASTUNER_TUNER_ID"] == "chief"
    workers = [variables("ich-tune-worker", index) for index in range(spec["completions"])]
    assert spec["parallelism"] == spec["completions"] == 2
    assert len({x["KERASTUNER_TUNER_ID"] for x in workers} - {"chief"}) == 2
    service = TUNE["Service", workers[0]["KERASTUNER_ORACLE_IP"]]["spec"]
    assert service["selector"] == {"batch.kubernetes.io/job-name": "ich-tune-chief"}
    ports = {x["KERASTUNER_ORACLE_PORT"] for x in (chief, *workers)}
    assert ports == {str(port["port"]) for port in service["ports"]}


@pytest.mark.parametrize("name", JOBS)
def test_a_pod_is_what_the_image_is_made_for(name):
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert 'ENTRYPOINT ["ich-keras"]' in image
    assert "command" not in container(name)
    assert pod(name)["securityContext"]["runAsUser"] == int(re.search(r"ARG UID=(\d+)", image)[1])
    mounts = {x["mountPath"]: x for x in container(name)["volumeMounts"]}
    assert {re.search(r"ICH_SHARDS=(\S+)", image)[1], "/runs", "/tmp"} <= mounts.keys()
    volumes = {x["name"]: x for x in pod(name)["volumes"]}
    for path, folder in (("/data/shards", "shards"), ("/runs", "runs")):
        assert mounts[path]["subPath"] == folder
        claim = volumes[mounts[path]["name"]]["persistentVolumeClaim"]["claimName"]
        assert ("PersistentVolumeClaim", claim) in COMMON
    policy = COMMON["NetworkPolicy", "ich-keras"]["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= job(name)["template"]["metadata"]["labels"].items()


def submit(
    script: str, arguments: list[str], folder: Path, program: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script as Slurm would on two nodes that are both this machine.

    Args:
        script: its name.
        arguments: behind it.
        folder: where Slurm's commands are put, and what is queued again is noted.
        program: what `ich-keras` does, in the language of the shell.
        changes: variables.
    """
    stubs = {
        "ich-keras": f"#!/bin/bash\n{program}",
        "scontrol": "#!/bin/bash\n"
        'if [[ $* == "show hostnames n[1-2]" ]]; then printf "127.0.0.1\\n127.0.0.1\\n"; fi\n'
        f'if [[ $1 == requeue ]]; then echo "$2" >> "{folder}/queued"; fi\n',
        "srun": f"#!{sys.executable}\n"
        "import os, subprocess, sys\n"
        "assert sys.argv[1] == '--kill-on-bad-exit=1'\n"
        "def start(task):\n"
        "    return subprocess.Popen(sys.argv[2:], env={**os.environ, 'SLURM_PROCID': task})\n"
        "sys.exit(max([x.wait() for x in [start('0'), start('1')]]))\n",
    }
    commands = folder / "commands"
    commands.mkdir()
    for name, text in stubs.items():
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    slurm = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(free_ports() - 20_000),
        "SLURM_JOB_NODELIST": "n[1-2]",
    }
    return subprocess.run(
        ["bash", str(CLUSTER / script), *arguments],
        env={**os.environ, **slurm, **changes},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@pytest.mark.parametrize("script", ["fit.sbatch", "tune.sbatch"])
@pytest.mark.parametrize(
    ("code", "restarts", "queued"), [(1, 0, True), (130, 3, True), (1, 20, False), (2, 0, False)]
)
def test_what_failed_is_queued_again_unless_in_vain(tmp_path, script, code, restarts, queued):
    done = submit(script, [], tmp_path, f"exit {code}\n", SLURM_RESTART_COUNT=str(restarts))
    assert done.returncode == code, done.stderr
    assert (tmp_path / "queued").exists() == queued


def test_a_search_of_slurm_has_a_chief_and_a_worker_on_each_node(tmp_path):
    said = '"$@" $KERASTUNER_TUNER_ID $KERASTUNER_ORACLE_IP $KERASTUNER_ORACLE_PORT'
    note = f'printf "%s\\n" {said} > "{tmp_path}/$KERASTUNER_TUNER_ID"\n'
    done = submit("tune.sbatch", ["a b.yaml"], tmp_path, note)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "queued").exists()
    noted = {x.name: x.read_text().splitlines() for x in tmp_path.iterdir() if x.is_file()}
    port = noted["chief"][-1]
    assert noted == {
        "chief": ["tune", "a b.yaml", "chief", "0.0.0.0", port],
        "worker-0": ["tune", "a b.yaml", "worker-0", "127.0.0.1", port],
        "worker-1": ["tune", "a b.yaml", "worker-1", "127.0.0.1", port],
    }


def test_the_chief_does_not_outlive_its_job(tmp_path):
    """It would keep the search from the job that is queued again."""
    pid = tmp_path / "pid"
    program = (
        "if [[ $KERASTUNER_TUNER_ID == chief ]]; then\n"
        f'  echo $$ > "{pid}"; exec sleep 600 >&- 2>&-\n'
        "fi\n"
        f'until [[ -s "{pid}" ]]; do sleep 0.1; done\n'
        "exit 1\n"
    )
    done = submit("tune.sbatch", [], tmp_path, program)
    assert done.returncode == 1
    assert (tmp_path / "queued").exists()
    end = time.monotonic() + 30
    while Path("/proc", pid.read_text().strip(), "exe").exists():
        assert time.monotonic() < end
        time.sleep(0.1)

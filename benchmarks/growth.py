"""How the cost of a slice grows with the number of slices, on one worker and on two.

    python benchmarks/growth.py FOLDER

Phantom studies, then four and sixteen times as many: copies under other names, so that each slice
costs what it did. Every command is a process of its own and is measured whole. What it costs to
start is the same for all of them, so the cost of a slice is told by differences: from 1x to 4x, and
from 4x to 16x. Memory is that of the largest process. A worker is a process of `convert` and
`verify`, and a core for the pipeline and `evaluate`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import click
import pandas as pd

from tfrecords_tools.manifest import read_manifest
from tfrecords_tools.phantom import synth

TIMES = (1, 4, 16)
WORKERS = (1, 2)
SLICES_A_STUDY = 12
IDENTIFIER = re.compile(rb"ID_[0-9a-f]{8,10}")
ICH_KERAS = (sys.executable, "-m", "ich_keras")
SIZE, BATCH_SIZE = 128, 32
ROUNDS = 3  # of which the least cost counts
SHORT = (  # a run to evaluate; what it learned makes no difference
    *("--set", "training.max_steps=2"),
    *("--set", "training.validate_every=2"),
    *("--set", "evaluation.bootstrap_draws=100"),
)


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: by the clock.
        core_seconds: of all its processes.
        megabytes: at most, of the largest of them.
    """

    seconds: float
    core_seconds: float
    megabytes: float


def _cost(command: list[str], cores: int) -> Cost:
    began = os.times().elapsed
    process = subprocess.Popen(
        command,
        preexec_fn=partial(os.sched_setaffinity, 0, range(cores)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    messages = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{' '.join(command)}: {messages[-2000:]}")
    seconds = os.times().elapsed - began
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _renamed(content: bytes, copy: int) -> bytes:
    """The same slice of another study of another patient."""

    def other(found: re.Match[bytes]) -> bytes:
        digest = hashlib.sha256(b"%d %s" % (copy, found[0])).hexdigest().encode()
        return b"ID_" + digest[: len(found[0]) - 3]

    return IDENTIFIER.sub(other, content)


def _copies(source: Path, count: int, to: Path) -> Path:
    """Studies `count` times, in the challenge's layout."""
    if not to.exists():
        partial_folder = to.with_suffix(".partial")
        shutil.rmtree(partial_folder, ignore_errors=True)
        (partial_folder / "stage_2_train").mkdir(parents=True)
        header, _, rows = (source / "stage_2_train.csv").read_bytes().partition(b"\n")
        table = [header + b"\n"]
        for copy in range(count):
            table.append(_renamed(rows, copy))
            for path in (source / "stage_2_train").iterdir():
                name = _renamed(path.name.encode(), copy).decode()
                content = _renamed(path.read_bytes(), copy)
                (partial_folder / "stage_2_train" / name).write_bytes(content)
        (partial_folder / "stage_2_train.csv").write_bytes(b"".join(table))
        partial_folder.rename(to)
    return to


def _run_of(folder: Path) -> Path:
    """A run, trained on other patients."""
    run = folder / "run"
    if not run.exists():
        synth(folder / "others", patients=30, slices=SLICES_A_STUDY, size=256, seed=9)
        shards = str(folder / "others-shards")
        convert = ("convert", str(folder / "others"), "--out", shards, f"--size={SIZE}")
        subprocess.run([*ICH_KERAS, *convert], check=True, capture_output=True)
        fit = ("fit", "demo.yaml", "--shards", shards, "--run", str(run), *SHORT)
        subprocess.run([*ICH_KERAS, *fit], check=True, capture_output=True)
    return run


def _commands(source: Path, shards: Path, run: Path, workers: int) -> dict[str, list[str]]:
    """Of each step, in their order."""
    of_workers = f"--workers={workers}"
    whole = ("--split=0,1,0", f"--size={SIZE}", "--shard-size=500", of_workers)
    judged = ("--shards", str(shards), "--name", f"growth-{shards.name}")
    return {
        "convert": [*ICH_KERAS, "convert", str(source), "--out", str(shards), *whole],
        "verify": [*ICH_KERAS, "verify", str(shards), of_workers],
        "pipeline": [sys.executable, __file__, str(shards), "--read"],
        "evaluate": [*ICH_KERAS, "evaluate", str(run), *judged],
    }


def _least_costs(
    step: str, commands: dict[int, list[str]], shards: dict[int, Path], workers: int
) -> dict[int, Cost]:
    """Of a step at each number of slices, by turns: a machine's speed changes by the minute."""
    found: dict[int, list[Cost]] = defaultdict(list)
    for _ in range(ROUNDS):
        for times, command in commands.items():
            if step == "convert":
                shutil.rmtree(shards[times], ignore_errors=True)
            found[times].append(_cost(command, workers))
    least = {x: Cost(*map(min, zip(*map(astuple, found[x]), strict=True))) for x in found}
    click.echo(f"{step}, {workers}: {least}", err=True)
    return least


def _read(shards: Path) -> None:
    """One pass of the validation pipeline."""
    from ich_keras.config import DataConfig
    from ich_keras.dataset import evaluation_batches, open_shards

    opened = open_shards(shards, DataConfig())
    for _ in evaluation_batches(opened, "val", batch_size=BATCH_SIZE):
        pass


def _row(step: str, workers: int, slices: dict[int, int], costs: dict[int, Cost]) -> dict:
    """What a slice more costs, among few and among many."""

    def milliseconds(what: Callable[[Cost], float], since: int, to: int) -> float:
        return 1000 * (what(costs[to]) - what(costs[since])) / (slices[to] - slices[since])

    few, many = (milliseconds(lambda x: x.seconds, *span) for span in pairwise(TIMES))
    cores_few, cores_many = (
        milliseconds(lambda x: x.core_seconds, *span) for span in pairwise(TIMES)
    )
    return {
        "step": step,
        "workers": workers,
        **{f"s at {slices[x]:,}": round(costs[x].seconds, 1) for x in TIMES},
        "ms a slice": f"{few:.2f}, {many:.2f}",
        "ratio": round(many / few, 2),
        "core ms": f"{cores_few:.2f}, {cores_many:.2f}",
        "ratio ": round(cores_many / cores_few, 2),
        "MB": ", ".join(f"{costs[x].megabytes:,.0f}" for x in TIMES),
    }


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--patients", default=100, show_default=True, help="Of the smallest set.")
@click.option("--read", is_flag=True, hidden=True)
def main(folder: Path, patients: int, read: bool) -> None:
    """Prints a row a step and number of workers."""
    if read:
        _read(folder)
        return
    if not (folder / "source").exists():
        synth(folder / "source", patients=patients, slices=SLICES_A_STUDY, size=256, seed=0)
    run = _run_of(folder)
    sources = {x: _copies(folder / "source", x, folder / f"{x}x") for x in TIMES}
    shards = {x: folder / f"shards-{x}x" for x in TIMES}
    costs = {}
    for workers in WORKERS:
        commands = {x: _commands(sources[x], shards[x], run, workers) for x in TIMES}
        for step in commands[1]:
            of_step = {x: commands[x][step] for x in TIMES}
            costs[step, workers] = _least_costs(step, of_step, shards, workers)
    slices = {x: read_manifest(shards[x]).slices for x in TIMES}
    rows = [_row(*which, slices, of_step) for which, of_step in sorted(costs.items())]
    click.echo(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()

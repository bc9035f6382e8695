"""How the cost of a slice grows with the number of slices, on one worker and on two.

    python -m benchmarks.growth FOLDER

Uses phantom studies, then four and sixteen times as many: copies under other identifiers, so that
each slice costs the same. Every command runs in its own process and is measured as a whole. Its
start-up cost is constant, so the cost of a slice follows from the differences between 1x and 4x,
and between 4x and 16x. Memory is that of the largest process. A worker is a process of `convert`
and `verify`, and a core for the pipeline and `evaluate`. Times are those of `benchmarks.measured`.
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path

import click
import pandas as pd

from benchmarks.phantom_copies import copy_studies
from benchmarks.timing import ICH_KERAS, run_ich_keras
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.phantom.rsna_files import synth

TIMES = (1, 4, 16)
WORKERS = (1, 2)
SLICES_A_STUDY = 12
SIZE, BATCH_SIZE = 128, 32
ROUNDS = {  # the median is reported; more rounds where start-up dominates
    "convert": 5,
    "verify": 11,
    "pipeline": 5,
    "evaluate": 3,
}
PASSES = 8  # of the pipeline: one costs less than start-up
SHORT = (  # a run to evaluate; its quality does not matter
    *("--set", "training.max_steps=2"),
    *("--set", "training.validate_every=2"),
    *("--set", "evaluation.bootstrap_draws=100"),
)


@dataclass(frozen=True)
class Cost:
    """The cost of a command, at a constant speed of the machine.

    Attributes:
        seconds: wall-clock time.
        core_seconds: of all its processes.
        megabytes: peak memory of the largest process.
        probe_seconds: mean time of the probe: how fast the machine was.
    """

    seconds: float
    core_seconds: float
    megabytes: float
    probe_seconds: float


def _cost(command: list[str], cores: int) -> Cost:
    whole = [sys.executable, "-m", "benchmarks.measured", str(cores), *command]
    ended = subprocess.run(whole, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise click.ClickException(f"{' '.join(command)}: {ended.stderr[-2000:]}")
    return Cost(**json.loads(ended.stdout))


def _run_of(folder: Path) -> Path:
    """A run to evaluate, trained on other patients."""
    run = folder / "run"
    if not run.exists():
        synth(folder / "others", patients=30, slices=SLICES_A_STUDY, size=256, seed=9)
        shards = folder / "others-shards"
        run_ich_keras("convert", folder / "others", "--out", shards, f"--size={SIZE}")
        run_ich_keras("fit", "demo.yaml", "--shards", shards, "--run", run, *SHORT)
    return run


def _commands(source: Path, shards: Path, run: Path, workers: int) -> dict[str, list[str]]:
    """The command of each step, in order."""
    of_workers = f"--workers={workers}"
    whole = ("--split=0,1,0", f"--size={SIZE}", "--shard-size=500", of_workers)
    judged = ("--shards", str(shards), "--name", f"growth-{shards.name}")
    return {
        "convert": [*ICH_KERAS, "convert", str(source), "--out", str(shards), *whole],
        "verify": [*ICH_KERAS, "verify", str(shards), of_workers],
        "pipeline": [sys.executable, "-m", "benchmarks.growth", str(shards), "--read"],
        "evaluate": [*ICH_KERAS, "evaluate", str(run), *judged],
    }


def _median_costs(
    step: str, commands: dict[int, list[str]], shards: dict[int, Path], workers: int
) -> dict[int, Cost]:
    """Median cost of a step at each number of slices, measured in turn."""
    costs: dict[int, list[Cost]] = defaultdict(list)
    for _ in range(ROUNDS[step]):
        for times, command in commands.items():
            if step == "convert":
                shutil.rmtree(shards[times], ignore_errors=True)
            costs[times].append(_cost(command, workers))
    for times, of_times in costs.items():
        for cost in of_times:
            click.echo(f"{step}, {workers}, {times}x: {cost}", err=True)
    return {x: _median(costs[x]) for x in costs}


def _median(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*map(astuple, costs), strict=True)))


def _read(shards: Path) -> None:
    """Reads the validation split PASSES times."""
    from ich_keras.data.batches import evaluation_batches
    from ich_keras.data.shards import open_shards
    from ich_keras.experiment.schema import DataConfig

    opened = open_shards(shards, DataConfig())
    batches = evaluation_batches(opened, "val", batch_size=BATCH_SIZE)
    for _ in range(PASSES):
        for _ in batches:
            pass


def _row(step: str, workers: int, slices: dict[int, int], costs: dict[int, Cost]) -> dict:
    """The cost of an additional slice, among few and among many."""
    times_each = PASSES if step == "pipeline" else 1

    def milliseconds(what: Callable[[Cost], float], since: int, to: int) -> float:
        more = (slices[to] - slices[since]) * times_each
        return 1000 * (what(costs[to]) - what(costs[since])) / more

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
    """Prints a row per step and number of workers."""
    if read:
        _read(folder)
        return
    if not (folder / "source").exists():
        synth(folder / "source", patients=patients, slices=SLICES_A_STUDY, size=256, seed=0)
    run = _run_of(folder)
    sources = {x: folder / f"{x}x" for x in TIMES}
    for times, source in sources.items():
        copy_studies(folder / "source", times, source)
    shards = {x: folder / f"shards-{x}x" for x in TIMES}
    costs = {}
    for workers in WORKERS:
        commands = {x: _commands(sources[x], shards[x], run, workers) for x in TIMES}
        for step in commands[1]:
            of_step = {x: commands[x][step] for x in TIMES}
            costs[step, workers] = _median_costs(step, of_step, shards, workers)
    slices = {x: read_manifest(shards[x]).slices for x in TIMES}
    rows = [_row(*which, slices, of_step) for which, of_step in sorted(costs.items())]
    click.echo(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()

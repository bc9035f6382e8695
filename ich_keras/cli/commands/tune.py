"""`ich-keras tune`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow, runs_folder, shards_folder
from ich_keras.cli.options import (
    RESUMES,
    Command,
    LocalPath,
    complete_experiments,
    set_option,
    shards_option,
)
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ShardPath


@click.command(cls=Command, interrupted=RESUMES)
@click.argument("hparams", default="halfres_hparams.yaml", shell_complete=complete_experiments)
@shards_option
@click.option("--run", type=LocalPath(), help="[default: HPARAMS/<n> in $ICH_RUNS, else ./runs]")
@set_option
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Trials at the same time.")
@click.option(
    "--resume/--fresh", default=True, help="Resume the latest search, or start a new one."
)
def tune(
    hparams: str,
    shards: ShardPath | None,
    run: Path | None,
    overrides: tuple[str, ...],
    workers: int,
    resume: bool,
) -> None:
    """Searches hyperparameters with KerasTuner as HPARAMS says."""
    from ich_keras.search.config import load_search

    search = load_search(hparams, overrides)
    folder = shards_folder(shards, search.base.data.shards)
    load_tensorflow(gpus=False)
    from ich_keras.run.folder import choose_run
    from ich_keras.search.tune import tune as run_search
    from ich_keras.search.worker import SearchTask, role, work

    if run is not None and not resume and run.exists():
        raise UsageError(f"--fresh: {run} exists already; give another --run, or none")
    chosen = run or choose_run(search.name, fresh=not resume, parent=runs_folder()).path
    part = role()
    if part != "alone" and workers > 1:
        raise UsageError(
            "--workers is for one machine; KERASTUNER_TUNER_ID is set, so leave it out"
        )
    if part == "worker":
        work(SearchTask(search, folder, chosen))
        click.echo(f"The chief has no more trials; it writes {chosen}")
        return
    click.echo(run_search(search, folder, chosen, workers=workers).sentence())

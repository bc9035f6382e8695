"""`ich-keras fit`."""

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
from tfrecords_tools.storage.shard_path import ShardPath


@click.command(cls=Command, interrupted=RESUMES)
@click.argument("experiment", shell_complete=complete_experiments)
@shards_option
@click.option("--run", type=LocalPath(), help="[default: EXPERIMENT/<n> in $ICH_RUNS, else ./runs]")
@set_option
@click.option("--resume/--fresh", default=True, help="Resume the latest run, or start a new one.")
def fit(
    experiment: str,
    shards: ShardPath | None,
    run: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
) -> None:
    """Trains EXPERIMENT, a YAML file or the name of one that is shipped."""
    from ich_keras.experiment.experiment import load_experiment

    loaded = load_experiment(experiment, overrides)
    folder = shards_folder(shards, loaded.data.shards)
    load_tensorflow()
    from ich_keras.run.folder import RunFolder, choose_run
    from ich_keras.training.fit import fit as train

    chosen = (
        RunFolder(run) if run else choose_run(loaded.name, fresh=not resume, parent=runs_folder())
    )
    click.echo(train(loaded, folder, chosen, resume=resume).sentence())

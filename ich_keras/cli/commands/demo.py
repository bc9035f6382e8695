"""`ich-keras demo`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import RESUMES, Command, LocalPath, set_option, workers_option


@click.command(cls=Command, interrupted=RESUMES)
@click.argument("directory", type=LocalPath(), default=Path("demo"))
@click.option("--patients", type=click.IntRange(min=10), default=1500, help="Phantom patients.")
@click.option("--seed", type=int, default=0, help="Of the phantom studies and the split.")
@workers_option
@set_option
def demo(
    directory: Path, patients: int, seed: int, workers: int | None, overrides: tuple[str, ...]
) -> None:
    """An answer of the shipped network; then the whole way on phantom studies, into DIRECTORY."""
    load_tensorflow()
    from ich_keras.cli.demo import run_demo

    report = run_demo(directory, patients=patients, seed=seed, workers=workers, overrides=overrides)
    click.echo(f"Demo finished: open {report}")

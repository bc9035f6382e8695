"""`ich-keras predict`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import Command, LocalPath
from tfrecords_tools.errors import UsageError


@click.command(cls=Command)
@click.argument("run", type=LocalPath())
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=LocalPath())
@click.option("--out", type=LocalPath(), help="[default: ./predictions]")
@click.option("--size", type=click.IntRange(min=16), help="[default: the run's]")
@click.option(
    "--smooth", is_flag=True, help="Smooth over the slices of a series, as fitted on validation."
)
@click.option(
    "--dicom", is_flag=True, help="Write the class maps as DICOM too, with the study's identity."
)
def predict(
    run: Path,
    paths: tuple[Path, ...],
    out: Path | None,
    size: int | None,
    smooth: bool,
    dicom: bool,
) -> None:
    """Applies RUN to DICOM files, folders or zip archives."""
    from ich_keras.run.folder import trained_run

    folder = trained_run(run)
    for path in paths:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
    load_tensorflow()
    from ich_keras.predict.predict import predict as apply_run

    target = out or Path("predictions")
    result = apply_run(folder, paths, target, size=size, smooth=smooth, dicom=dicom)
    click.echo(result.sentence())

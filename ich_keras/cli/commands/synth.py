"""`ich-keras synth`."""

from pathlib import Path
from typing import Any

import click

from ich_keras.cli.options import Command, LocalPath, workers_option
from tfrecords_tools.wording import counted


@click.command(
    cls=Command,
    interrupted="the data set is not whole; remove its folder, and give the command again",
)
@click.argument("directory", type=LocalPath())
@click.option("--patients", type=click.IntRange(min=1), default=320)
@click.option("--slices", type=click.IntRange(min=1), default=16, help="Slices per study.")
@click.option("--size", type=click.IntRange(min=32), default=256, help="Edge of a slice, pixels.")
@click.option("--seed", type=int, default=0)
@workers_option
@click.option("--tissues", is_flag=True, help="Write the true tissue of each pixel too.")
def synth(directory: Path, **options: Any) -> None:
    """Writes a phantom data set: DICOM files, labels and true masks."""
    from tfrecords_tools.phantom.rsna_files import synth as write_phantoms

    written = write_phantoms(directory, **options)
    patients = counted(written.patients, "phantom patient")
    click.echo(f"{counted(written.slices, 'slice')} of {patients} in {directory}")

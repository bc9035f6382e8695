"""`ich-keras export`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath


@click.command(cls=Command, interrupted=f"nothing was exported; {BEGINS_AGAIN}")
@click.argument("run", type=LocalPath())
@click.option(
    "--format", "kind", type=click.Choice(["savedmodel", "onnx", "keras"]), default="savedmodel"
)
@click.option("--out", type=LocalPath(), help="[default: RUN/export]")
def export(run: Path, kind: str, out: Path | None) -> None:
    """Writes RUN's network for use elsewhere."""
    from ich_keras.run.folder import trained_run

    folder = trained_run(run)
    load_tensorflow()
    from ich_keras.predict.export import export_model

    click.echo(f"Exported: {export_model(folder, kind, out or folder.path / 'export')}")

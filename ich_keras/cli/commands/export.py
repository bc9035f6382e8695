"""`ich-keras export`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath, Run, echo_result


@click.command(cls=Command, interrupted=f"nothing was exported; {BEGINS_AGAIN}")
@click.argument("run", type=Run())
@click.option(
    "--format",
    "kind",
    type=click.Choice(["savedmodel", "onnx", "keras", "litert", "openvino"]),
    default="savedmodel",
)
@click.option("--out", type=LocalPath(), help="[default: RUN/export; ./phantom-results/export]")
def export(run: str, kind: str, out: Path | None) -> None:
    """Writes RUN's network for use elsewhere, with its model card and a check.

    RUN is the folder of a run, or the name of a shipped network: phantom.
    """
    from ich_keras.run.shipped import find_run

    folder = find_run(run)
    load_tensorflow()
    from ich_keras.predict.export import export_model

    written = export_model(folder, kind, out or folder.results / "export")
    echo_result(f"Exported: {written}", folder.notice)

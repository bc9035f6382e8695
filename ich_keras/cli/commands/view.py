"""`ich-keras view`."""

import os
import shutil
import sys
import tempfile
import webbrowser
from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath, Run, echo_result


@click.command(cls=Command, interrupted=f"nothing was kept; {BEGINS_AGAIN}")
@click.argument("run", type=Run())
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=LocalPath())
@click.option("--size", type=click.IntRange(min=16), help="[default: the run's]")
@click.option(
    "--smooth", is_flag=True, help="Smooth over the slices of a series, as fitted on validation."
)
@click.option(
    "--masks",
    type=LocalPath(exists=True, file_okay=False),
    help="Folder of true masks to outline, as `synth` writes them.",
)
def view(
    run: str, paths: tuple[Path, ...], size: int | None, smooth: bool, masks: Path | None
) -> None:
    """Applies RUN to DICOM files, folders or zip archives, and opens a page to look at.

    RUN is the folder of a run, or the name of a shipped network: phantom. The page is written to a
    private temporary folder, and holds the slices: remove it when you are done.
    """
    from ich_keras.data.given import check_exist
    from ich_keras.run.shipped import find_run

    folder = find_run(run)
    check_exist(paths)
    load_tensorflow()
    from ich_keras.predict.predict import predict

    out = Path(tempfile.mkdtemp(prefix="ich-keras-"))
    try:
        result = predict(folder, paths, out, size=size, smooth=smooth, view=True, masks=masks)
    except BaseException as error:
        shutil.rmtree(out)  # it may hold slices of a patient, and nobody was told of it
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # without the message, which tells of the folder
        raise
    page, sentence = out / "study_001.html", result.sentence()
    if page.is_file():
        sentence += f"; to look at: {page}"
        if _has_display():
            webbrowser.open(page.as_uri())
    echo_result(sentence, folder.notice)


def _has_display() -> bool:
    """Without one, a browser of the terminal would take it over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

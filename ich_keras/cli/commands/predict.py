"""`ich-keras predict`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import load_tensorflow
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath, Run, echo_result
from tfrecords_tools.errors import UsageError


@click.command(cls=Command, interrupted=BEGINS_AGAIN)
@click.argument("run", type=Run())
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=LocalPath())
@click.option("--out", type=LocalPath(), help="A new or empty folder.  [default: ./predictions]")
@click.option("--size", type=click.IntRange(min=16), help="[default: the run's]")
@click.option(
    "--smooth", is_flag=True, help="Smooth over the slices of a series, as fitted on validation."
)
@click.option(
    "--dicom", is_flag=True, help="Write the answers as DICOM too, with the study's identity."
)
@click.option(
    "--threshold",
    type=float,
    help="Probability of any from which a study is called.  [default: fitted on validation]",
)
@click.option("--view", is_flag=True, help="Write a page per study to look at: study_001.html.")
def predict(
    run: str,
    paths: tuple[Path, ...],
    out: Path | None,
    size: int | None,
    smooth: bool,
    dicom: bool,
    threshold: float | None,
    view: bool,
) -> None:
    """Applies RUN to DICOM files, folders or zip archives.

    RUN is the folder of a run, or the name of a shipped network: phantom. A folder of that name is
    ./phantom.
    """
    from ich_keras.data.given import check_exist
    from ich_keras.predict.output import check_unused
    from ich_keras.run.shipped import find_run

    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"--threshold {threshold:g}: give a probability between 0 and 1")
    folder = find_run(run)
    check_exist(paths)
    target = out or Path("predictions")
    check_unused(target)
    load_tensorflow()
    from ich_keras.predict.predict import predict as apply_run

    result = apply_run(
        folder,
        paths,
        target,
        size=size,
        smooth=smooth,
        dicom=dicom,
        view=view,
        threshold=threshold,
    )
    echo_result(result.sentence(), folder.notice)

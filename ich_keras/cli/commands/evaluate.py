"""`ich-keras evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ich_keras.cli.defaults import load_tensorflow, shards_folder
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath, Run, echo_result, shards_option
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ShardPath

if TYPE_CHECKING:
    from ich_keras.run.folder import RunFolder


@click.command(cls=Command, interrupted=BEGINS_AGAIN)
@click.argument("run", type=Run())
@click.option("--split", default="val")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(min=16),
    multiple=True,
    help="Edge of a slice, pixels; may be repeated, for a table.  [default: the run's]",
)
@shards_option
@click.option("--name", help="Name of the scores, if they must not replace those of the split.")
@click.option("--against", type=Run(), help="Another run, compared on the same slices.")
@click.option(
    "--masks",
    type=LocalPath(exists=True, file_okay=False),
    help="True masks of the slices, as `synth` writes them, to score where class maps point.",
)
@click.option(
    "--dicom",
    type=LocalPath(exists=True),
    help="Score the DICOM files of a folder or zip archive, not shards; with --labels.",
)
@click.option(
    "--labels",
    type=LocalPath(exists=True, dir_okay=False),
    help="CSV of their slices (as for convert) or studies (study_id,...), which may know any alone;"
    " or CQ500's reads.csv.",
)
@click.option(
    "--out",
    type=LocalPath(),
    help="Folder of scores, figures and report.  [default: RUN; ./phantom-results]",
)
def evaluate(
    run: str,
    split: str,
    sizes: tuple[int, ...],
    shards: ShardPath | None,
    name: str | None,
    against: str | None,
    masks: Path | None,
    dicom: Path | None,
    labels: Path | None,
    out: Path | None,
) -> None:
    """Scores RUN on a split, or on labelled DICOM files; writes its figures and report.

    RUN is the folder of a run, or the name of a shipped network: phantom.
    """
    from ich_keras.run.folder import RunFolder, read_input, score_name
    from ich_keras.run.shipped import find_run

    folder, other = find_run(run), find_run(against) if against else None
    if out is not None:
        folder = RunFolder(folder.path, out)
    run_input = read_input(folder)
    run_size = run_input.network.size
    ordered = sorted(set(sizes) or {run_size}, key=lambda size: (size == run_size, size))
    if dicom is not None or labels is not None:
        if shards or against or masks:
            raise UsageError("--shards, --against, --masks are not for --dicom; leave them out")
        _evaluate_dicom(folder, dicom, labels, score_name(name or "external"), ordered)
        return
    place = shards_folder(shards, run_input.shards)
    scores = score_name(name or split)
    load_tensorflow()
    from ich_keras.evaluation.evaluate import evaluate as score

    *sizes_before, last = ordered
    for size in sizes_before:
        click.echo(score(folder, place, split=split, size=size, name=scores).sentence())
    result = score(folder, place, split=split, size=last, name=scores, against=other, masks=masks)
    echo_result(result.sentence(), folder.notice)


def _evaluate_dicom(
    run: "RunFolder", dicom: Path | None, labels: Path | None, name: str, sizes: Sequence[int]
) -> None:
    if dicom is None or labels is None:
        raise UsageError("--dicom and --labels belong together: give both, or neither")
    load_tensorflow()
    from ich_keras.evaluation.dicom_folder import evaluate_dicom

    for size in sizes:
        result = evaluate_dicom(run, dicom, labels, name=name, size=size)
        echo_result(result.sentence(), run.notice)

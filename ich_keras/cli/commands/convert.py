"""`ich-keras convert`."""

import sys
from pathlib import Path
from typing import Any

import click

from ich_keras.cli.defaults import data_folder, default_shards
from ich_keras.cli.options import RESUMES, Command, LocalPath, ShardFolder, workers_option
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ShardPath


class PipelineCommand(Command):
    """A command that passes what follows `--` on as options of Apache Beam."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.obj = args[end + 1 :]
        return super().parse_args(ctx, args[:end])


@click.command(cls=PipelineCommand, interrupted=RESUMES, options_metavar="[OPTIONS]")
@click.argument("source", metavar="[SRC] [-- PIPELINE_OPTIONS]", type=LocalPath(), required=False)
@click.option(
    "--out", type=ShardFolder(), default=default_shards, show_default="$ICH_SHARDS, else ./shards"
)
@click.option("--size", type=click.IntRange(min=16), default=512, help="Edge of a slice, pixels.")
@click.option("--windows", default="brain,subdural,bone", help="Names, or name=centre/width.")
@click.option(
    "--neighbours",
    type=click.IntRange(min=0, max=8),
    default=0,
    help="Slices below and above beside each one, as further channels.",
)
@click.option(
    "--split",
    default="0.8,0.1,0.1",
    help="Fractions of patients: train,val,test; or a CSV file that assigns them.",
)
@click.option(
    "--group-duplicates", is_flag=True, help="Keep patients that share a slice in one split."
)
@click.option("--seed", type=int, default=0, help="Of the split, the order and the patient keys.")
@workers_option
@click.option("--encoding", type=click.Choice(["zlib", "raw", "png"]), default="zlib")
@click.option("--shard-size", type=click.IntRange(min=1), help="Records per shard.")
@click.option(
    "--labels",
    type=LocalPath(exists=True, dir_okay=False),
    help="CSV of the slices of SRC, if it does not have the challenge's folders.",
)
@click.option(
    "--masks",
    type=LocalPath(exists=True, file_okay=False),
    help="Folder of true masks, as `synth` writes them, for training.map_weight.",
)
@click.option("--unlabelled", is_flag=True, help="Convert SRC without labels.")
@click.option(
    "--patient-key-file",
    type=LocalPath(exists=True, dir_okay=False),
    help="Secret that keys the hash of patient ids; use one for clinical data.",
)
@click.option("--fresh", is_flag=True, help="Replace what another conversion left in OUT.")
@click.option("--add", is_flag=True, help="Add what the shards in OUT do not hold yet.")
@click.option(
    "--runner",
    type=click.Choice(["local", "beam"]),
    default="local",
    help="This machine, or Apache Beam with the PIPELINE_OPTIONS.",
)
@click.pass_obj
def convert(
    pipeline_options: list[str], source: Path | None, out: ShardPath, **options: Any
) -> None:
    """Converts an RSNA-layout folder of DICOM files to TFRecord shards.

    SRC may be -, for a list on standard input: one path, s3:// or gs:// URI per line.
    """
    from tfrecords_tools.convert import ConvertOptions
    from tfrecords_tools.convert import convert as write_shards
    from tfrecords_tools.dataset.manifest import MANIFEST_NAME, read_manifest
    from tfrecords_tools.planning.source import read_list

    source = source or data_folder()
    listed = source == Path("-")
    if not listed and not source.is_dir():
        raise UsageError(
            f"no data set at {source}; give its folder: `ich-keras convert SRC`, or set $ICH_DATA"
            " (no data yet? `ich-keras synth SRC` writes phantom studies)"
        )
    given = ConvertOptions(pipeline_options=pipeline_options, **options)
    before = read_manifest(out) if given.add and (out / MANIFEST_NAME).is_file() else None
    files = read_list(sys.stdin.buffer) if listed else source
    manifest = write_shards(files, out, given)
    click.echo(f"{manifest.addition(before) if before else manifest.sentence()}: {out}")

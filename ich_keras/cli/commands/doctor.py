"""`ich-keras doctor`."""

from pathlib import Path

import click

from ich_keras.cli.defaults import data_folder, default_shards, load_tensorflow, runs_folder
from ich_keras.cli.options import BEGINS_AGAIN, Command, LocalPath, shards_option
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import ShardPath


@click.command(cls=Command, interrupted=BEGINS_AGAIN)
@click.option(
    "--data", type=LocalPath(), help="Data set.  [default: $ICH_DATA, else /data/rsna-ich]"
)
@shards_option
def doctor(data: Path | None, shards: ShardPath | None) -> None:
    """Checks whether this machine is ready, and says how to fix what is not."""
    folder = shards or default_shards()
    load_tensorflow()
    from ich_keras.cli.doctor import examine, show

    failed = show(examine(data or data_folder(), folder, runs_folder()))
    if failed:
        raise InputError(
            f"{len(failed)} of the checks failed: {', '.join(x.check for x in failed)}"
        )
    click.echo("Ready: no check failed")

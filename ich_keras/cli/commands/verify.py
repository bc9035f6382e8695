"""`ich-keras verify`."""

import os

import click

from ich_keras.cli.options import BEGINS_AGAIN, Command, ShardFolder, workers_option
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.wording import counted


@click.command(cls=Command, interrupted=BEGINS_AGAIN)
@click.argument("shards", type=ShardFolder(exists=True, file_okay=False))
@workers_option
def verify(shards: ShardPath, workers: int | None) -> None:
    """Reads every record of SHARDS against its manifest."""
    from tfrecords_tools.verify import verify as verify_shards

    found = verify_shards(shards, workers=workers or os.cpu_count() or 1)
    records, files = counted(found.slices, "record"), counted(len(found.shards), "shard")
    click.echo(f"{shards}: {records} in {files} are as written")

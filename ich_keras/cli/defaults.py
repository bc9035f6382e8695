"""Where data, shards and runs are, where a command is not told."""

import os
from pathlib import Path

from ich_keras.cli.loading import load_store
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ShardPath, shard_path

DEFAULT_DATA = Path("/data/rsna-ich")


def data_folder() -> Path:
    return Path(os.environ.get("ICH_DATA", DEFAULT_DATA))


def default_shards() -> ShardPath:
    return shard_path(os.environ.get("ICH_SHARDS", "shards"))


def runs_folder() -> Path:
    return Path(os.environ.get("ICH_RUNS", "runs"))


def shards_folder(
    given: ShardPath | None, of_experiment: str | None, *, gpus: bool = True
) -> ShardPath:
    """The shards to use: the option, the experiment's, $ICH_SHARDS, ./shards."""
    folder = given or (shard_path(of_experiment) if of_experiment else default_shards())
    load_store(folder, gpus=gpus)
    if not folder.is_dir():
        raise UsageError(
            f"no shards at {folder}; make them with `ich-keras convert SRC --out {folder}`,"
            " or give the folder with --shards or $ICH_SHARDS"
        )
    return folder.resolve()

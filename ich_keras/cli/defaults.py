"""Where data, shards and runs lie by default, and the libraries that a folder of shards needs."""

import contextlib
import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ich_keras.data.s3 import check_s3
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.shard_path import ShardPath, shard_path

DEFAULT_DATA = Path("/data/rsna-ich")

log = logging.getLogger(__name__)


def data_folder() -> Path:
    return Path(os.environ.get("ICH_DATA", DEFAULT_DATA))


def default_shards() -> ShardPath:
    return shard_path(os.environ.get("ICH_SHARDS", "shards"))


def runs_folder() -> Path:
    return Path(os.environ.get("ICH_RUNS", "runs"))


def shards_folder(option: ShardPath | None, experiment_shards: str | None) -> ShardPath:
    """Returns the shards to use: --shards, else the experiment's, $ICH_SHARDS, or ./shards."""
    folder = option or (shard_path(experiment_shards) if experiment_shards else default_shards())
    check_s3(folder)
    if not folder.is_dir():
        raise UsageError(
            f"no shards at {folder}; make them with `ich-keras convert SRC --out {folder}`,"
            " or give the folder with --shards or $ICH_SHARDS"
        )
    return folder.resolve()


def load_tensorflow(*, gpus: bool = True) -> None:
    """Imports TensorFlow without the messages that its libraries print while they load.

    No log level affects these messages, and they would hide an error message of this program.
    --verbose keeps them. `gpus` says whether this process computes: if only its children do, it
    must not reserve the memory of the GPUs, all of which TensorFlow takes.
    """
    if find_spec("tensorflow") is None:  # as in the container image of Beam
        raise InputError(
            "TensorFlow is not installed; without it only convert, verify and synth work:"
            " pip install ich-keras, or take the container image `cpu` or `gpu`"
        )
    with contextlib.nullcontext() if log.isEnabledFor(logging.DEBUG) else _silent():
        import tensorflow as tf

        if not gpus:
            tf.config.set_visible_devices([], "GPU")
        if "TF_CONFIG" not in os.environ:  # workers must connect before any device is initialized
            tf.config.list_logical_devices()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Discards standard error, including what C code writes to it."""
    standard_error = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)

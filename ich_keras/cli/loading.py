"""TensorFlow, loaded without a word, and only by the commands that need it."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from tfrecords_tools.storage.shard_path import S3Path, ShardPath

log = logging.getLogger(__name__)


def load_tensorflow(*, gpus: bool = True) -> None:
    """Imports TensorFlow without the lines that its libraries write while they load.

    They are written before any log level counts, and would bury an error of ours. With --verbose
    they stay.

    Args:
        gpus: whether this process computes; where only its children do, it must not take the
            memory of the GPUs, which TensorFlow takes whole.
    """
    with contextlib.nullcontext() if log.isEnabledFor(logging.DEBUG) else _silent():
        import tensorflow as tf

        if not gpus:
            tf.config.set_visible_devices([], "GPU")
        if "TF_CONFIG" not in os.environ:  # workers must meet before there is a device
            tf.config.list_logical_devices()


def load_store(folder: ShardPath, *, gpus: bool = True) -> None:
    """Loads what reads and writes on an object store, where the folder lies on one."""
    if isinstance(folder, S3Path):
        load_tensorflow(gpus=gpus)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Sends what is written to standard error, by C too, nowhere."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)

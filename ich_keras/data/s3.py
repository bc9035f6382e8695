"""The file system of tensorflow-io, through which TensorFlow reads shards on `s3://`.

tensorflow-io 0.37.1 aborts a process that has loaded it, after everything is done
(tensorflow/io#2039). Programs should end with `os._exit` then, as `ich_keras.cli.main` does.
"""

import os
import sys
import warnings
from importlib.util import find_spec

from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ObjectPath, ShardPath

INSTALL = "pip install 'ich-keras[s3]', which brings TensorFlow 2.17"
# The file system's own limits are half a minute where a server refuses the connection, and an hour
# where it is silent. It reads these variables when it is first used.
TIMEOUTS = {
    "AWS_RETRY_MODE": "standard",
    "S3_CONNECT_TIMEOUT_MSEC": "10000",
    "S3_REQUEST_TIMEOUT_MSEC": "30000",  # without a byte
}


def check_s3(folder: ShardPath) -> None:
    """Checks that TensorFlow can read the folder, without loading it.

    Raises:
        UsageError: if the folder is on `s3://` and tensorflow-io is not installed.
    """
    if _on_s3(folder) and find_spec("tensorflow_io") is None:
        raise UsageError(f"{folder}: needs the package tensorflow-io, which is missing: {INSTALL}")


def register_s3(folder: ShardPath) -> None:
    """Makes TensorFlow able to read the folder if it is on `s3://`.

    Raises:
        UsageError: if tensorflow-io is not installed, or does not load with this TensorFlow.
    """
    check_s3(folder)
    if not _on_s3(folder):
        return
    for name, value in TIMEOUTS.items():
        os.environ.setdefault(name, value)
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a failure to load, which raises an error below
        import tensorflow_io  # noqa: F401  registers the file system

    if "s3" not in tf.io.gfile.get_registered_schemes():
        raise UsageError(
            f"{folder}: tensorflow-io does not load with TensorFlow {tf.__version__}; {INSTALL}"
        )


def aborts_at_exit() -> bool:
    """Whether this process has loaded tensorflow-io, and would abort at an orderly exit."""
    return "tensorflow_io" in sys.modules


def _on_s3(folder: ShardPath) -> bool:
    return isinstance(folder, ObjectPath) and folder.scheme == "s3"

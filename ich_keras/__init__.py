"""Detection of intracranial hemorrhage on head CT slices, with Keras."""

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ich_keras.data.head_ct import HeadCT, read_study
    from ich_keras.predict.loading import load
    from tfrecords_tools.errors import InputError

# TensorFlow reads these when it is imported, which no module of this package does before this one.
# By itself it leaves oneDNN off on processors without AVX-512 VNNI, where it halves a step too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Otherwise TensorFlow takes all of a GPU's memory, and a second process on it fails.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

try:
    __version__ = version("ich-keras")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# Imported at first use: the command line and the converter must not load TensorFlow or pandas.
_LATE = {
    "HeadCT": "ich_keras.data.head_ct",
    "read_study": "ich_keras.data.head_ct",
    "load": "ich_keras.predict.loading",
    "InputError": "tfrecords_tools.errors",
}
__all__ = ["HeadCT", "InputError", "__version__", "load", "read_study"]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_LATE]

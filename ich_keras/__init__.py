"""Detection of intracranial hemorrhage on head CT slices, with Keras."""

import os
from importlib.metadata import PackageNotFoundError, version

# TensorFlow reads these when it is imported, which no module of this package does before this one.
# By itself it leaves oneDNN off on processors without AVX-512 VNNI, where it halves a step too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Otherwise TensorFlow takes all of a GPU's memory, and a second process on it fails.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

try:
    __version__ = version("ich-keras")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

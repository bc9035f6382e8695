"""Detection of intracranial hemorrhage on head CT slices, with Keras."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ich-keras")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

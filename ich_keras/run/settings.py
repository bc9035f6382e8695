"""What every process of the program relies on, whatever the user's files and variables say."""

import os
import warnings
from pathlib import Path

FILES = Path(__file__).parents[1] / "own_settings"  # Keras' and Matplotlib's own defaults
_SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def settle_process() -> None:
    """Sets them for this process and those that it starts; before Keras or Matplotlib is imported.

    `keras.json` of the user could exchange the axes of images or the type of numbers, and other
    variables of Keras could shorten a training.
    """
    for name in [x for x in os.environ if x.startswith("KERAS_")]:
        del os.environ[name]
    os.environ["KERAS_HOME"] = str(FILES)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["MATPLOTLIBRC"] = str(FILES / "matplotlibrc")
    os.environ["MPLBACKEND"] = "agg"  # no window, and no display that may be missing
    if os.environ.pop("PYTHONWARNINGS", None) is not None:
        _restore_warnings()


def _restore_warnings() -> None:
    """The filters of Python: as errors, the warnings of TensorFlow would end the program."""
    warnings.resetwarnings()
    for category in _SILENT:
        warnings.simplefilter("ignore", category)

"""Trainings of seconds, as commands of their own: what a user types, and what can be killed."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import tensorflow as tf

from tests.support.pictures import draw_dots
from tests.support.program import run as run_program

SETTINGS = {
    "model.widths": "[4, 8]",
    "model.dropout": "0.2",
    "training.max_steps": "12",
    "training.batch_size": "8",
    "training.warmup_steps": "2",
    "training.validate_every": "4",
    "training.figure_every": "1000",
    "training.log_every": "2",
    "data.shuffle_buffer": "16",
    "data.augmentation.grey": "0.05",
}


def overrides(**changes: str) -> list[str]:
    """`key.path=value` of a small run; a key's dots stand as two underscores in `changes`."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in settings.items()]


def arguments(
    shards: Path, run: Path, *, experiment: str = "demo.yaml", **changes: str
) -> list[str]:
    """Of `ich-keras`."""
    options = [x for override in overrides(**changes) for x in ("--set", override)]
    return ["fit", experiment, "--shards", str(shards), "--run", str(run), *options]


def two_devices() -> None:
    """The processor passes for two, in a process that has not used TensorFlow yet."""
    (processor,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)


def train(
    shards: Path, run: Path, first: Callable[[], None] = draw_dots, **options: str
) -> pd.DataFrame:
    """The history of a whole run; options as of `arguments`, `first` as of `Program`."""
    done = run_program(arguments(shards, run, **options), first=first)
    assert done.returncode == 0, done.stderr[-2000:]
    return pd.read_csv(run / "history.csv")

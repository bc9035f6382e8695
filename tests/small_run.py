"""Trainings of seconds, as commands of their own: what a user types, and what can be killed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

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
LOGICAL_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration() for _ in range({devices})]
tf.config.set_logical_device_configuration(cpu, parts)
"""


def overrides(**changes: str) -> list[str]:
    """`key.path=value` of a small run; a key's dots stand as two underscores in `changes`."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in settings.items()]


def command(
    shards: Path, run: Path, *, devices: int = 1, experiment: str = "demo.yaml", **changes: str
) -> list[str]:
    """`ich-keras fit`, in a process whose processor passes for several devices."""
    prelude = LOGICAL_DEVICES.format(devices=devices) if devices > 1 else ""
    program = f"{prelude}\nfrom ich_keras.cli import main\nmain()"
    options = [x for override in overrides(**changes) for x in ("--set", override)]
    folders = ["--shards", str(shards), "--run", str(run)]
    return [sys.executable, "-c", program, "fit", experiment, *folders, *options]


def train(shards: Path, run: Path, **options: Any) -> pd.DataFrame:
    """The history of a whole run; options as of `command`."""
    done = subprocess.run(command(shards, run, **options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return pd.read_csv(run / "history.csv")

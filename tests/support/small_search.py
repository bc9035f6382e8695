"""Searches of seconds: a grid of three points, and a space for the other tuners."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from ich_keras.search.training_process import Trainer, train_here
from tests.support.pictures import dots
from tests.support.program import Program

GRID = """
experiment: base.yaml
tuner: grid
{limits}
search:
  training.learning_rate: {{choice: [{rates}]}}
"""
SPACE = """
experiment: base.yaml
tuner: {tuner}
{limits}
search:
  training.learning_rate: {{float: {{min: 1e-4, max: 1e-2, log: true}}}}
  model.dropout: {{choice: [0.0, 0.2]}}
"""
BASE = """
name: small
model: {widths: [4]}
training:
  max_steps: 4
  batch_size: 8
  learning_rate: 1e-3
  validate_every: 2
  log_every: 2
  figure_every: 1000
"""


def write_search(folder: Path, text: str) -> str:
    (folder / "base.yaml").write_text(BASE)
    (folder / "search.yaml").write_text(text)
    return str(folder / "search.yaml")


def write_grid(folder: Path, rates: str = "1e-3, 3e-3, 1e-2", limits: str = "") -> str:
    return write_search(folder, GRID.format(rates=rates, limits=limits))


def write_space(folder: Path, tuner: str, limits: str = "") -> str:
    return write_search(folder, SPACE.format(tuner=tuner, limits=limits))


@contextmanager
def trained_here() -> Iterator[None]:
    """Trains samples in this process, without loading TensorFlow for each, or rendering figures."""
    with pytest.MonkeyPatch.context() as patch, dots():
        patch.setattr(Trainer, "train", lambda _, sample: train_here(sample))
        yield


def trials(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "trials.csv", dtype={"trial": str})


def start(path: str, shards: Path, folder: Path, *options: str) -> Program:
    """`ich-keras tune`."""
    return Program(["tune", path, "--shards", shards, "--run", folder, *options])

"""Experiments and searches written for one test, and the messages on what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.experiment.yaml_files import ConfigError
from ich_keras.search.config import Search, load_search
from tests.support.paths import ROOT

EXPERIMENTS = ROOT / "experiments"
SHIPPED = sorted((EXPERIMENTS / "classification").glob("*.yaml"))
SEARCHES = [path for path in SHIPPED if path.stem.endswith("_hparams")]

MINIMAL = "name: a\ntraining: {max_steps: 5, batch_size: 2, learning_rate: 1e-3}\n"
SEARCH = "experiment: base.yaml\nsearch: {training.learning_rate: {choice: [1e-3, 2e-3]}}\n"


def experiment(text: str, *overrides: str) -> Experiment:
    Path("x.yaml").write_text(text, encoding="utf-8")
    return load_experiment("x.yaml", overrides)


def search(text: str, *overrides: str) -> Search:
    Path("x.yaml").write_text(text, encoding="utf-8")
    return load_search("x.yaml", overrides)


def message(load: Callable[..., Any], *arguments: Any) -> str:
    """The message with which the call is refused."""
    with pytest.raises(ConfigError) as caught:
        load(*arguments)
    return str(caught.value)

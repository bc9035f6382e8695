"""The search: KerasTuner proposes points, each is trained as a run of its own.

Every run is kept under the hash of its experiment and is never trained twice, so a search that
was interrupted is simply started again: the oracle proposes the same points from the same seed,
and those that are finished answer from their folders. KerasTuner's own resume is not used; its
grid oracle fails on reload (keras-tuner issue 1055).
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pandas as pd
from keras_tuner.engine.base_tuner import BaseTuner

from ich_keras.config import Dimension, Experiment, Search, experiment_to_yaml, with_values
from ich_keras.run_folder import RunFolder
from ich_keras.training import TrainingError, fit
from tfrecords_tools.atomic import whole_file, write_text
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage import ShardPath

log = logging.getLogger(__name__)

SEED_STRIDE = 1_000  # between the samples of a point


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: the search's folder, with `trials.csv` and `best.yaml`.
        objective: name of what was compared.
        value: the mean objective of the best point.
        point: key path to value.
        trials: points tried.
    """

    folder: Path
    objective: str
    value: float
    point: Mapping[str, Any]
    trials: int

    def sentence(self) -> str:
        """What was found, and where."""
        point = ", ".join(f"{key}={value}" for key, value in self.point.items())
        return (
            f"best of {self.trials} points by {self.objective} {self.value:.5f}: {point};"
            f" `ich-keras fit {self.folder / 'best.yaml'}`"
        )


def tune(search: Search, shards_folder: ShardPath, folder: Path) -> SearchResult:
    """Searches, and writes `trials.csv` and `best.yaml`, an experiment that `fit` takes.

    Args:
        search: what to try.
        shards_folder: to train and validate on.
        folder: of the search; one that was begun goes on.

    Raises:
        TrainingError: if no point could be trained.
    """
    oracle = _oracle(search)
    tuner = _Tuner(search, shards_folder, folder, oracle)
    try:
        tuner.search()
    except keras_tuner.errors.FatalError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None  # the user's to mend, whatever the point
        raise
    table = pd.DataFrame(tuner.rows)
    with whole_file(folder / "trials.csv") as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    done = table.dropna(subset=[search.objective])
    if done.empty:
        raise TrainingError(f"{folder}: no point could be trained; see trials.csv")
    ascending = _direction(search.objective) == "min"
    best = done.sort_values(search.objective, ascending=ascending, kind="stable").iloc[0]
    point = {key: tuner.points[best["point"]][key] for key in search.search}
    write_text(folder / "best.yaml", experiment_to_yaml(_experiment(search, point)))
    return SearchResult(folder, search.objective, float(best[search.objective]), point, len(table))


class _Tuner(BaseTuner):
    """Runs each point that the oracle proposes."""

    def __init__(
        self, search: Search, shards_folder: ShardPath, folder: Path, oracle: keras_tuner.Oracle
    ) -> None:
        self.spec = search
        self.shards_folder = shards_folder
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.points: dict[str, dict[str, Any]] = {}
        super().__init__(oracle, directory=str(folder), project_name="oracle", overwrite=True)

    def run_trial(self, trial: Any, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """The mean objective of the point's samples; a point without a finite loss has failed."""
        values = dict(trial.hyperparameters.values)
        steps = _steps(self.spec, values)
        point = {key: values[key] for key in self.spec.search}
        experiment = _experiment(self.spec, point)
        name = _point_name(point)
        self.points[name] = point
        log.info("point %d: %s", len(self.rows) + 1, _describe(point))
        row: dict[str, Any] = {"point": name, **{k: str(v) for k, v in point.items()}}
        try:
            numbers = range(self.spec.samples_per_point)
            scores = [self._sample(experiment, name, number, steps) for number in numbers]
        except TrainingError as error:
            self.rows.append({**row, self.spec.objective: None, "failure": str(error)})
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            # KerasTuner would count a programming error as a failed trial, and go on.
            raise keras_tuner.errors.FatalRuntimeError(str(error)) from error
        mean, spread = float(np.mean(scores)), float(np.std(scores))
        self.rows.append({**row, self.spec.objective: mean, "spread": spread, "failure": ""})
        return {self.spec.objective: mean}

    def _sample(self, experiment: Experiment, name: str, number: int, steps: int | None) -> float:
        """The objective at the last validation of one run."""
        values: dict[str, Any] = {}
        folder = f"sample_{number + 1}"
        if self.spec.randomize_seed:
            values["seed"] = experiment.seed + number * SEED_STRIDE
        if steps is not None:
            values["training.max_steps"] = steps
            folder += f"_{steps}_steps"
        run = RunFolder(self.folder / "trials" / name / folder)
        result = fit(with_values(experiment, values), self.shards_folder, run)
        keras.backend.clear_session()
        return float(result.validations[-1][self.spec.objective])


def _experiment(search: Search, point: Mapping[str, Any]) -> Experiment:
    """The experiment of a point, as it would be trained alone."""
    values = dict(point)
    if search.train_steps is not None:
        values.setdefault("training.max_steps", search.train_steps)
    if search.validation_steps is not None:
        values.setdefault("training.validation_steps", search.validation_steps)
    return with_values(search.base, values)


def _oracle(search: Search) -> keras_tuner.Oracle:
    space = keras_tuner.HyperParameters()
    for key, dimension in search.search.items():
        _declare(space, key, dimension)
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(search.objective, _direction(search.objective)),
        "hyperparameters": space,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": search.base.seed,
    }
    if search.tuner == "hyperband":
        return keras_tuner.oracles.HyperbandOracle(max_epochs=_rungs(search), **options)
    if search.tuner == "bayesian" and find_spec("sklearn") is None:
        raise UsageError(
            "tuner bayesian needs a package that is missing: pip install 'ich-keras[bayesian]'"
        )
    kinds = {
        "grid": keras_tuner.oracles.GridSearchOracle,
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    }
    return kinds[search.tuner](max_trials=search.trials, **options)


def _declare(space: keras_tuner.HyperParameters, key: str, dimension: Dimension) -> None:
    if dimension.choice is not None:
        space.Choice(key, list(dimension.choice), ordered=False)
        return
    numbers = dimension.int or dimension.float
    if numbers is None:
        space.Fixed(key, dimension.fixed)
        return
    sampling = "log" if numbers.log else "linear"
    if dimension.int is not None:
        step = None if numbers.log and numbers.step is None else int(numbers.step or 1)
        space.Int(key, int(numbers.min), int(numbers.max), step=step, sampling=sampling)
    else:
        space.Float(key, numbers.min, numbers.max, step=numbers.step, sampling=sampling)


def _rungs(search: Search) -> int:
    """Hyperband counts validations: its longest trial has so many."""
    steps = search.train_steps or search.base.training.max_steps
    return max(steps // search.base.training.validate_every, 1)


def _steps(search: Search, values: Mapping[str, Any]) -> int | None:
    epochs = values.get("tuner/epochs")
    return None if epochs is None else epochs * search.base.training.validate_every


def _direction(objective: str) -> str:
    return "max" if objective == "val_mean_auc" else "min"


def _point_name(point: Mapping[str, Any]) -> str:
    """A folder for the point, the same whenever it comes up."""
    text = json.dumps(point, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _describe(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in point.items())

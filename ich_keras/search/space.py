"""The space of a search: from its YAML to KerasTuner's hyperparameters, and to experiments."""

from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from typing import Any

import keras_tuner

from ich_keras.experiment.experiment import Experiment, with_values
from ich_keras.search.config import Search
from ich_keras.search.dimension import Dimension

SEED_STRIDE = 1_000  # between the samples of a point

Point = Mapping[str, Any]  # key path of the experiment to value


def make_space(search: Search) -> keras_tuner.HyperParameters:
    """Returns KerasTuner's form of the space."""
    space = keras_tuner.HyperParameters()
    for key, dimension in search.search.items():
        with ExitStack() as conditions:
            for parent, values in search.conditions(key):
                conditions.enter_context(space.conditional_scope(parent, list(values)))
            _declare(space, key, dimension)
    return space


def point_of(search: Search, hyperparameters: keras_tuner.HyperParameters) -> Point:
    """Returns the values of a trial, without keys whose conditions are not met."""
    return {
        key: _as_given(dimension, hyperparameters.values[key])
        for key, dimension in search.search.items()
        if hyperparameters.is_active(key) and key in hyperparameters.values
    }


def point_text(point: Point) -> str:
    """Returns a text such as `training.batch_size=8, model.dropout=0.1`."""
    return ", ".join(f"{key}={value}" for key, value in point.items())


def number_of_points(search: Search) -> int | None:
    """Returns the greatest possible number of trials; None if it is not known in advance."""
    if search.tuner != "grid" or any(x.when for x in search.search.values()):
        return search.trials
    points = prod(len(list(x.values)) for x in make_space(search).space)
    return min(points, search.trials or points)


def experiment_of(search: Search, point: Point, sample: int = 0) -> Experiment:
    """Returns the experiment of a point; samples differ in seed if `randomize_seed` is true."""
    values = dict(point)
    if search.train_steps is not None:
        values.setdefault("training.max_steps", search.train_steps)
    if search.validation_slices is not None:
        values.setdefault("training.validation_slices", search.validation_slices)
    experiment = with_values(search.base, values)
    if sample == 0 or not search.randomize_seed:
        return experiment
    seed = (experiment.seed + sample * SEED_STRIDE) % 2**32
    return with_values(experiment, {"seed": seed})


def steps_of(search: Search, experiment: Experiment, values: Mapping[str, Any]) -> int:
    """Returns the step at which a trial ends; Hyperband counts its rungs in validations."""
    epochs = values.get("tuner/epochs")
    if epochs is None:
        return experiment.training.max_steps
    return min(epochs * search.base.training.validate_every, experiment.training.max_steps)


def longest_rung(search: Search) -> int:
    """Returns the number of validations in Hyperband's longest trial."""
    steps = search.train_steps or search.base.training.max_steps
    return max(steps // search.base.training.validate_every, 1)


def maximized(objective: str) -> bool:
    """Whether higher is better; the other objectives are losses."""
    return objective == "val_mean_auc"


def better(objective: str) -> str:
    """Returns the word for better values, `higher` or `lower`."""
    return "higher" if maximized(objective) else "lower"


def _as_given(dimension: Dimension, value: Any) -> Any:
    """Returns the value in the search file: KerasTuner turns booleans of a choice into 0 and 1."""
    return value if dimension.choice is None else next(x for x in dimension.choice if x == value)


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

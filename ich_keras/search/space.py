"""The space of a search: from its YAML to KerasTuner's hyperparameters, and to experiments."""

from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from typing import Any

import keras_tuner

from ich_keras.experiment.experiment import Experiment, with_values
from ich_keras.search.config import Dimension, Search

SEED_STRIDE = 1_000  # between the samples of a point

Point = Mapping[str, Any]  # key path of the experiment to value


def make_space(search: Search) -> keras_tuner.HyperParameters:
    """KerasTuner's form of the space."""
    space = keras_tuner.HyperParameters()
    for key, dimension in search.search.items():
        with ExitStack() as conditions:
            for parent, values in conditions_of(search, key):
                conditions.enter_context(space.conditional_scope(parent, list(values)))
            _declare(space, key, dimension)
    return space


def conditions_of(search: Search, key: str) -> list[tuple[str, tuple[Any, ...]]]:
    """The keys, and their values, without which a key plays no part; the outermost first."""
    found: list[tuple[str, tuple[Any, ...]]] = []
    for parent, values in search.search[key].when.items():
        found += [x for x in conditions_of(search, parent) if x not in found]
        found.append((parent, values))
    return found


def point_of(search: Search, hyperparameters: keras_tuner.HyperParameters) -> Point:
    """The values of a trial that play a part in it."""
    return {
        key: _as_given(dimension, hyperparameters.values[key])
        for key, dimension in search.search.items()
        if hyperparameters.is_active(key) and key in hyperparameters.values
    }


def number_of_points(search: Search) -> int | None:
    """How many trials there will be at most; None where that is not known before."""
    if search.tuner in ("random", "bayesian"):
        return search.trials
    if search.tuner == "hyperband" or any(x.when for x in search.search.values()):
        return search.trials
    points = prod(len(list(x.values)) for x in make_space(search).space)
    return min(points, search.trials or points)


def experiment_of(search: Search, point: Point, sample: int = 0) -> Experiment:
    """The experiment of a point, as it would be trained alone.

    Args:
        search: around which experiment.
        point: what differs from it.
        sample: from 0; each has a seed of its own where the search says so.
    """
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
    """The step up to which a trial is trained: that of its rung, or the last.

    Hyperband counts its rungs in validations, as `tuner/epochs`.
    """
    epochs = values.get("tuner/epochs")
    if epochs is None:
        return experiment.training.max_steps
    return min(epochs * search.base.training.validate_every, experiment.training.max_steps)


def longest_rung(search: Search) -> int:
    """The validations of Hyperband's longest trial."""
    steps = search.train_steps or search.base.training.max_steps
    return max(steps // search.base.training.validate_every, 1)


def direction(objective: str) -> str:
    """Whether KerasTuner is to look for the least or the greatest."""
    return "max" if objective == "val_mean_auc" else "min"


def _as_given(dimension: Dimension, value: Any) -> Any:
    """The value as the search file has it: KerasTuner turns booleans of a choice into 0 and 1."""
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

"""Reads search files into checked, frozen values: what `ich-keras tune` tries."""

import re
from collections.abc import Sequence
from itertools import combinations, product
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ich_keras.experiment.experiment import (
    Experiment,
    upgrade_experiment,
    upgrade_validation,
    with_values,
)
from ich_keras.experiment.schema import Name, Positive
from ich_keras.experiment.sections import Section, check, with_overrides
from ich_keras.experiment.yaml_files import (
    ConfigError,
    Values,
    files_beside,
    find_experiment,
    merge,
    read_file,
)
from ich_keras.search.dimension import Dimension

HYPERBAND_FACTOR = 3  # ratio of the lengths of KerasTuner's rungs, which count validations

# Keys whose values cannot be compared in one search, and the reason.
NOT_SEARCHED = {
    "data.shards": "every point is trained on the same shards; start one search per folder",
    "training.max_steps": "trainings of different lengths are not compared; set train_steps",
    "training.validation_slices": "scores on different slices cannot be compared; set"
    " validation_slices of the search",
}


class Search(Section):
    """A hyperparameter search around an experiment."""

    name: Name
    """Names the folder of its searches. Default: the name of the file."""
    base: Experiment = Field(alias="experiment")
    """The experiment file to start from, or a list of them, merged in order."""
    search: Annotated[dict[str, Dimension], Field(min_length=1)]
    """The values to try, by key path of the experiment."""
    tuner: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    """Which of KerasTuner's oracles proposes the points."""
    objective: Literal["val_loss", "val_mean_auc", "val_weighted_log_loss"] = "val_loss"
    """The score of the last validation by which points are compared."""
    trials: Positive | None = None
    """Points to try. None: the whole grid, or as many as hyperband needs."""
    samples_per_point: Positive = 1
    """Trainings per point, each with its own seed; points are compared by their mean."""
    train_steps: Positive | None = None
    """Steps per training. None: max_steps of the experiment."""
    validation_slices: Positive | None = None
    """Slices per validation. None: as the experiment, or the whole split."""
    randomize_seed: bool = True
    """Whether the samples of a point differ in their seed."""

    def conditions(self, key: str) -> list[tuple[str, tuple[Any, ...]]]:
        """Returns the keys and values on which a key depends, the outermost first."""
        conditions: list[tuple[str, tuple[Any, ...]]] = []
        for parent, values in self.search[key].when.items():
            conditions += [x for x in self.conditions(parent) if x not in conditions]
            conditions.append((parent, values))
        return conditions

    @model_validator(mode="after")
    def _conditions_can_be_met(self) -> "Search":
        above: list[str] = []
        for key, dimension in self.search.items():
            for parent, values in dimension.when.items():
                choice = self.search[parent].choice if parent in above else None
                if choice is None:
                    raise ValueError(f"search.{key}.when: expected choices above it, got {parent}")
                if not set(values) <= set(choice):
                    raise ValueError(
                        f"search.{key}.when.{parent}: expected some of {list(choice)}, got"
                        f" {list(values)}"
                    )
            above.append(key)
        return self

    @model_validator(mode="after")
    def _trials_fit_the_tuner(self) -> "Search":
        if self.trials is None and self.tuner in ("random", "bayesian"):
            raise ValueError(f"trials: expected a number, tuner {self.tuner} has no end of its own")
        if self.trials is not None and self.tuner == "hyperband":
            raise ValueError("trials: expected none, tuner hyperband has a number of its own")
        return self

    @model_validator(mode="after")
    def _points_can_be_compared(self) -> "Search":
        for key in (key for key, dimension in self.search.items() if dimension.varies):
            if key in NOT_SEARCHED:
                raise ValueError(f"search.{key}: {NOT_SEARCHED[key]}")
            of_loss = key == "training.loss" or key.startswith("training.label_weights.")
            if of_loss and self.objective == "val_loss":
                raise ValueError(
                    f"objective val_loss and search.{key}: values of different losses cannot be"
                    " compared; set objective to val_mean_auc or val_weighted_log_loss"
                )
        return self

    @model_validator(mode="after")
    def _hyperband_has_rungs(self) -> "Search":
        every = self.base.training.validate_every
        steps = self.train_steps or self.base.training.max_steps
        if self.tuner == "hyperband" and steps < HYPERBAND_FACTOR * every:
            raise ValueError(
                f"tuner hyperband and training.validate_every {every}: expected at least"
                f" {HYPERBAND_FACTOR} validations in the {steps} steps of a training, otherwise"
                " there is one rung; lower training.validate_every, or choose another tuner"
            )
        return self


# Keys that --set changes in the search itself; all others are of the experiment.
SEARCH_KEYS = tuple(name for name in Search.model_fields if name != "base")


def load_search(name: str, overrides: Sequence[str] = ()) -> Search:
    """Reads a search; paths in it are relative to its file.

    `name` is a path or the name of a file under `experiments/`, an override `key.path=value` of the
    search (`trials=3`) or of its experiment (`training.batch_size=8`). Raises as `load_experiment`,
    and ConfigError if a point does not fit the experiment.
    """
    path = find_experiment(name)
    values = read_file(path)
    if "search" not in values.content:
        raise ConfigError(f"{path}: has no search; train it with `ich-keras fit {name}`")
    base = Values({}, {})
    for file in files_beside(path, "experiment", values.content.pop("experiment", [])):
        base = merge(base, read_file(file))
    if not base.content:
        raise ConfigError(f"{path}: experiment: expected an experiment file")
    upgrade_experiment(base)
    upgrade_validation(values, base.content)
    of_search = [text for text in overrides if re.split(r"[.=]", text)[0] in SEARCH_KEYS]
    of_base = [text for text in overrides if text not in of_search]
    base = with_overrides(Experiment, base, of_base, known=SEARCH_KEYS)
    values = with_overrides(Search, values, of_search)
    values.content.setdefault("name", path.stem)
    values.content["experiment"] = check(Experiment, base, f"{path}: experiment")
    search = check(Search, values, str(path))
    _refuse_unfit_points(search, values, str(path))
    return search


def _refuse_unfit_points(search: Search, values: Values, where: str) -> None:
    """Checks each pair of values, with the first value of every other key."""
    faults: dict[str, None] = {}
    for point in _points_of_pairs(search):
        try:
            with_values(search.base, point)
        except ConfigError as error:
            keys = [key for key in point if key in str(error)] or list(point)
            origin = values.origin(f"search.{keys[0]}") or where
            faults[f"{origin}: search: {error}"] = None
    if faults:
        raise ConfigError("\n".join(faults))


def _points_of_pairs(search: Search) -> list[dict[str, Any]]:
    """Returns points in which every two values that can occur together do so at least once."""
    tried = {key: _extremes(dimension) for key, dimension in search.search.items()}
    first = {key: values[0] for key, values in tried.items()}
    pairs = list(combinations(tried, 2)) or [(key, key) for key in tried]
    points = {}
    for a, b in pairs:
        conditions = [*search.conditions(a), *search.conditions(b)]
        required = {parent: values[0] for parent, values in conditions}
        for x, y in product(tried[a], tried[b]):
            point = _active(search, {**first, **required, a: x, b: y})
            points[repr(point)] = point
    return list(points.values())


def _active(search: Search, point: dict[str, Any]) -> dict[str, Any]:
    """Returns the point without the keys whose conditions it does not meet."""
    active: dict[str, Any] = {}
    for key, value in point.items():  # conditions name keys above
        conditions = search.search[key].when.items()
        if all(active.get(parent) in values for parent, values in conditions):
            active[key] = value
    return active


def _extremes(dimension: Dimension) -> list[Any]:
    """Returns every value of a choice, and the ends of a range."""
    if dimension.choice is not None:
        return list(dimension.choice)
    numbers = dimension.int or dimension.float
    return [dimension.fixed] if numbers is None else [numbers.min, numbers.max]

"""Experiment YAML to checked, frozen values, before anything heavy is loaded."""

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from ich_keras.experiment.schema import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    Name,
    TrainingConfig,
)
from ich_keras.experiment.sections import Section, check, set_value, with_overrides
from ich_keras.experiment.yaml_files import (
    ConfigError,
    Values,
    find_experiment,
    read_file,
    write_yaml,
)

log = logging.getLogger(__name__)


class Experiment(Section):
    """Everything that determines a run, apart from the shards."""

    name: Name
    """Name of the folder of its runs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1498
    """Seed of weights, order, dropout and augmentation."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _slices_fill_a_cell(self) -> "Experiment":
        cell = 2 ** len(self.model.widths)
        if self.data.size is not None and self.data.size < cell:
            raise ValueError(
                f"data.size {self.data.size} and model.widths of {len(self.model.widths)} stages"
                f" exclude each other, as a cell of the class map has {cell} x {cell} pixels; take"
                " larger slices, or fewer stages"
            )
        return self


def load_experiment(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment by path or shipped name; overrides are `key.path=value`."""
    path = find_experiment(name)
    values = read_file(path)
    if "search" in values.content:
        raise ConfigError(f"{path}: is a search; start it with `ich-keras tune {name}`")
    upgrade_experiment(values)
    return check(Experiment, with_overrides(Experiment, values, overrides), str(path))


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with other values at some key paths; ConfigError if one does not fit."""
    content = Values(experiment.model_dump(mode="json"), {})
    for key, value in values.items():
        content = set_value(Experiment, content, key, value)
    return check(Experiment, content)


def experiment_to_yaml(experiment: Experiment) -> str:
    """The whole experiment with every default written out; reads back to the same."""
    return write_yaml(experiment.model_dump(mode="json"))


def upgrade_recorded(content: dict[str, Any]) -> None:
    """Replaces the keys of older versions in a recorded experiment or search, in place."""
    experiment = content.get("experiment")
    if not isinstance(experiment, dict):
        upgrade_experiment(Values(content, {}))
        return
    upgrade_experiment(Values(experiment, {}))
    upgrade_validation(Values(content, {}), experiment)


def upgrade_experiment(values: Values) -> None:
    """Replaces the keys of older versions in an experiment, in place."""
    if isinstance(values.content.get("training"), dict):
        upgrade_validation(values, values.content, "training")


def upgrade_validation(values: Values, experiment: Mapping[str, Any], section: str = "") -> None:
    """Replaces `validation_steps`, batches of `evaluation.batch_size`, by `validation_slices`.

    `values` are of an experiment or a search and change in place; `section` may hold the key.
    """
    content = values.content[section] if section else values.content
    prefix = f"{section}." if section else ""
    evaluation = experiment.get("evaluation")
    batch_size = EvaluationConfig().batch_size
    if isinstance(evaluation, Mapping):
        batch_size = evaluation.get("batch_size", batch_size)
    steps = content.get("validation_steps")
    if type(steps) is int and type(batch_size) is int:
        content.setdefault("validation_slices", steps * batch_size)
        log.warning(
            "%s: %svalidation_steps is now %svalidation_slices: %d",
            values.origin(f"{prefix}validation_steps") or "recorded by an older version",
            *(prefix, prefix, steps * batch_size),
        )
    if type(steps) is int or steps is None:
        content.pop("validation_steps", None)

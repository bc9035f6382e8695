"""Experiment YAML to checked, frozen values.

An unknown or ill-typed key stops the command before anything heavy is loaded. The message names the
file, the key path, what was expected and the nearest known key.
"""

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
    """All that a run follows from, beside the shards."""

    name: Name
    """Names the folder of its runs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1498
    """Of weights, order, dropout and augmentation."""
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
    """Reads an experiment.

    Args:
        name: a path, or the name of a file under `experiments/`.
        overrides: `key.path=value`, the value as in YAML.

    Raises:
        ConfigError: names file, key path, what was expected and the nearest known key.
    """
    path = find_experiment(name)
    values = with_validation_slices(read_file(path))
    if "search" in values.content:
        raise ConfigError(f"{path}: is a search; start it with `ich-keras tune {name}`")
    return check(Experiment, with_overrides(Experiment, values, overrides), str(path))


def upgraded(values: Values) -> Values:
    """A recorded experiment or search with the keys of today for those of older versions."""
    base = values.content.get("experiment")
    if not isinstance(base, dict):
        return with_validation_slices(values)
    with_validation_slices(Values(base, values.origins))
    return validation_in_slices(values, "", base)


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with some key paths set to other values.

    Raises:
        ConfigError: if a path is unknown or a value does not fit.
    """
    content = Values(experiment.model_dump(mode="json"), {})
    for key, value in values.items():
        content = set_value(Experiment, content, key, value)
    return check(Experiment, content)


def experiment_to_yaml(experiment: Experiment) -> str:
    """The whole experiment with every default written out; reads back to the same."""
    return write_yaml(experiment.model_dump(mode="json"))


def with_validation_slices(values: Values) -> Values:
    """An experiment of before validation was counted in slices; the key counted batches."""
    training = values.content.get("training")
    return (
        validation_in_slices(values, "training.", values.content)
        if isinstance(training, dict)
        else values
    )


def validation_in_slices(values: Values, section: str, experiment: Mapping[str, Any]) -> Values:
    """Replaces `validation_steps`, batches of `evaluation.batch_size`, by `validation_slices`."""
    content = values.content[section[:-1]] if section else values.content
    evaluation = experiment.get("evaluation")
    batch_size = EvaluationConfig().batch_size
    if isinstance(evaluation, Mapping):
        batch_size = evaluation.get("batch_size", batch_size)
    steps = content.get("validation_steps")
    if type(steps) is int and type(batch_size) is int:
        content.setdefault("validation_slices", steps * batch_size)
        log.warning(
            "%s: %svalidation_steps is now %svalidation_slices: %d",
            values.origin(f"{section}validation_steps") or "recorded by an older version",
            *(section, section, steps * batch_size),
        )
    if type(steps) is int or steps is None:
        content.pop("validation_steps", None)
    return values

"""Experiment YAML to checked, frozen values.

A default stands beside its field and nowhere else. An unknown or ill-typed key stops the command
before anything heavy is loaded, with file, key path, what was expected and the nearest known key.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ich_keras.sections import Section, check, set_value, with_overrides
from ich_keras.yaml_files import (
    ConfigError,
    Values,
    files_beside,
    find_experiment,
    merge,
    read_file,
    write_yaml,
)

Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a folder of runs
KINDS = {bool, int, float, str}  # of values that KerasTuner takes


class AugmentationConfig(Section):
    """Random changes of a training slice; 0 and false leave it as it is."""

    flip: bool = False  # left and right
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0  # at most, either way
    scale: Share = 0.0  # at most, as a share of the size
    shift: Share = 0.0  # at most, as a share of the size
    grey: Share = 0.0  # at most, contrast and brightness, as a share of the range


class DataConfig(Section):
    """What is read."""

    shards: str | None = None  # folder; --shards goes before, $ICH_SHARDS after
    size: Annotated[int, Field(ge=16)] | None = None  # pixels; none means the shards' own
    windows: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names, in the order of the channels; none means all that the shards have."""
    neighbours: Annotated[int, Field(ge=0)] | None = None  # below and above; none: the shards' own
    augmentation: AugmentationConfig = AugmentationConfig()
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0  # of control and the five kinds, in training
    """0 shows slices as they come, 0.5 the groups by the square root of their sizes, 1 each equally
    often. Probabilities then follow the prevalence shown, not that of the data."""
    shuffle_buffer: Positive = 2048  # encoded records; shards are random samples already


class ModelConfig(Section):
    """The network."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 64, 128)
    """A stage each; the first at half the resolution of the slice, the others halve it further."""
    blocks: Positive = 1  # residual blocks a stage
    normalization: Literal["batch", "none"] = "batch"  # of a block's sum, but in stage 1
    pooling: Literal["max", "average", "logsumexp"] = "logsumexp"  # of the class maps
    """By measurement: on phantoms, in as many steps, the mean AUC is .976, and .963 with "max"."""
    dropout: Share = 0.0  # of whole feature maps, before the class maps
    weights: str | None = None  # best.keras of a run to start from, of any size


class LabelWeights(Section):
    """How much each label counts in the loss, next to the others."""

    epidural: AboveZero = 1.0
    intraparenchymal: AboveZero = 1.0
    intraventricular: AboveZero = 1.0
    subarachnoid: AboveZero = 1.0
    subdural: AboveZero = 1.0
    any: AboveZero = 1.0


class CallbackConfig(Section):
    """A Keras callback that watches the run; its code is trusted as the experiment file is."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]  # package.module.Class
    arguments: dict[str, Any] = Field(default_factory=dict)


class TrainingConfig(Section):
    """The run, counted in steps of one batch."""

    max_steps: Positive
    batch_size: Positive  # over all devices
    loss: Literal["mse", "bce", "focal", "weighted_log_loss"] = "mse"
    label_weights: LabelWeights = LabelWeights()
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: AboveZero  # at its highest, after the warm-up
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 256
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    validate_every: Positive = 1000  # steps
    validation_steps: Positive | None = None  # batches; none means the whole split
    figure_every: Positive = 10_000  # steps
    log_every: Positive = 100  # steps
    monitor: Literal["mean_auc", "loss", "weighted_log_loss"] = "mean_auc"  # picks best.keras
    patience: Positive | None = None  # validations without a better one; none means no early stop
    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"  # XLA
    deterministic: bool = True  # the same run again gives the same bits; costs speed on GPUs
    callbacks: tuple[CallbackConfig, ...] = ()  # such as mlflow.keras.MlflowCallback


class EvaluationConfig(Section):
    """How a run is judged."""

    batch_size: Positive = 64
    bootstrap_draws: Positive = 1000  # of patients, for the intervals
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of sensitivity and specificity


class Experiment(Section):
    """All that a run follows from, beside the shards."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1498  # of weights, order, dropout, augmentation
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()


class Range(Section):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float
    step: Annotated[float, Field(gt=0)] | None = None  # none: any number; a grid takes ten
    log: bool = False  # equal ratios are equally likely, and a step is a factor

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"expected min below max, got min {self.min:g} and max {self.max:g}")
        if self.log and self.min <= 0:
            raise ValueError(f"expected min above 0 where log is true, got {self.min:g}")
        if self.log and self.step is not None and self.step <= 1:
            raise ValueError(f"expected step above 1 where log is true, got {self.step:g}")
        return self


class IntRange(Range):
    """Whole numbers from `min` to `max`, both included."""

    min: int
    max: int
    step: Positive | None = None  # none: 1, or any where log is true


DIMENSION_KINDS = ("choice", "int", "float", "fixed")


class Dimension(Section):
    """What one key path of the experiment may be; exactly one of the first four."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    int: IntRange | None = None
    float: Range | None = None
    fixed: Any = None
    # other keys of the search, and those of their values with which this key plays a part
    when: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)

    @field_validator("choice")
    @classmethod
    def _one_kind(cls, values: tuple | None) -> tuple | None:
        """KerasTuner refuses the rest, but only when the search is under way."""
        kinds = {type(value) for value in values or ()}
        if values and kinds == {int, float}:
            values = tuple(map(float, values))
        elif len(kinds) > 1 or not kinds <= KINDS:
            raise ValueError("expected numbers, texts or booleans, all of one kind")
        if values and len(set(values)) < len(values):
            raise ValueError("expected no value twice")
        return values

    @model_validator(mode="after")
    def _exactly_one(self) -> "Dimension":
        if sum(getattr(self, name) is not None for name in DIMENSION_KINDS) != 1:
            raise ValueError("expected exactly one of choice, int, float, fixed")
        if self.fixed is not None and type(self.fixed) not in KINDS:
            raise ValueError("expected fixed to be a number, a text or a boolean")
        return self


class Search(Section):
    """A hyperparameter search around an experiment."""

    name: Name  # in a file without one: the file's
    base: Experiment = Field(alias="experiment")  # in the file: one, or a list merged in order
    search: Annotated[dict[str, Dimension], Field(min_length=1)]  # by key path of the experiment
    tuner: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    objective: Literal["val_loss", "val_mean_auc", "val_weighted_log_loss"] = "val_loss"
    trials: Positive | None = None  # points; none means the whole grid, or all that hyperband needs
    samples_per_point: Positive = 1  # runs with other seeds, averaged
    train_steps: Positive | None = None  # none means the experiment's max_steps
    validation_steps: Positive | None = None  # batches; none means the experiment's
    randomize_seed: bool = True  # whether the samples of a point differ in their seed

    @model_validator(mode="after")
    def _conditions_can_be_met(self) -> "Search":
        known: list[str] = []
        for key, dimension in self.search.items():
            for parent, values in dimension.when.items():
                choice = self.search[parent].choice if parent in known else None
                if choice is None:
                    raise ValueError(f"search.{key}.when: expected choices above it, got {parent}")
                if not set(values) <= set(choice):
                    raise ValueError(
                        f"search.{key}.when.{parent}: expected some of {list(choice)}, got"
                        f" {list(values)}"
                    )
            known.append(key)
        return self

    @model_validator(mode="after")
    def _trials_fit_the_tuner(self) -> "Search":
        if self.trials is None and self.tuner in ("random", "bayesian"):
            raise ValueError(f"trials: expected a number, tuner {self.tuner} has no end of its own")
        if self.trials is not None and self.tuner == "hyperband":
            raise ValueError("trials: expected none, tuner hyperband has a number of its own")
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
    values = read_file(path)
    if "search" in values.content:
        raise ConfigError(f"{path}: is a search; start it with `ich-keras tune {name}`")
    return check(Experiment, with_overrides(Experiment, values, overrides), str(path))


def load_search(name: str, overrides: Sequence[str] = ()) -> Search:
    """Reads a search; the files that it names stand relative to it.

    Args:
        name: a path, or the name of a file under `experiments/`.
        overrides: `key.path=value` of the search (`trials=3`) or of the experiment that it is
            around (`training.batch_size=8`).

    Raises:
        ConfigError: as `load_experiment`; also on key paths and values that no experiment has.
    """
    path = find_experiment(name)
    values = read_file(path)
    if "search" not in values.content:
        raise ConfigError(f"{path}: has no search; train it with `ich-keras fit {name}`")
    base = Values({}, {})
    for file in files_beside(path, "experiment", values.content.pop("experiment", [])):
        base = merge(base, read_file(file))
    if not base.content:
        raise ConfigError(f"{path}: experiment: expected a file to search around")
    of_search = [text for text in overrides if re.split(r"[.=]", text)[0] in SEARCH_KEYS]
    of_base = [text for text in overrides if text not in of_search]
    base = with_overrides(Experiment, base, of_base, known=SEARCH_KEYS)
    values = with_overrides(Search, values, of_search)
    values.content.setdefault("name", path.stem)
    values.content["experiment"] = check(Experiment, base, f"{path}: experiment")
    search = check(Search, values, str(path))
    _refuse_unfit_points(search, values, str(path))
    return search


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


# What --set changes in a search itself; every other key is the experiment's.
SEARCH_KEYS = tuple(name for name in Search.model_fields if name != "base")


def _refuse_unfit_points(search: Search, values: Values, where: str) -> None:
    """Every value must fit the experiment: a search that fails should fail before it starts."""
    faults: dict[str, None] = {}
    for key, dimension in search.search.items():
        origin = values.origin(f"search.{key}") or where
        for value in _extremes(dimension):
            try:
                with_values(search.base, {key: value})
            except ConfigError as error:
                faults[f"{origin}: search: {error}"] = None
    if faults:
        raise ConfigError("\n".join(faults))


def _extremes(dimension: Dimension) -> list[Any]:
    """Values that stand for all of a dimension's."""
    if dimension.choice is not None:
        return list(dimension.choice)
    numbers = dimension.int or dimension.float
    return [dimension.fixed] if numbers is None else [numbers.min, numbers.max]

"""Experiment YAML to checked, frozen values.

A default stands beside its field and nowhere else. An unknown or ill-typed key stops the command
before anything heavy is loaded, with file, key path, what was expected and the nearest known key.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ich_keras.experiment.sections import Section, check, set_value, with_overrides
from ich_keras.experiment.yaml_files import (
    ConfigError,
    Values,
    files_beside,
    find_experiment,
    merge,
    read_file,
    write_yaml,
)

log = logging.getLogger(__name__)

Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a folder of runs
KINDS = {bool, int, float, str}  # of values that KerasTuner takes


class AugmentationConfig(Section):
    """Random changes of a training slice; 0 and false leave it as it is."""

    flip: bool = False
    """Whether half of the slices are flipped left to right, at random."""
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotated by at most this, either way."""
    scale: Share = 0.0
    """Enlarged or reduced by at most this share."""
    shift: Share = 0.0
    """Moved along each axis by at most this share of the size."""
    grey: Share = 0.0
    """Contrast and brightness changed by at most this share of the range."""


class DataConfig(Section):
    """What is read."""

    shards: str | None = None
    """Folder of shards. The option --shards goes before it, $ICH_SHARDS after."""
    size: Annotated[int, Field(ge=16)] | None = None
    """Edge of a slice, pixels; smaller than the shards' by averaging areas. None: the shards'."""
    windows: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of windows, in the order of the channels. None: all that the shards have."""
    neighbours: Annotated[int, Field(ge=0)] | None = None
    """Slices below and above that stand beside each one. None: as many as the shards have."""
    augmentation: AugmentationConfig = AugmentationConfig()
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How evenly control and the five kinds are shown in training: 0 as they come, 0.5 by the
    square root of their number, 1 each equally often. Probabilities then follow the prevalence
    shown, not that of the data."""
    shuffle_buffer: Positive = 2048
    """Encoded records among which the next is drawn; shards are random samples already."""

    @field_validator("windows")
    @classmethod
    def _each_window_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("expected no window twice")
        return names


class ModelConfig(Section):
    """The network."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 64, 128)
    """Features of each stage; the first is at half the resolution of the slice, and each further
    one halves it again."""
    blocks: Positive = 1
    """Residual blocks a stage."""
    normalization: Literal["batch", "none"] = "batch"
    """Of the sum of each block from the second stage on."""
    pooling: Literal["max", "average", "logsumexp"] = "logsumexp"
    """From class maps to the slice; on phantoms, in as many steps, logsumexp has a mean AUC of .976
    where max has .963."""
    dropout: Share = 0.0
    """Share of whole feature maps that are dropped before the class maps."""
    weights: str | None = None
    """The best.keras of a run to start from; its slices may have had any size."""


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

    path: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """Where Python finds it: package.module.Class."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What it is made with, by name."""


class TrainingConfig(Section):
    """The run, counted in steps of one batch."""

    max_steps: Positive
    """Steps to train for."""
    batch_size: Positive
    """Slices a step, over all devices."""
    loss: Literal["mse", "bce", "focal", "weighted_log_loss"] = "mse"
    """Squared error, cross-entropy, focal loss, or the score of the challenge."""
    label_weights: LabelWeights = LabelWeights()
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov's momentum of 0.9."""
    learning_rate: AboveZero
    """At its highest, after the warm-up."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Whether the learning rate stays, or falls to zero at max_steps."""
    warmup_steps: Annotated[int, Field(ge=0)] = 256
    """Steps over which the learning rate rises from zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """Decoupled from the gradient; biases and normalisation do not decay."""
    validate_every: Positive = 1000
    """Steps between two validations. The state is saved as often, for a run to be resumed."""
    validation_slices: Positive | None = None
    """Slices of a validation, always the same random sample of the split. None: the whole split."""
    figure_every: Positive = 10_000
    """Steps between two class grids."""
    log_every: Positive = 100
    """Steps between two rows of the history."""
    monitor: Literal["mean_auc", "loss", "weighted_log_loss"] = "mean_auc"
    """The score of a validation by which best.keras is picked."""
    patience: Positive | None = None
    """Validations without a better score after which the run ends. None: it does not."""
    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    """The devices: one, all GPUs of the machine, those of all workers of TF_CONFIG; auto takes the
    last that applies."""
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    """Of the computation; auto is bfloat16 on GPUs that have it, and float32 elsewhere."""
    jit_compile: bool | Literal["auto"] = "auto"
    """Whether XLA compiles the step; auto does on a single GPU, unless deterministic."""
    deterministic: bool = True
    """Whether the same run again gives the same bits, which costs speed on GPUs."""
    callbacks: tuple[CallbackConfig, ...] = ()
    """Keras callbacks that watch the run, such as mlflow.keras.MlflowCallback."""

    @model_validator(mode="after")
    def _xla_can_compile(self) -> "TrainingConfig":
        """Refuses what XLA does not compile; `distribution.py` knows the devices of `auto`."""
        if self.jit_compile is True and self.deterministic:
            raise ValueError(
                "jit_compile true and deterministic true exclude each other, as XLA has no"
                " deterministic gradient of max pooling; set deterministic to false, or jit_compile"
                " to auto"
            )
        if self.jit_compile is True and self.strategy in ("mirrored", "multi_worker"):
            raise ValueError(
                f"jit_compile true and strategy {self.strategy} exclude each other, as XLA compiles"
                " the step of one device; set jit_compile to auto, or strategy to one"
            )
        return self


class EvaluationConfig(Section):
    """How a run is judged."""

    batch_size: Positive = 64
    """Slices at a time."""
    bootstrap_draws: Positive = 1000
    """Draws of patients, for the intervals."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From which a probability counts as yes in sensitivity, specificity and accuracy."""


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


class Range(Section):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance of two numbers. None: any number; a grid takes ten."""
    log: bool = False
    """Whether equal ratios are equally likely, and the step is a factor."""

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
    step: Positive | None = None
    """Distance of two numbers. None: 1, or any where log is true."""


DIMENSION_KINDS = ("choice", "int", "float", "fixed")


class Dimension(Section):
    """What one key path of the experiment may be; exactly one of the first four."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """A list of values."""
    int: IntRange | None = None
    """Whole numbers, with min, max, and maybe step and log."""
    float: Range | None = None
    """Numbers, with min, max, and maybe step and log."""
    fixed: Any = None
    """One value, instead of the experiment's."""
    when: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Other keys of the search, and those of their values with which this key plays a part."""

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

    name: Name
    """Names the folder of its searches. Left out: as the file."""
    base: Experiment = Field(alias="experiment")
    """The experiment file to search around, or a list of them, merged in order."""
    search: Annotated[dict[str, Dimension], Field(min_length=1)]
    """What is tried, by key path of the experiment."""
    tuner: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    """Which of KerasTuner's proposes the points."""
    objective: Literal["val_loss", "val_mean_auc", "val_weighted_log_loss"] = "val_loss"
    """The column of the last validation that decides."""
    trials: Positive | None = None
    """Points to try. None: the whole grid, or all that hyperband needs."""
    samples_per_point: Positive = 1
    """Trainings of a point, with other seeds; their mean counts."""
    train_steps: Positive | None = None
    """Steps of a training. None: the experiment's max_steps."""
    validation_slices: Positive | None = None
    """Slices of a validation. None: the experiment's, or the whole split."""
    randomize_seed: bool = True
    """Whether the samples of a point differ in their seed."""

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
    values = _with_validation_slices(read_file(path))
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
    base = _with_validation_slices(base)
    values = _in_slices(values, "", base.content)
    of_search = [text for text in overrides if re.split(r"[.=]", text)[0] in SEARCH_KEYS]
    of_base = [text for text in overrides if text not in of_search]
    base = with_overrides(Experiment, base, of_base, known=SEARCH_KEYS)
    values = with_overrides(Search, values, of_search)
    values.content.setdefault("name", path.stem)
    values.content["experiment"] = check(Experiment, base, f"{path}: experiment")
    search = check(Search, values, str(path))
    _refuse_unfit_points(search, values, str(path))
    return search


def upgraded(values: Values) -> Values:
    """A recorded experiment or search with the keys of today for those of older versions."""
    base = values.content.get("experiment")
    if not isinstance(base, dict):
        return _with_validation_slices(values)
    _with_validation_slices(Values(base, values.origins))
    return _in_slices(values, "", base)


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


def _with_validation_slices(values: Values) -> Values:
    """An experiment of before validation was counted in slices; the key counted batches."""
    training = values.content.get("training")
    return _in_slices(values, "training.", values.content) if isinstance(training, dict) else values


def _in_slices(values: Values, section: str, experiment: Mapping[str, Any]) -> Values:
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


# What --set changes in a search itself; every other key is the experiment's.
SEARCH_KEYS = tuple(name for name in Search.model_fields if name != "base")


def _refuse_unfit_points(search: Search, values: Values, where: str) -> None:
    """Every point must fit the experiment: a search that fails should fail before it starts.

    Each pair of values is tried, beside the first value of every other key.
    """
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
    """Points of the search in which every two values that may meet do so at least once."""
    tried = {key: _extremes(dimension) for key, dimension in search.search.items()}
    first = {key: values[0] for key, values in tried.items()}
    pairs = list(combinations(tried, 2)) or [(key, key) for key in tried]
    points = {}
    for one, other in pairs:
        for x, y in product(tried[one], tried[other]):
            needed = _conditions(search, one) | _conditions(search, other)
            point = _active(search, {**first, **needed, one: x, other: y})
            points[repr(point)] = point
    return list(points.values())


def _conditions(search: Search, key: str) -> dict[str, Any]:
    """Values of other keys with which a key plays a part, their own conditions included."""
    needed: dict[str, Any] = {}
    for parent, allowed in search.search[key].when.items():
        needed |= _conditions(search, parent) | {parent: allowed[0]}
    return needed


def _active(search: Search, point: dict[str, Any]) -> dict[str, Any]:
    """The point without the keys whose conditions it does not meet."""
    kept: dict[str, Any] = {}
    for key, value in point.items():  # conditions name keys above
        conditions = search.search[key].when.items()
        if all(kept.get(parent) in allowed for parent, allowed in conditions):
            kept[key] = value
    return kept


def _extremes(dimension: Dimension) -> list[Any]:
    """Values that stand for all of a dimension's."""
    if dimension.choice is not None:
        return list(dimension.choice)
    numbers = dimension.int or dimension.float
    return [dimension.fixed] if numbers is None else [numbers.min, numbers.max]

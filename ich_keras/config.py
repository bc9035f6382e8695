"""Experiment YAML to checked, frozen values.

A default stands beside its field and nowhere else. An unknown or ill-typed key stops the command
before anything heavy is loaded, with file, key path, what was expected and the nearest known key.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tfrecords_tools.errors import UsageError

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ConfigError(UsageError):
    """An experiment file or override that cannot be used; a line a fault."""


class Section(BaseModel):
    """A part of an experiment: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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
    windows: tuple[str, ...] | None = None  # names, in order; none means all that the shards have
    augmentation: AugmentationConfig = AugmentationConfig()
    shuffle_buffer: Positive = 2048  # encoded records; shards are random samples already


class ModelConfig(Section):
    """The network."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 64, 96)  # a stage each
    blocks: Positive = 1  # residual blocks a stage
    normalization: Literal["batch", "none"] = "batch"
    pooling: Literal["max", "average", "logsumexp"] = "max"  # of the class maps
    dropout: Share = 0.0  # of whole feature maps, before the class maps
    weights: str | None = None  # best.keras of a run to start from, of any size


class TrainingConfig(Section):
    """The run, counted in steps of one batch."""

    max_steps: Positive
    batch_size: Positive  # over all devices
    loss: Literal["mse", "bce"] = "mse"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]  # at its highest, after the warm-up
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 256
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    validate_every: Positive = 1000  # steps
    validation_steps: Positive | None = None  # batches; none means the whole split
    figure_every: Positive = 10_000  # steps
    log_every: Positive = 100  # steps
    monitor: Literal["mean_auc", "loss", "weighted_log_loss"] = "mean_auc"  # picks best.keras
    patience: Positive | None = None  # validations without a better one; none means no early stop
    strategy: Literal["auto", "one", "mirrored"] = "auto"
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"  # XLA
    deterministic: bool = True  # the same run again gives the same bits; costs speed on GPUs


class EvaluationConfig(Section):
    """How a run is judged."""

    batch_size: Positive = 64
    bootstrap_draws: Positive = 1000  # of patients, for the intervals
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of sensitivity and specificity


class Experiment(Section):
    """All that a run follows from, beside the shards."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    seed: Annotated[int, Field(ge=0)] = 1498
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()


class Range(Section):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float
    step: Annotated[float, Field(gt=0)] | None = None
    log: bool = False  # equal ratios are equally likely

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}")
        if self.log and self.min <= 0:
            raise ValueError(f"min {self.min:g} must be above 0 where log is true")
        return self


class Dimension(Section):
    """What one key path of the experiment may be; exactly one of the four."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    int: Range | None = None
    float: Range | None = None
    fixed: Any = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Dimension":
        if len(self.model_fields_set) != 1:
            raise ValueError("expected exactly one of choice, int, float, fixed")
        return self


class Search(Section):
    """A hyperparameter search around an experiment."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    base: Experiment  # in the file: `experiment`, a file or a list merged in order
    search: Annotated[dict[str, Dimension], Field(min_length=1)]
    tuner: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    objective: Literal["val_loss", "val_mean_auc", "val_weighted_log_loss"] = "val_loss"
    trials: Positive | None = None  # points; none means the whole grid
    samples_per_point: Positive = 1  # runs with other seeds, averaged
    train_steps: Positive | None = None  # none means the experiment's max_steps
    validation_steps: Positive | None = None  # batches; none means the experiment's
    randomize_seed: bool = True  # whether the samples of a point differ in their seed

    @model_validator(mode="after")
    def _points_can_be_built(self) -> "Search":
        if self.trials is None and self.tuner != "grid":
            raise ValueError(f"trials: expected a number, tuner {self.tuner} has no end of its own")
        for key, dimension in self.search.items():
            for value in _examples(dimension):
                with_values(self.base, {key: value})
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
    content = _with_overrides(_load(path), overrides, Experiment)
    if "search" in content:
        raise ConfigError(f"{path}: is a search; start it with `ich-keras tune {name}`")
    return _validate(Experiment, content, str(path))


def load_search(name: str, overrides: Sequence[str] = ()) -> Search:
    """Reads a search; its `experiment` and `include` stand relative to the file.

    Raises:
        ConfigError: as `load_experiment`; also on key paths and values that no experiment has.
    """
    path = find_experiment(name)
    content = _load(path)
    if "search" not in content:
        raise ConfigError(f"{path}: has no search; train it with `ich-keras fit {name}`")
    content = _with_overrides(content, overrides, Search)
    content.setdefault("name", path.stem)
    experiments = content.pop("experiment", None)
    if experiments is None:
        raise ConfigError(f"{path}: experiment: expected a file to search around")
    merged: dict[str, Any] = {}
    for item in [experiments] if isinstance(experiments, str) else experiments:
        merged = _merge(merged, _load(_beside(path, item)))
    content["base"] = _validate(Experiment, merged, f"{path}: experiment")
    return _validate(Search, content, str(path))


def find_experiment(name: str) -> Path:
    """The file of an experiment: a path, else a shipped file by its name or stem."""
    if Path(name).is_file():
        return Path(name)
    root = _experiments_folder()
    shipped = {str(p.relative_to(root)): p for p in sorted(root.rglob("*.yaml"))}
    wanted = name if name.endswith(".yaml") else f"{name}.yaml"
    for relative, path in shipped.items():
        if wanted in (relative, path.name) and path.parent.name != "include":
            return path
    names = [p.name for p in shipped.values() if p.parent.name != "include"]
    raise ConfigError(
        f"no experiment {name}: no such file, and none of that name is shipped"
        f"{_nearest(wanted, names)}; there are {', '.join(names)}"
    )


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with some key paths set to other values.

    Raises:
        ConfigError: if a path is unknown or a value does not fit.
    """
    content = experiment.model_dump(mode="json")
    for key, value in values.items():
        _set(content, key, value, Experiment)
    return _validate(Experiment, content, experiment.name)


def experiment_to_yaml(experiment: Experiment) -> str:
    """The whole experiment with every default written out; reads back to the same."""
    content = experiment.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML without its traps: numbers and booleans of YAML 1.2, no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.MarkedYAMLError(problem=f"line {line}: {key.value} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-3 as text, and no, off, yes and on as booleans.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def _experiments_folder() -> Path:
    """Beside the modules in an installed package, beside the package in a checkout."""
    installed = Path(__file__).parent / "experiments"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "experiments"


def _load(path: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file with what it includes; of two values the later one wins, the file's own last."""
    if path.resolve() in including:
        raise ConfigError(f"{path}: include: includes itself")
    content = _parse(path)
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for item in [includes] if isinstance(includes, str) else includes:
        merged = _merge(merged, _load(_beside(path, item), (*including, path.resolve())))
    return _merge(merged, content)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected `key: value` lines")
    return content


def _beside(path: Path, item: Any) -> Path:
    if not isinstance(item, str):
        raise ConfigError(f"{path}: expected the path of a file, got {item!r}")
    found = path.parent / item
    if not found.is_file():
        raise ConfigError(f"{path}: no such file {item}; paths are relative to this file")
    return found


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged deeply; anything else, lists too, is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _with_overrides(
    content: dict[str, Any], overrides: Sequence[str], model: type[Section]
) -> dict[str, Any]:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {override}: expected key.path=value")
        try:
            value = yaml.load(text, _Loader)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not YAML") from error
        content = _merge(content, {})
        _set(content, key, value, model)
    return content


def _set(content: dict[str, Any], key: str, value: Any, model: type[Section]) -> None:
    """Sets one key path, checked first, so that a typo is not taken for a new section."""
    *sections, last = key.split(".")
    fields, place = model, content
    for section in sections:
        if section not in fields.model_fields:
            break
        kind = fields.model_fields[section].annotation
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            break
        place[section] = dict(place.get(section) or {})
        fields, place = kind, place[section]
    else:
        if last in fields.model_fields:
            place[last] = value
            return
    raise ConfigError(f"unknown key {key}{_nearest(key, _key_paths(model))}")


def _validate(model: type[Any], content: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate(_tuples(content))
    except ValidationError as error:
        lines = [_explain(fault, where, model) for fault in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def _tuples(value: Any) -> Any:
    """Lists as tuples: frozen values hold no lists, and strict checks do not convert."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _explain(fault: Any, where: str, model: type[Section]) -> str:
    """One line: file, key path, what was expected, what was given, the nearest known key."""
    path = ".".join(str(part) for part in fault["loc"])
    known = {*_key_paths(model)}
    while path not in known and "." in path and fault["type"] != "extra_forbidden":
        path = path.rpartition(".")[0]  # branches of a union are not the user's keys
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key {path}{_nearest(path, sorted(known))}"
    if fault["type"] == "missing":
        return f"{where}: {path}: is missing"
    message = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    given = f", got {fault['input']!r}" if not isinstance(fault["input"], dict | Section) else ""
    return f"{where}: {path + ': ' if path else ''}{message}{given}"


def _key_paths(model: type[Section], prefix: str = "") -> list[str]:
    paths = []
    for name, field in model.model_fields.items():
        paths.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            paths += _key_paths(field.annotation, f"{prefix}{name}.")
    return paths


def _nearest(wanted: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    if not near:  # a right name in the wrong section
        last = wanted.rpartition(".")[2]
        near = [path for path in known if path.rpartition(".")[2] == last][:1]
    return f", did you mean {near[0]}?" if near else ""


def _examples(dimension: Dimension) -> list[Any]:
    """Values that stand for all of a dimension's."""
    if dimension.choice is not None:
        return list(dimension.choice)
    if dimension.int is not None:
        return [int(dimension.int.min), int(dimension.int.max)]
    if dimension.float is not None:
        return [dimension.float.min, dimension.float.max]
    return [dimension.fixed]

"""Frozen sections of an experiment file, and one line for each value that does not fit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ich_keras.experiment.yaml_files import ConfigError, Values, merge, read_override, suggest

# pydantic's types of errors, in the words of someone who writes YAML.
EXPECTED = {
    "model_type": "expected `key: value` lines",
    "dict_type": "expected `key: value` lines",
    "tuple_type": "expected a list",
    "too_short": "expected at least {min_length} item",
    "missing": "is missing",
    "string_pattern_mismatch": "expected text of the form {pattern}",
}


class Section(BaseModel):
    """A part of an experiment: frozen, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # for the reference in docs/reference/experiments.md
    )


AnySection = TypeVar("AnySection", bound=Section)


def check(
    model: type[AnySection], values: Values, where: str = "", *, suggesting: bool = True
) -> AnySection:
    """The values as a section.

    Messages name `where` for values that are missing or whose origin is unknown. On an unknown key
    they suggest the nearest known one, unless the file is not meant to be edited. Raises
    ConfigError, one line per key: where, key path, what was expected and what was given.
    """
    try:
        return model.model_validate(_tuples(values.content))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, model, values, where, suggesting))) from None


def with_overrides(
    model: type[Section], values: Values, overrides: Sequence[str], known: Sequence[str] = ()
) -> Values:
    """The values after `key.path=value` options, of which the last wins.

    A message on an unknown key path may also suggest those in `known`.
    """
    for override in overrides:
        key, value = read_override(override)
        values = set_value(model, values, key, value, where=f"--set {override}", known=known)
    return values


def set_value(
    model: type[Section],
    values: Values,
    key: str,
    value: Any,
    where: str = "",
    known: Sequence[str] = (),
) -> Values:
    """The values with another value at one key path; ConfigError if there is no such path."""
    paths = key_paths(model)
    if key not in paths:
        raise ConfigError(f"{_prefix(where)}unknown key {key}{suggest(key, [*paths, *known])}")
    content = value
    for part in reversed(key.split(".")):
        content = {part: content}
    return merge(values, Values(content, {key: where}))


def key_paths(model: type[Section], prefix: str = "") -> list[str]:
    """Every key path of a section, in the order of the fields; paths of sections are included."""
    paths = []
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        paths.append(path)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            paths += key_paths(field.annotation, f"{path}.")
    return paths


def _tuples(value: Any) -> Any:
    """Lists as tuples: frozen values hold no lists, and strict checks do not convert."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _explain(
    error: ValidationError, model: type[Section], values: Values, where: str, suggesting: bool
) -> Iterator[str]:
    """One line per key path."""
    by_path: dict[str, list[Any]] = {}
    for fault in error.errors():
        by_path.setdefault(_key_path(fault["loc"], values.content), []).append(fault)
    for path, faults in by_path.items():
        kind = faults[0]["type"]
        source = where if kind == "missing" else values.origin(path) or where
        if kind == "extra_forbidden":
            advice = _advice(path, key_paths(model)) if suggesting else ""
            yield f"{_prefix(source)}unknown key {path}{advice}"
        else:
            yield f"{_prefix(source)}{_prefix(path)}{_expected(faults)}"


def _advice(path: str, known: Sequence[str]) -> str:
    """The end of a message on an unknown key of a file."""
    if path not in known:
        return suggest(path, known)
    section, _, name = path.rpartition(".")  # the right path, but written as one key
    return f"; in a file, write {name} below {section}, without a dot"


def _key_path(location: Sequence[int | str], content: Any) -> str:
    """The keys of the file only: pydantic adds indices of items and names of union members."""
    parts = []
    for part in location:
        if not isinstance(content, Mapping):
            break
        parts.append(str(part))
        content = content.get(str(part))
    return ".".join(parts)


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _expected(faults: Sequence[Any]) -> str:
    """What was expected and what was given; the members of a union are alternatives."""
    first, *others = dict.fromkeys(map(_message, faults))
    alternatives = [other.removeprefix("expected ") for other in others]
    return " or ".join([first, *alternatives]) + _given(faults[0])


def _message(fault: Any) -> str:
    if fault["type"] in EXPECTED:
        return EXPECTED[fault["type"]].format(**fault.get("ctx", {}))
    return fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")


def _given(fault: Any) -> str:
    value = fault["input"]
    if fault["type"] == "missing" or isinstance(value, Mapping | Section):
        return ""
    if value is None:
        return ", got nothing"
    return f", got {list(value) if isinstance(value, tuple) else value!r}"

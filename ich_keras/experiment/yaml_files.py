"""Experiment files as plain values: found by name, merged with their includes."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tfrecords_tools.errors import UsageError

STRING = "tag:yaml.org,2002:str"

# Scalars as YAML 1.2 reads them. PyYAML's own rules are those of YAML 1.1, in which 1e-3 is text,
# 010 is eight, and no, off, yes and on are booleans.
SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?", list("-+.0123456789")),
)


class ConfigError(UsageError):
    """An experiment file or override that cannot be used; one line per fault."""


@dataclass(frozen=True)
class Values:
    """Nested values, and where they were written."""

    content: dict[str, Any]  # values as YAML gives them, by section or key
    origins: dict[str, str]  # the file or option that set a value, by key path

    def origin(self, key: str) -> str | None:
        """The file or option that set the key, or the innermost section around it."""
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins.get(key)


def find_experiment(name: str) -> Path:
    """A file by its path, or a shipped one by name or stem; ConfigError lists those shipped."""
    if Path(name).is_file():
        return Path(name)
    found = _shipped(name)
    if found:
        return found
    shipped = shipped_experiments()
    stem = Path(name).name.removesuffix(".yaml")
    near = difflib.get_close_matches(stem, [path.stem for path in shipped], n=1)
    raise ConfigError(
        f"no experiment {name}: no such file, and none of that name is shipped;"
        f"{f' did you mean {near[0]}.yaml?' if near else ''}"
        f" choose one of: {', '.join(path.name for path in shipped)}"
    )


def shipped_experiments() -> list[Path]:
    """The experiments and searches that come with the program."""
    paths = sorted(_experiments_folder().rglob("*.yaml"))
    return [path for path in paths if path.parent.name != "include"]


def _shipped(name: str) -> Path | None:
    """A shipped file by its name, its stem, or its path under `experiments/`."""
    root = _experiments_folder()
    file_name = name if name.endswith(".yaml") else f"{name}.yaml"
    for path in shipped_experiments():
        if file_name in (path.name, path.relative_to(root).as_posix()):
            return path
    return None


def read_file(path: Path, including: tuple[Path, ...] = ()) -> Values:
    """A file over the files that it includes; ConfigError names the file and the line."""
    if path.resolve() in including:
        raise ConfigError(f"{including[-1]}: include: {path.name} already includes this file")
    content = _parse(path)
    merged = Values({}, {})
    for included in files_beside(path, "include", content.pop("include", [])):
        merged = merge(merged, read_file(included, (*including, path.resolve())))
    return merge(merged, Values(content, _origins(content, str(path))))


def files_beside(path: Path, key: str, given: Any) -> list[Path]:
    """The files that a key of `path` names: relative to it, or shipped ones by their names."""
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{path}: {key}: expected a file or a list of files, got {given!r}")
    files = []
    for item in items:
        beside = path.parent / item
        file = beside if beside.is_file() else _shipped(item)
        if file is None:
            raise ConfigError(
                f"{path}: {key}: no such file {item}, neither beside this file nor shipped"
            )
        files.append(file)
    return files


def merge(base: Values, over: Values) -> Values:
    """Merges nested mappings; everything else, lists too, is replaced."""
    return Values(_merge(base.content, over.content), {**base.origins, **over.origins})


def read_override(override: str) -> tuple[str, Any]:
    """Key path and value of `key.path=value`; the value is read as in a file."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: expected key.path=value")
    try:
        return key, yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML") from error


def write_yaml(content: dict[str, Any]) -> str:
    """Text that `read_file` and any other reader of YAML read as the same content."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def suggest(key: str, known: Sequence[str]) -> str:
    """The end of a message on an unknown key path: the nearest known one, or all of them."""
    section, _, name = key.rpartition(".")
    beside = [path for path in known if path.rpartition(".")[0] == section]
    for candidates, cutoff in ((beside, 0.6), (known, 1.0), (known if not beside else [], 0.6)):
        names = {path.rpartition(".")[2]: path for path in reversed(candidates)}
        near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
        if near:
            return f", did you mean {names[near[0]]}?"
    choice = beside or [path for path in known if "." not in path]
    return f"; known keys are {', '.join(choice)}"


class _Loader(yaml.SafeLoader):
    """Safe YAML in which keys are names and appear once."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - the form in which PyYAML reads it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            problem = "expected a name before the colon" if key.tag != STRING else None
            if problem is None and key.value in seen:
                problem = f"{key.value} appears twice"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""


for _tag, _pattern, _first in SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
        )


def _experiments_folder() -> Path:
    """The experiments of the package; in a checkout, a link to those beside it."""
    return (Path(__file__).parents[1] / "experiments").resolve()


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        mend = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{path}: line {line}: {error.problem}{mend}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected `key: value` lines")
    return content


def _origins(content: dict[str, Any], where: str, prefix: str = "") -> dict[str, str]:
    origins = {}
    for key, value in content.items():
        origins[prefix + key] = where
        if isinstance(value, dict):
            origins |= _origins(value, where, f"{prefix}{key}.")
    return origins


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge(old, value)
        merged[key] = value
    return merged

"""Whether a folder holds the run or the search that a command asks for."""

import json
from collections.abc import Iterator
from typing import Any

from ich_keras.experiment.experiment import upgraded
from ich_keras.experiment.sections import AnySection, check
from ich_keras.experiment.yaml_files import ConfigError, Values
from ich_keras.run.folder import RunError

SHOWN = 6  # differences; of further ones only their number
SHARDS_KEY = "data.shards"  # may change: the fingerprint says whether the shards are the same


def parse_recorded(model: type[AnySection], content: Any, where: str) -> AnySection:
    """Returns what a folder was begun with, with the defaults of keys that it does not record.

    Args:
        model: `Experiment` or `Search`.
        content: the recorded values.
        where: the file, for the message.

    Raises:
        RunError: if this version does not know a key, or does not accept a value.
    """
    try:
        return check(model, upgraded(Values(content, {})), suggesting=False)
    except ConfigError as error:
        raise RunError(
            f"{where}: {'; '.join(str(error).splitlines())}; this version cannot resume it, so give"
            " another --run, or use the version that wrote it"
        ) from None


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns one text per key path whose value differs, with both values.

    Args:
        before: values as of JSON, such as `{"training": {"batch_size": 32}}`.
        now: the other values.

    Returns:
        Texts such as `training.batch_size 32, now 64`. The order of a list counts, that of keys
        does not.
    """
    return list(_differences(before, now, ""))


def in_short(changed: list[str]) -> str:
    """Joins differences for a message of one line."""
    more = [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return "; ".join([*changed[:SHOWN], *more])


def without_shards(experiment: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of an experiment without the folder of its shards."""
    section, _, key = SHARDS_KEY.partition(".")
    kept = {name: value for name, value in experiment[section].items() if name != key}
    return {**experiment, section: kept}


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str) -> Iterator[str]:
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif _canonical(old) != _canonical(new):
            yield f"{prefix}{key} {_shown(old)}, now {_shown(new)}"


def _canonical(value: Any) -> str:
    """Text that also tells true from 1, which Python takes for equal."""
    return json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(x)}" for key, x in value.items() if x not in (None, {}))
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)

"""Experiments and searches that a folder recorded, and how they differ from those asked for."""

import json
from collections.abc import Iterator
from typing import Any

from ich_keras.experiment.experiment import upgrade_recorded
from ich_keras.experiment.sections import AnySection, check
from ich_keras.experiment.yaml_files import ConfigError, Values
from ich_keras.run.folder import RunError

SHOWN = 6  # differences; of the others only their number
SHARDS_KEY = "data.shards"  # may change: the fingerprint says whether the shards are the same


def parse_recorded(model: type[AnySection], content: dict[str, Any], where: str) -> AnySection:
    """Checks recorded values; keys that they lack have their defaults.

    Keys of older versions are replaced in `content`; `where` names the file in messages. Raises
    RunError if this version does not know a key or does not accept a value.
    """
    upgrade_recorded(content)
    try:
        return check(model, Values(content, {}), suggesting=False)
    except ConfigError as error:
        raise RunError(
            f"{where}: {'; '.join(str(error).splitlines())}; this version cannot resume it, so give"
            " another --run, or use the version that wrote it"
        ) from None


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Key paths whose values differ, for a message of one line; empty if there are none.

    An example is `training.batch_size 32, now 64; seed 1, now 2`. Values are as in JSON: the order
    of a list counts, that of keys does not.
    """
    changed = list(_differences(before, now, ""))
    more = [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return "; ".join([*changed[:SHOWN], *more])


def without_shards(experiment: dict[str, Any]) -> dict[str, Any]:
    """The values of an experiment without the folder of its shards."""
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
    """JSON also distinguishes true from 1, which are equal in Python."""
    return json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(x)}" for key, x in value.items() if x not in (None, {}))
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)

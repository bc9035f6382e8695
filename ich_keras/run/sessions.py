"""`environment.json` of a run: what each session of it depended on."""

import json
import logging
from typing import Any

from ich_keras.run.folder import RunError, RunFolder, write_json
from ich_keras.run.identity import differences, in_short

log = logging.getLogger(__name__)


def read_environment(run: RunFolder) -> dict[str, Any]:
    """Returns the content of `environment.json`, which is empty if there is no file.

    Raises:
        RunError: if the file is damaged.
    """
    path = run.environment
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(x["step"], int) for x in {"sessions": [], **content}["sessions"]):
            raise ValueError("a session without a step")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged ({error}); remove it, and start the same command again"
        ) from error
    return dict(content)


def record_session(
    run: RunFolder, step: int, environment: dict[str, Any], data: dict[str, Any]
) -> None:
    """Adds a session to `environment.json`, and warns if its environment is another.

    The top level is the environment at the start of the run, as in files without sessions; such a
    file, of an older version, becomes the first session, with null for what it does not record.

    Args:
        run: the run's folder.
        step: the steps trained before this session.
        environment: from `environment.environment`.
        data: what is the same in every session: fingerprint of the shards, and seed.

    Raises:
        RunError: if the file is damaged.
    """
    content = read_environment(run) or {**environment, **data, "sessions": []}
    if "sessions" not in content:
        content["sessions"] = [{"step": 0} | {key: content.get(key) for key in environment}]
    if content["sessions"]:
        _warn_if_changed(content["sessions"][-1], environment, step)
    content["sessions"].append({"step": step, **environment})
    write_json(run.environment, content)


def _warn_if_changed(before: dict[str, Any], environment: dict[str, Any], step: int) -> None:
    recorded = {key: x for key, x in before.items() if key in environment and x is not None}
    changed = differences(recorded, {key: environment[key] for key in recorded})
    if changed:
        log.warning(
            "resumed at step %d in another environment: %s; the last digits of the run may differ"
            " from those of a run without a pause",
            step,
            in_short(changed),
        )

"""What a run depends on besides experiment and data, kept per session in `environment.json`."""

import json
import logging
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ich_keras.run.folder import RunError, RunFolder, write_json
from ich_keras.run.recorded import differences
from ich_keras.run.versions import commit, versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computation:
    """How steps are computed: what each `auto` of `training` became on this machine."""

    strategy: str  # `one`, `mirrored` or `multi_worker`
    precision: str  # the Keras dtype policy
    jit_compile: bool  # whether XLA compiles the step


def current_environment(devices: list[str], computation: Computation) -> dict[str, Any]:
    """What a session of a run depends on besides data and seed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "git_commit": commit(),
        "command": Path(sys.argv[0]).name,
        "devices": devices,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0",
        **asdict(computation),
    }


def read_environment(run: RunFolder) -> dict[str, Any]:
    """The content of `environment.json`, or nothing without a file; RunError if it is damaged."""
    path = run.environment
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sessions = {"sessions": [], **content}["sessions"]
        if not all(isinstance(session["step"], int) for session in sessions):
            raise ValueError("a session without a step")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged ({error}); remove it, and start the same command again"
        ) from error
    return dict(content)


def record_session(
    run: RunFolder, step: int, environment: dict[str, Any], data: dict[str, Any]
) -> None:
    """Adds a session to `environment.json`, and warns if its environment differs.

    The top level is the environment at the start of the run, as in files without sessions. Such a
    file, of an older version, becomes the first session, with null for what it does not record.
    `data` is what is the same in every session: fingerprint of the shards, and seed. Raises
    RunError if the file is damaged.
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
            changed,
        )

"""All that the next step depends on, in one file that is complete or absent."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ich_keras.run.folder import RunError, RunFolder, write_json
from tfrecords_tools.storage.atomic import whole_file

STATE_NAME = "state.npz"


@dataclass(frozen=True)
class Position:
    """How far a run has come; with the variables, all that resuming needs."""

    step: int = 0  # batches trained on
    seconds: float = 0.0  # spent on them, over all sessions
    best_value: float | None = None  # of the monitored metric; None if no validation had one yet
    best_step: int = 0  # the step of the checkpoint in `best.keras`
    stale: int = 0  # validations since the best, those without the metric included


def save_state(run: RunFolder, variables: Sequence[Any], position: Position) -> None:
    """Writes variables, always in the same order, and position, so that both are of the same step.

    `last/position.json` repeats the position for people to read.
    """
    values = {f"{i:04d}": x.numpy() for i, x in enumerate(variables)}
    content = asdict(position)
    with whole_file(run.last / STATE_NAME) as temporary, temporary.open("wb") as file:
        np.savez(file, position=np.array(json.dumps(content)), **values)
    write_json(run.position, content)


def restore_state(run: RunFolder, variables: Sequence[Any]) -> Position:
    """Assigns what `save_state` wrote, if anything; RunError if it is damaged or does not fit."""
    path = run.last / STATE_NAME
    if not path.is_file():
        return Position()
    try:
        with np.load(path, allow_pickle=False) as state:
            values = [state[f"{i:04d}"] for i in range(len(variables))]
            position = _parse_position(str(state["position"]))
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, or of another network ({error}); give another --run, or remove"
            f" {run.last} to start again"
        ) from error
    return position


def read_position(run: RunFolder) -> Position:
    """Reads `last/position.json`; RunError if the file is missing or damaged."""
    try:
        return _parse_position(run.position.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{run.position}: damaged ({error}); train again") from error


def _parse_position(text: str) -> Position:
    # Older runs wrote NaN for a metric that did not exist.
    return Position(**json.loads(text, parse_constant=lambda _: None))

"""All that the next step depends on, in one file that is there whole or not at all."""

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
    """How far a run has come; with the variables, all that resume needs.

    Attributes:
        step: batches learned from.
        seconds: spent on them, over all sessions.
        best_value: the monitored metric at its best; None as long as no validation had one.
        best_step: the step of the checkpoint in `best.keras`.
        stale: validations since the best, those without the metric included.
    """

    step: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0


def save_state(run: RunFolder, variables: Sequence[Any], position: Position) -> None:
    """Writes variables and position together, so that neither can be of another step.

    Args:
        run: `last/state.npz` and, to be read by people, `last/position.json` of its folder.
        variables: Keras variables, always in the same order.
        position: where the run is.
    """
    values = {f"{i:04d}": x.numpy() for i, x in enumerate(variables)}
    content = asdict(position)
    with whole_file(run.last / STATE_NAME) as temporary, temporary.open("wb") as file:
        np.savez(file, position=np.array(json.dumps(content)), **values)
    write_json(run.position, content)


def restore_state(run: RunFolder, variables: Sequence[Any]) -> Position:
    """Assigns what `save_state` wrote; where there is nothing yet, all stays as it is.

    Raises:
        RunError: if the file is damaged or of another network.
    """
    path = run.last / STATE_NAME
    if not path.is_file():
        return Position()
    try:
        with np.load(path, allow_pickle=False) as state:
            values = [state[f"{i:04d}"] for i in range(len(variables))]
            # Older runs wrote NaN for a metric that did not exist.
            content = json.loads(str(state["position"]), parse_constant=lambda _: None)
            position = Position(**content)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, or of another network ({error}); give another --run, or remove"
            f" {run.last} to begin anew"
        ) from error
    return position

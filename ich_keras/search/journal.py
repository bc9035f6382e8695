"""The journal of a search: one line per event, from which an interrupted search is restored.

A KerasTuner oracle gives the same answers to the same calls in the same order. An interrupted
search is therefore restored by repeating its events with a new oracle: which points were handed
out, and with which result. This works for every oracle, whereas reloading KerasTuner's own files
fails for the grid (keras-tuner issue 1055) and changes what Hyperband proposes.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ich_keras.run.folder import RunError
from ich_keras.run.recorded import differences, parse_recorded, without_shards
from ich_keras.search.config import Search
from tfrecords_tools.storage.atomic import write_text


class Begin(BaseModel, frozen=True):
    """A trial began. Journals of older versions hold `idle` for requests without a trial."""

    event: Literal["begin", "idle"] = "begin"
    status: str
    trial: str
    values: dict[str, Any]


class End(BaseModel, frozen=True):
    """A trial ended; its score is None if it failed."""

    event: Literal["end"] = "end"
    status: str
    trial: str
    score: float | None


Event = Begin | End
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Journal:
    """`journal.jsonl` of a search: the search in the first line, then its events."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        """Opens the journal, or begins it.

        `identity` is the `Search` as JSON, and `data_fingerprint` of the shards. Raises RunError if
        the file is of another search, of a version with other keys, or damaged.
        """
        self.path = path
        self.events: list[Event] = []
        if not path.is_file():
            write_text(path, _line(identity))
            return
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]  # the last write may have been interrupted
        recorded = self._read(complete.splitlines())
        _refuse_other(path, recorded, identity)
        if complete != content:
            write_text(path, complete.decode("utf-8"))

    def add(self, event: Event) -> None:
        """Adds an event, which is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(event.model_dump()))
            file.flush()
            os.fsync(file.fileno())
        self.events.append(event)

    def damaged(self, reason: object) -> RunError:
        """The error for a journal that cannot be read."""
        return RunError(f"{self.path}: damaged ({reason}); give another --run")

    def _read(self, lines: list[bytes]) -> dict[str, Any]:
        """Reads the events; returns the recorded search."""
        try:
            recorded, *events = map(json.loads, lines)
            self.events = [EVENT.validate_python(event) for event in events]
        except ValidationError as error:
            fault = error.errors()[0]
            keys = [str(key) for key in fault["loc"]]
            raise self.damaged(" ".join(["an event:", *keys, fault["msg"]])) from error
        except ValueError as error:
            raise self.damaged(error) from error
        if not isinstance(recorded, dict):
            raise self.damaged(f"expected an object, got {recorded!r}")
        return recorded


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"


def _refuse_other(path: Path, recorded: dict[str, Any], identity: dict[str, Any]) -> None:
    changed = _changed(_with_defaults(path, recorded), _with_file_keys(identity))
    if changed:
        raise RunError(
            f"{path.parent}: holds another search, which differs in {changed}; give"
            " another --run, or --fresh without --run"
        )


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    orders = [list(x["search"]) for x in (before, now)]
    if orders[0] != orders[1] and set(orders[0]) == set(orders[1]):  # a grid is tried in this order
        before, now = before | {"order of search": orders[0]}, now | {"order of search": orders[1]}
    compared = [x | {"experiment": without_shards(x["experiment"])} for x in (before, now)]
    return differences(*compared)


def _with_defaults(path: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    """Adds the defaults of keys that are newer than the journal."""
    content = _with_file_keys(recorded)
    data = {key: content.pop(key) for key in ("data_fingerprint",) if key in content}
    return parse_recorded(Search, content, str(path)).model_dump(mode="json", by_alias=True) | data


def _with_file_keys(identity: dict[str, Any]) -> dict[str, Any]:
    """Renames `base` of the journal to `experiment`, as in a search file."""
    content = json.loads(_line(identity))
    return {"experiment" if key == "base" else key: value for key, value in content.items()}

"""What happened in a search, a line an event, so that it can be told again.

KerasTuner's oracles say the same whenever they are asked the same, in the same order. So a search
that was interrupted is brought back by telling a new oracle what happened to the old one: which
points it gave out, and what came of them. That holds for every kind of oracle, where reloading
their own files fails for the grid (keras-tuner issue 1055) and changes what Hyperband proposes.
"""

import json
import os
from pathlib import Path
from typing import Any

from ich_keras.run.folder import RunError
from ich_keras.run.recorded import differences, parse_recorded, without_shards
from ich_keras.search.config import Search
from tfrecords_tools.storage.atomic import write_text

Event = dict[str, Any]


class Journal:
    """`journal.jsonl` of a search: first what is searched, then what happened.

    Attributes:
        path: the file.
        events: what happened so far.
    """

    def __init__(self, path: Path, search: Event) -> None:
        """Opens it, or begins it.

        Args:
            path: the file.
            search: what is searched, a `Search` as JSON, and `data_fingerprint` of the shards.

        Raises:
            RunError: if the file is of another search, of a version with other keys, or damaged.
        """
        self.path = path
        self.events: list[Event] = []
        if not path.is_file():
            write_text(path, _line(search))
            return
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]  # a line that was being written did not happen
        try:
            before, *self.events = [_event(line) for line in kept.splitlines()]
        except ValueError as error:
            raise RunError(f"{path}: damaged ({error}); give another --run") from error
        _refuse_other(path, before, search)
        if kept != whole:
            write_text(path, kept.decode("utf-8"))

    def add(self, event: Event) -> None:
        """Adds an event; once this returns it outlasts the machine."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(event))
            file.flush()
            os.fsync(file.fileno())
        self.events.append(event)


def _line(event: Event) -> str:
    return json.dumps(event, allow_nan=False) + "\n"


def _event(line: bytes) -> Event:
    event = json.loads(line)
    if not isinstance(event, dict):
        raise ValueError(f"expected an object, got {event!r}")
    return event


def _refuse_other(path: Path, before: Event, search: Event) -> None:
    changed = _changed(_with_defaults(path, before), _as_in_a_file(search))
    if changed:
        raise RunError(
            f"{path.parent}: holds another search, which differs in {changed}; give"
            " another --run, or --fresh without --run"
        )


def _changed(before: Event, now: Event) -> str:
    orders = [list(x["search"]) for x in (before, now)]
    if orders[0] != orders[1] and set(orders[0]) == set(orders[1]):  # a grid is tried in this order
        before, now = before | {"order of search": orders[0]}, now | {"order of search": orders[1]}
    compared = [x | {"experiment": without_shards(x["experiment"])} for x in (before, now)]
    return differences(*compared)


def _with_defaults(path: Path, recorded: Event) -> Event:
    """What is recorded, with the defaults of keys that were added since."""
    content = _as_in_a_file(recorded)
    data = {key: content.pop(key) for key in ("data_fingerprint",) if key in content}
    return parse_recorded(Search, content, str(path)).model_dump(mode="json", by_alias=True) | data


def _as_in_a_file(identity: Event) -> Event:
    """The values of a search under the keys of its file, where the journal says `base`."""
    content = json.loads(_line(identity))
    return {"experiment" if key == "base" else key: value for key, value in content.items()}

"""Which trials of a search began and ended, one line per event, so that it can be told again.

KerasTuner's oracles say the same whenever they are asked the same, in the same order. So a search
that was interrupted is brought back by telling a new oracle what happened to the old one: which
points it gave out, and what came of them. That holds for every kind of oracle, where reloading
their own files fails for the grid (keras-tuner issue 1055) and changes what Hyperband proposes.
"""

import json
import os
from pathlib import Path
from typing import Any

from ich_keras.config import Search, read_recorded_search
from ich_keras.run_folder import RunError
from ich_keras.sections import changed_values
from ich_keras.yaml_files import ConfigError
from tfrecords_tools.atomic import write_text

Event = dict[str, Any]
SHOWN = 4  # differences in a message


class Journal:
    """`journal.jsonl` of a search: first what is searched, then what happened.

    Attributes:
        path: the file.
        events: what happened so far.
    """

    def __init__(self, path: Path, search: Search, fingerprint: str) -> None:
        """Opens it, or begins it.

        Args:
            path: the file.
            search: what is searched.
            fingerprint: of the shards.

        Raises:
            RunError: if the file is of another search, or damaged.
        """
        self.path = path
        self.events: list[Event] = []
        if not path.is_file():
            identity = {**search.model_dump(mode="json"), "data_fingerprint": fingerprint}
            write_text(path, _line(identity))
            return
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]  # a line that was being written did not happen
        try:
            before, *self.events = [json.loads(line) for line in kept.splitlines()]
            theirs = before.pop("data_fingerprint")
        except (ValueError, AttributeError, KeyError) as error:
            raise RunError(f"{path}: damaged ({error}); give another --run") from error
        _refuse_other(path, before, search)
        if theirs != fingerprint:
            raise RunError(f"{path.parent}: searched on other shards; give those, or another --run")
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


def _refuse_other(path: Path, before: Event, search: Search) -> None:
    """Compares values, not text: a key that came later with its default makes no difference."""
    try:
        old = read_recorded_search(before, str(path))
    except ConfigError as error:
        reason = str(error).splitlines()[0]
        raise RunError(
            f"{reason}; this version cannot go on with that search: give another --run, or use the"
            " version that began it"
        ) from error
    changed = changed_values(old, search)
    if changed:
        raise RunError(
            f"{path.parent}: holds another search: {'; '.join(changed[:SHOWN])}; give another"
            " --run, or --fresh without --run"
        )

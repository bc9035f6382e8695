"""Nested values as the rows of a table: a dotted key, and text."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any


def flat_rows(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields dotted keys and their values as text; mappings in a list are numbered from 1.

    Of a path only the last part is shown, because the page is sent to others.
    """
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, dict):
            yield from flat_rows(value, f"{prefix}{key}.")
        else:
            items = value if isinstance(value, list) else [value]
            yield f"{prefix}{key}", ", ".join(_without_folder(str(x)) for x in items)


def environment_rows(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the rows of `environment.json`.

    First come those of the start of the run, then one per session with what differs from the start.
    """
    start = dict(flat_rows({key: value for key, value in content.items() if key != "sessions"}))
    yield from start.items()
    for number, session in enumerate(content.get("sessions", []), 1):
        rows = flat_rows({key: value for key, value in session.items() if key != "step"})
        changed = [f"{key} {value}" for key, value in rows if start.get(key) != value]
        name = f"session {number}, from step {session['step']:,}"
        yield name, "; ".join(changed) or "as at the start"


def _without_folder(text: str) -> str:
    return PurePath(text.replace("\\", "/")).name if "/" in text or "\\" in text else text

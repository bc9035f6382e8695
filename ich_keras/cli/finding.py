"""The result of one check of `ich-keras doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check; a `note` is about something that not everybody needs."""

    check: str
    state: Literal["ok", "note", "failed"]
    result: str
    fix: str = ""

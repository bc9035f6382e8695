"""A watchdog for decoders in native code, which may crash or hang and cannot be interrupted."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SECONDS_PER_FILE = 60  # to decode and window it; a thousand times what the slowest codec takes


class Watchdog:
    """Watches this process while it decodes files.

    During decoding, a note names the file, for the parent process that finds this one dead, and the
    system ends this process after SECONDS_PER_FILE. Otherwise the note is empty and nothing is
    timed: reading a file and writing a record may take as long as the storage takes.
    """

    def __init__(self, note: BinaryIO) -> None:
        self._note = note

    @contextmanager
    def decoding(self, path: str) -> Iterator[None]:
        """Watches until the context is left."""
        self._write(os.fsencode(path))
        _end_in(SECONDS_PER_FILE)
        try:
            yield
        finally:
            _end_in(0)
            self._write(b"")

    def _write(self, path: bytes) -> None:
        self._note.seek(0)
        self._note.write(path + b"\0")


@contextmanager
def watchdog(note: Path) -> Iterator[Watchdog]:
    """Creates a watchdog, whose note is removed at the end, and remains if the process dies."""
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("wb", buffering=0) as stream:
        yield Watchdog(stream)
    note.unlink()


def file_at_crash(note: Path) -> str | None:
    """Path of the file that a process was decoding when it died; None if it was not decoding.

    Removes the note, because the next process may die before it writes its own.
    """
    try:
        content = note.read_bytes()
    except FileNotFoundError:
        return None
    note.unlink()
    return os.fsdecode(content.split(b"\0")[0]) or None


def _end_in(seconds: float) -> None:
    """Makes the system end this process after some time, whatever it is doing; 0 cancels that."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)

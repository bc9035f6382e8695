"""A watch on decoders in native code, which may crash or hang and cannot be interrupted."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

SECONDS_A_FILE = 60  # to decode and window it; a thousand times what the slowest codec takes

Decoding = Callable[[str], AbstractContextManager[None]]  # of a file, by its path


@contextmanager
def decoding_watch(note: Path) -> Iterator[Decoding]:
    """Yields the context in which this process decodes a file.

    Within that context the note names the file, for whoever finds this process dead, and the
    system ends the process after SECONDS_A_FILE. Outside of it the note is empty and nothing is
    timed: reading a file and writing a record may take as long as the storage takes.

    Args:
        note: a file to write; it is removed at the end, and stays if the process dies.
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("wb", buffering=0) as stream:

        def write(path: bytes) -> None:
            stream.seek(0)
            stream.write(path + b"\0")

        @contextmanager
        def decoding(path: str) -> Iterator[None]:
            write(os.fsencode(path))
            _end_in(SECONDS_A_FILE)
            try:
                yield
            finally:
                _end_in(0)
                write(b"")

        yield decoding
    note.unlink()


def decoded_at_death(note: Path) -> str | None:
    """Path of the file that a process was decoding when it died.

    Removes the note, so that it is not taken for that of the next process, which may die before
    it writes one.

    Returns:
        None if it was doing anything else, such as waiting for a file of a slow store.
    """
    try:
        content = note.read_bytes()
    except FileNotFoundError:
        return None
    note.unlink()
    return os.fsdecode(content.split(b"\0")[0]) or None


def _end_in(seconds: float) -> None:
    """Lets the system end this process, whatever it does; 0 takes that back."""
    if hasattr(signal, "setitimer"):  # Windows has none
        signal.setitimer(signal.ITIMER_REAL, seconds)

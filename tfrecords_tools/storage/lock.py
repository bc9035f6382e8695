"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tfrecords_tools.errors import UsageError


@contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Holds a lock file; a UsageError with this message if another process holds it."""
    try:
        lock = FileLock(path, blocking=False).acquire()
    except Timeout:
        raise UsageError(message) from None
    with lock:
        yield

"""A source that stalls, fails or kills its reader on files of certain names, in the worker."""

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from tfrecords_tools.storage.source_files import open_source
from tfrecords_tools.writing import shard, watchdog

STALLS, TIMES_OUT, KILLS_TWICE = "stalls", "times_out", "kills_twice"
STALLED_SECONDS, SECONDS_PER_FILE = 1.5, 0.5
ACTS = "slow"  # a file beside the data set: name of a DICOM file, and what reading it does


def plan_stalls(source: Path, stalls: dict[str, str]) -> None:
    lines = [f"{name} {what}\n" for name, what in stalls.items()]
    (source / ACTS).write_text("".join(lines))


def write_shard(job, folder, name, slices, given_up) -> None:
    """Replaces `shard.write_shard` in a worker."""
    stalls = dict(line.split() for line in (Path(job.root) / ACTS).read_text().splitlines())
    watchdog.SECONDS_PER_FILE = SECONDS_PER_FILE

    @contextmanager
    def opened(path: str, **options):
        with open_source(path, **options) as file:
            yield file._replace(stream=_Stream(file.stream, path, stalls.get(Path(path).name)))

    shard.open_source = opened
    shard.write_shard(job, folder, name, slices, given_up)


class _Stream:
    def __init__(self, stream, path: str, what: str | None) -> None:
        self._stream, self._path, self._what = stream, path, what

    def read(self, length: int = -1) -> bytes:
        if self._what == STALLS:
            time.sleep(STALLED_SECONDS)
        if self._what == TIMES_OUT:
            raise TimeoutError("the store does not answer")  # without an errno, as sockets do
        if self._what == KILLS_TWICE:
            marker = Path(f"{self._path}.killed")
            times = len(marker.read_bytes()) if marker.exists() else 0
            if times < 2:
                marker.write_bytes(b"x" * (times + 1))
                os.kill(os.getpid(), signal.SIGKILL)
        return self._stream.read(length)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

"""A decoder that crashes or hangs on files of certain names, in the process that reads them."""

import ctypes
import time
from pathlib import Path

import numpy as np

from tfrecords_tools.writing import shard, watchdog

_decode = shard._decode  # as it is, before it is replaced
CRASHES, HANGS, CRASHES_ONCE, ALWAYS = "crashes", "hangs", "once", "always"
ACTS = "acts"  # a file beside the data set: name of a DICOM file, and what reading it does


def plan_accidents(source: Path, accidents: dict[str, str]) -> None:
    lines = [f"{name} {what}\n" for name, what in accidents.items()]
    (source / ACTS).write_text("".join(lines))


def write_shard(job, folder, name, slices, given_up) -> None:
    """Replaces `shard.write_shard` in a worker."""
    lines = (Path(job.root) / ACTS).read_text().splitlines()
    accidents = dict(line.split() for line in lines)
    watchdog.SECONDS_PER_FILE = 1

    def decode(root, file, content) -> np.ndarray:
        what = accidents.get(Path(file.path).name, accidents.get("*"))
        if what == HANGS:
            time.sleep(600)
        if what == CRASHES_ONCE:
            marker = Path(job.root) / f"{Path(file.path).name}.crashed"
            what = None if marker.exists() else CRASHES
            marker.touch()
        if what == CRASHES:
            ctypes.string_at(0)
        return _decode(root, file, content)

    shard._decode = decode
    shard.write_shard(job, folder, name, slices, given_up)

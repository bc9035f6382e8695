"""Files that are whole under their name, or not there."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfrecords_tools.storage.shard_path import ObjectPath, ShardPath, local_folder

PARTIAL = ".partial-"


@contextmanager
def whole_file(path: ShardPath) -> Iterator[Path]:
    """Gives a temporary name beside `path`, and `path` itself to what was written there.

    What goes to an object store is written on this machine first, and sent at once.

    An exception removes the unfinished file, and the space that it takes; where the process is
    killed it stays, and the next attempt writes over it.
    """
    if isinstance(path, ObjectPath):
        with local_folder(path) as folder:
            yield folder / path.name
            path.upload(folder / path.name)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(PARTIAL + path.name)
    try:
        yield temporary
        if temporary.is_file():
            _flush(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not know its file
        raise


def _flush(path: Path) -> None:
    """To the disk, else the new name may outlive a loss of power and the content not."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: ShardPath, text: str) -> None:
    """Writes a text file in UTF-8, with the line ends as they are.

    Names of files that are no text, as a file system may hold, are written with escapes.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode(errors="backslashreplace"))


def deliver(local: Path, target: ShardPath) -> None:
    """Copies a file to where others may be at the same; each does so whole, and the last stays."""
    if isinstance(target, ObjectPath):
        target.upload(local)
        return
    temporary = target.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{target.name}")
    try:
        shutil.copyfile(local, temporary)
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

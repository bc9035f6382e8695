"""Writes files that are complete under their final name, or do not exist."""

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
    """Gives a temporary path to write to, whose content then becomes `path`.

    For an object store the temporary path is on this machine, and the content is uploaded at once.
    An exception removes the temporary file; if the process is killed, the next attempt overwrites
    it.
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
        _remove(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not name its file
        raise


def _remove(path: Path) -> None:
    if path.is_dir():  # such as a SavedModel
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flushes to the disk: after a loss of power the name must not exist without its content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: ShardPath, text: str) -> None:
    """Writes UTF-8 with its line ends unchanged; file names that are not valid text get escapes."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode(errors="backslashreplace"))


def deliver(local: Path, target: ShardPath) -> None:
    """Copies a file to a target that others may write too: each copy is complete, the last wins."""
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

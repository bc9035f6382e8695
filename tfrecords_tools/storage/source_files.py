"""Opens DICOM files on this machine or on an object store."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.object_store import is_remote, object_store

BLOCK = 1 << 16  # bytes per request; in most files all that comes before the pixels


class SourceError(InputError):
    """A file that cannot be read from an object store."""


class OpenedFile(NamedTuple):
    """An open file."""

    stream: BinaryIO
    bytes: int
    # changes when the file is rewritten: modification time in nanoseconds, or a hash of the ETag on
    # an object store
    version: int


def is_regular(path: str) -> bool:
    """Whether a path is a file or a link to one, no folder or pipe; OSError if it is missing."""
    if is_remote(path) or Path(path).is_file():
        return True
    Path(path).lstat()
    return False


@contextmanager
def open_source(path: str, block: int = BLOCK) -> Iterator[OpenedFile]:
    """Opens a file of this machine or an object store, to read in blocks of at least so many bytes.

    Raises SourceError if an object store cannot be read, also while the stream is read.
    """
    if is_remote(path):
        remote = _RemoteFile(path)
        stream = io.BufferedReader(remote, max(block, 1))
        yield OpenedFile(cast(BinaryIO, stream), remote.size, remote.version)
        return
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        yield OpenedFile(file, status.st_size, status.st_mtime_ns)


class _RemoteFile(io.RawIOBase):
    """An object of which each read is a request.

    Errors of the store are SourceErrors, which no parser mistakes for a damaged file.
    """

    def __init__(self, path: str) -> None:
        self._path, self._place = path, 0
        with self._errors():
            found = object_store(path.partition("://")[0]).info(path)
            if found["type"] != "file":
                raise SourceError(f"{path}: is a folder, not an object; list the objects in it")
            self.size = int(found["size"])
            tag = str(found.get("ETag") or found["etag"])
        self.version = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "big")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        return self._read(self.size)

    def _read(self, length: int) -> bytes:
        stop = min(self._place + length, self.size)
        if stop <= self._place:
            return b""
        with self._errors():
            store = object_store(self._path.partition("://")[0])
            content = store.cat_file(self._path, start=self._place, end=stop)
        if len(content) != stop - self._place:
            raise SourceError(f"{self._path}: changed while it was read; give the command again")
        self._place = stop
        return content

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SourceError:
            raise
        except FileNotFoundError as error:
            raise SourceError(
                f"{self._path}: there is no such object; correct the list, or restore it"
            ) from error
        except Exception as error:  # of the store's library, which has errors of many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SourceError(
                f"{self._path}: {reason}; check credentials, endpoint and network"
            ) from error

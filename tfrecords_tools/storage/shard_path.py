"""Where shards are: a folder of this machine, or one of an object store, by fsspec.

An `ObjectPath` has the methods of pathlib that folders of shards need. An object is sent whole, so
under its name it is complete.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.object_store import check_store, is_remote, object_store

# What to check when a store refuses a request, and when it fails in another way.
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_CONNECTION = {
    "s3": "credentials, S3_ENDPOINT, AWS_REGION and the network",
    "gs": "credentials and the network",
}


class StoreError(InputError):
    """An object store that does not do what it was asked to."""


@dataclass(frozen=True)
class ObjectPath:
    """An object, or a folder of objects."""

    url: str  # `s3://bucket` or `gs://bucket`, and the rest of the path without a final slash

    def __truediv__(self, name: str | Path) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        return ObjectPath(self.url.rpartition("/")[0])

    @property
    def bucket(self) -> "ObjectPath":
        return ObjectPath("/".join(self.url.split("/")[:3]))

    def resolve(self) -> "ObjectPath":
        return self

    def iterdir(self) -> Iterator["ObjectPath"]:
        yield from (self / name for name in self._names())

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        matches = re.compile(re.escape(pattern).replace(r"\*", ".*")).fullmatch
        return (path for path in self.iterdir() if matches(path.name))

    def is_dir(self) -> bool:
        return bool(self._names())

    exists = is_dir

    def is_file(self) -> bool:
        with self._errors(), self._missing():
            return self._store.info(self.url)["type"] == "file"
        return False

    def mkdir(self, **_: bool) -> None:
        """Does nothing: object stores need no folders."""

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_bytes(self) -> bytes:
        with self._errors():
            return self._store.cat_file(self.url)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes an object; a missing one is no error."""
        with self._errors(), suppress(FileNotFoundError):
            self._store.rm_file(self.url)

    def upload(self, local: Path) -> None:
        """Sends a file, whole or not at all."""
        with self._errors():
            self._store.put_file(str(local), self.url)

    @property
    def _store(self) -> Any:
        return object_store(self.scheme)

    def _names(self) -> set[str]:
        """Names of what is in this folder."""
        with self._errors(), self._missing():
            listed = self._store.ls(f"{self.url}/", detail=False)
            return {name.rstrip("/").rpartition("/")[2] for name in listed}
        return set()

    @contextmanager
    def _missing(self) -> Iterator[None]:
        """Ignores a missing object, unless its bucket is missing too."""
        try:
            yield
        except FileNotFoundError:
            self._store.info(self.bucket.url)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns an error of the store into a StoreError of one line that says what to do."""
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(
                f"{self}: there is no such bucket or object; make the bucket {self.bucket}, or"
                " correct the name"
            ) from error
        except PermissionError as error:
            raise StoreError(
                f"{self}: permission denied; check {_CREDENTIALS[self.scheme]}, and what they may"
                " do with the bucket"
            ) from error
        except Exception as error:  # the libraries of the stores have errors of many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"{self}: {reason}; check {_CONNECTION[self.scheme]}") from error


ShardPath = Path | ObjectPath


def shard_path(text: str) -> ShardPath:
    """A path as a user gives it; UsageError for a store without bucket, or without its package."""
    if not is_remote(text):
        return Path(text)
    scheme, _, rest = text.partition("://")
    parts = [part for part in rest.split("/") if part]
    if not parts:
        raise UsageError(f"{text}: names no bucket; give {scheme}://BUCKET/FOLDER")
    url = f"{scheme}://{'/'.join(parts)}"
    check_store(url)
    return ObjectPath(url)


@contextmanager
def local_folder(path: ShardPath) -> Iterator[Path]:
    """The folder itself, or a temporary one for what is on its way to the store."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ich-keras-") as folder:
        yield Path(folder)


@contextmanager
def local_copy(path: ShardPath) -> Iterator[Path]:
    """The file itself, or a temporary one of the same name and bytes."""
    with local_folder(path) as folder:
        if isinstance(path, ObjectPath):
            copy = folder / path.name
            copy.write_bytes(path.read_bytes())
            yield copy
        else:
            yield path


def remove_folder(path: ShardPath) -> None:
    """Removes what lies in a folder; what cannot be removed stays."""
    if isinstance(path, Path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(StoreError):
        for child in path.iterdir():
            child.unlink()

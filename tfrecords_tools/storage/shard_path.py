"""Where shards lie: a folder of this machine, or of an object store.

Of pathlib, an `ObjectPath` has what a folder of shards is asked for. An object is sent whole, so
under its name it is complete.

tensorflow-io 0.37.1 ends a process that has used its file system by `abort` (tensorflow/io#2039),
after everything is done; whoever uses this module from Python should end with `os._exit`, as
`ich_keras.cli.main` does.
"""

import functools
import os
import re
import shutil
import sys
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.object_store import check_store, object_store

SCHEMES = ("s3://", "gs://")
# Else a server that does not answer is asked for half a minute where it refuses the connection, and
# for an hour where it is silent. Read by the file system at its first use.
PATIENCE = {
    "AWS_RETRY_MODE": "standard",
    "S3_CONNECT_TIMEOUT_MSEC": "10000",
    "S3_REQUEST_TIMEOUT_MSEC": "30000",  # without a byte
}


class StoreError(InputError):
    """An object store that does not do what was asked of it."""


@dataclass(frozen=True)
class ObjectPath(ABC):
    """An object, or a folder of objects.

    Attributes:
        url: `s3://bucket` or `gs://bucket`, and what follows without a slash at its end.
    """

    url: str

    def __truediv__(self, name: str | Path) -> "ObjectPath":
        return type(self)(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        return type(self)(self.url.rpartition("/")[0])

    @property
    def bucket(self) -> "ObjectPath":
        return type(self)("/".join(self.url.split("/")[:3]))

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
        return self.name in self.parent._names()

    def mkdir(self, **_: bool) -> None:  # noqa: B027 - for all stores
        """Folders need not be made."""

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    @abstractmethod
    def unlink(self, missing_ok: bool = False) -> None:
        """Removes an object; whether there was one, the store need not say."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """All of an object."""

    @abstractmethod
    def upload(self, local: Path) -> None:
        """Sends a file, whole or not at all."""

    @abstractmethod
    def _names(self) -> set[str]:
        """Of what lies in this folder."""


class S3Path(ObjectPath):
    """On `s3://`, by the file system of tensorflow-io, which reads the shards in training too."""

    def unlink(self, missing_ok: bool = False) -> None:
        with self._errors():
            _gfile().remove(self.url)

    def read_bytes(self) -> bytes:
        with self._errors():
            try:
                size = _gfile().stat(self.url).length
            except _tensorflow().errors.NotFoundError:
                _ask_for(self.bucket)
                raise
            # As one record: all other ways to read ask for half a megabyte at a time.
            records = _tensorflow().data.FixedLengthRecordDataset(self.url, size, buffer_size=size)
            return next(iter(records)).numpy() if size else b""

    def upload(self, local: Path) -> None:
        with self._errors():
            _gfile().copy(str(local), self.url, overwrite=True)

    def _names(self) -> set[str]:
        with self._errors():
            _ask_once(self.bucket)
            try:
                return set(_gfile().listdir(f"{self.url}/"))
            except _tensorflow().errors.NotFoundError:
                _ask_for(self.bucket)
                return set()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says in one line what the store has against it."""
        errors = _tensorflow().errors
        try:
            yield
        except errors.NotFoundError as error:
            raise StoreError(
                f"{self}: there is no such bucket or object; make the bucket {self.bucket}, or"
                " correct the name"
            ) from error
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise StoreError(
                f"{self}: permission denied; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and"
                " what they may do with the bucket"
            ) from error
        except errors.OpError as error:
            raise StoreError(
                f"{self}: {plain_message(error)}; check S3_ENDPOINT, AWS_REGION and the network"
            ) from error


class GsPath(ObjectPath):
    """On `gs://`, by gcsfs; in training TensorFlow reads it by itself."""

    def is_file(self) -> bool:
        with self._errors():
            return object_store("gs").isfile(self.url)

    def unlink(self, missing_ok: bool = False) -> None:
        with self._errors(), suppress(FileNotFoundError):
            object_store("gs").rm_file(self.url)

    def read_bytes(self) -> bytes:
        with self._errors():
            return object_store("gs").cat_file(self.url)

    def upload(self, local: Path) -> None:
        with self._errors():
            object_store("gs").put_file(str(local), self.url)

    def _names(self) -> set[str]:
        with self._errors():
            try:
                found = object_store("gs").ls(f"{self.url}/", detail=False)
            except FileNotFoundError:
                return set()
            return {name.rstrip("/").rpartition("/")[2] for name in found}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says in one line what the store has against it."""
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(
                f"{self}: there is no such bucket or object; make the bucket {self.bucket}, or"
                " correct the name"
            ) from error
        except Exception as error:  # of the store's library, which has errors of many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"{self}: {reason}; check credentials and the network") from error


ShardPath = Path | ObjectPath


def shard_path(text: str) -> ShardPath:
    """A path as a user gives it.

    Raises:
        UsageError: if it is on an object store and names no bucket, or what it needs is missing.
    """
    if not text.startswith(SCHEMES):
        return Path(text)
    scheme, _, rest = text.partition("://")
    parts = [part for part in rest.split("/") if part]
    if not parts:
        raise UsageError(f"{text}: names no bucket; give {scheme}://BUCKET/FOLDER")
    url = f"{scheme}://{'/'.join(parts)}"
    if scheme == "gs":
        check_store(url)
        return GsPath(url)
    if find_spec("tensorflow_io") is None:
        raise UsageError(
            f"{text}: needs a package that is missing: pip install 'ich-keras[s3]', which brings"
            " TensorFlow 2.17"
        )
    return S3Path(url)


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


def store_was_used() -> bool:
    """Whether this process has loaded what aborts it at its end."""
    return "tensorflow_io" in sys.modules


def plain_message(error: Any) -> str:
    """What an error of TensorFlow says, without where in a graph it came up."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*|\n.*", "", error.message, flags=re.DOTALL).strip(" :")
    text = text.removeprefix("No response body.")  # as to any request for a header
    return text or type(error).__name__


@functools.cache
def _tensorflow() -> Any:
    """TensorFlow, with the file system."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not load is said below
        import tensorflow_io  # noqa: F401  registers the file system

    if "s3" not in tf.io.gfile.get_registered_schemes():
        raise UsageError(
            f"s3://: tensorflow-io does not load with TensorFlow {tf.__version__}; pip install"
            " 'ich-keras[s3]', which brings TensorFlow 2.17"
        )
    return tf


def _gfile() -> Any:
    return _tensorflow().io.gfile


def _ask_for(bucket: ObjectPath) -> None:
    """Raises the store's own reason; of objects it says "not found", whatever went wrong."""
    _gfile().stat(f"{bucket}/")


# Before anything else, since for an object a silent server would be asked in three ways.
_ask_once = functools.cache(_ask_for)

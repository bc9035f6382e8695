"""Object stores as file systems of fsspec."""

import functools
import os
from importlib.util import find_spec
from typing import Any

from tfrecords_tools.errors import UsageError

# Each scheme, and the package by which fsspec reads it.
STORES = {"s3://": "s3fs", "gs://": "gcsfs"}
PATIENCE = {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard"}}


def is_remote(path: str) -> bool:
    """Whether a path is one on an object store."""
    return path.startswith(tuple(STORES))


def check_store(path: str) -> None:
    """Checks that what reads an object store is there.

    Raises:
        UsageError: if it is not installed.
    """
    package = STORES[path[: path.index("://") + 3]]
    if find_spec(package) is None:
        raise UsageError(
            f"{path}: needs the package {package}, which is missing: pip install 'ich-keras[cloud]'"
        )


@functools.cache
def object_store(protocol: str) -> Any:
    """The file system of `s3` or `gs`, one a process."""
    import fsspec

    if protocol == "gs":
        # Else each process asks another interface what kind of bucket it is, and waits a minute.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        return fsspec.filesystem("gs", use_listings_cache=False)
    return fsspec.filesystem(
        "s3",
        use_listings_cache=False,
        endpoint_url=os.environ.get("S3_ENDPOINT"),  # as for shards
        config_kwargs=PATIENCE,
    )

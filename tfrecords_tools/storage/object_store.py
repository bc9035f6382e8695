"""Object stores as file systems of fsspec."""

import functools
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from tfrecords_tools.errors import UsageError

# Each scheme, and the package by which fsspec reads it.
STORES = {"s3://": "s3fs", "gs://": "gcsfs"}
# A fit on such shards would name the next missing package only after the first is installed.
TO_TRAIN = {
    "s3fs": "; to train on it too: pip install 'ich-keras[s3]', which brings TensorFlow 2.17"
}


def is_remote(path: str) -> bool:
    """Whether a path is on an object store."""
    return path.startswith(tuple(STORES))


def check_store(path: str) -> None:
    """Checks that the package that reads an object store is installed; UsageError if it is not."""
    package = STORES[path[: path.index("://") + 3]]
    if find_spec(package) is None:
        raise UsageError(
            f"{path}: needs the package {package}, which is missing: pip install 'ich-keras[cloud]'"
            f"{TO_TRAIN.get(package, '')}"
        )


@functools.cache
def object_store(scheme: str) -> Any:
    """The file system of `s3` or `gs`, one per process."""
    import fsspec

    if scheme == "gs":
        # Otherwise each process asks another API for the kind of bucket, and waits for a minute.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        return fsspec.filesystem("gs", use_listings_cache=False)
    store = fsspec.filesystem(
        "s3",
        use_listings_cache=False,
        endpoint_url=os.environ.get("S3_ENDPOINT"),
        client_kwargs=_client_settings(os.environ),
        config_kwargs=_timeouts(os.environ),
    )
    store.retries = 1  # botocore tries three times already
    return store


def _client_settings(variables: Mapping[str, str]) -> dict[str, Any]:
    """What tensorflow-io reads from these variables, so that one set serves both."""
    settings: dict[str, Any] = {}
    if "AWS_REGION" in variables:
        settings["region_name"] = variables["AWS_REGION"]
    if variables.get("S3_VERIFY_SSL") == "0":
        settings["verify"] = False
    elif "S3_CA_FILE" in variables:
        settings["verify"] = variables["S3_CA_FILE"]
    return settings


def _timeouts(variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "connect_timeout": int(variables.get("S3_CONNECT_TIMEOUT_MSEC", "10000")) / 1000,
        "read_timeout": int(variables.get("S3_REQUEST_TIMEOUT_MSEC", "30000")) / 1000,
        "retries": {"mode": variables.get("AWS_RETRY_MODE", "standard")},
    }

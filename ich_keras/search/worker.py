"""A worker of a search on this machine, as `tune --workers` starts it."""

import logging
import os
import sys
from pathlib import Path

from ich_keras.search import child_process
from ich_keras.search.config import Search
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import shard_path


def _main() -> int:
    """Receives a search and trains what its chief gives out."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    task = child_process.receive()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from ich_keras.search.tuner import SearchPlace, work

    search = Search.model_validate_json(task["search"])
    try:
        work(SearchPlace(search, shard_path(task["shards"]), Path(task["folder"])))
    except InputError as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())

"""Notes of an unfinished conversion, which it needs to resume."""

import json
from typing import Any

from tfrecords_tools.errors import ConvertError
from tfrecords_tools.storage.shard_path import ShardPath

WORK = ".work"  # folder of the notes, beside the shards


def read_work(path: ShardPath) -> Any:
    """Reads a JSON file of WORK; ConvertError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        folder = path.parent.parent
        raise ConvertError(
            f"{path}: damaged; remove {folder}, and give the command again"
        ) from error

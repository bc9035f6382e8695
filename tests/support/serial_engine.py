"""An engine without processes, for tests that need no parallelism."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.planning.file_scan import ScannedFile, scan_files
from tfrecords_tools.planning.plan import PlannedShard
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.writing.shard import Job, write_shard


class _SerialEngine:
    def __init__(self, out: Path) -> None:
        self._out = out

    def scan(
        self, root: str, chunks: Iterator[Sequence[str]], hash_pixels: bool
    ) -> Iterator[list[ScannedFile]]:
        return (scan_files(root, chunk, hash_pixels) for chunk in chunks)

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        for shard in shards:
            write_shard(job, self._out, shard.name, shard.records(), {})
            yield shard


@contextmanager
def serial_engine(out: ShardPath, _workers: int | None) -> Iterator[Engine]:
    """Replaces `local_engine`."""
    assert isinstance(out, Path)
    yield _SerialEngine(out)

"""What carries out a conversion: processes of this machine, or Apache Beam."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.plan import PlannedShard
from tfrecords_tools.writing.shard import Job


class Engine(Protocol):
    """The two passes over the files: headers, then pixels."""

    def scan(
        self, root: str, chunks: Iterator[Sequence[str]], hash_pixels: bool
    ) -> Iterator[list[ScannedFile]]:
        """Yields what `scan_files` returns for each chunk of paths, in order."""

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        """Yields each shard as soon as it is in the output, together with its result."""

"""What carries a conversion out: the processes of this machine, or Apache Beam."""

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
        """What `scan_files` says of each chunk of paths, in order."""

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        """Each shard as soon as it stands in the output, with what became of its slices."""

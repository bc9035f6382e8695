"""A conversion on this machine, in which each process writes whole shards."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.crashes import Crashes
from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.planning.file_scan import ScannedFile, scan_files
from tfrecords_tools.planning.plan import PlannedShard
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.storage.shard_path import ObjectPath, ShardPath, StoreError, local_folder
from tfrecords_tools.writing.shard import Job, write_shard


@contextmanager
def local_engine(out: ShardPath, workers: int | None) -> Iterator[Engine]:
    """The engine of this machine, with so many processes; None means one per core."""
    workers = workers or os.cpu_count() or 1
    with local_folder(out) as folder, worker_pool(workers) as pool:
        yield _LocalEngine(pool, folder, out, queue=2 * workers)


@dataclass(frozen=True)
class _LocalEngine:
    pool: ProcessPool
    folder: Path  # shards are written here before they are uploaded to an object store
    out: ShardPath
    queue: int  # maximum number of shards that are scheduled at a time

    def scan(
        self, root: str, chunks: Iterator[Sequence[str]], hash_pixels: bool
    ) -> Iterator[list[ScannedFile]]:
        tasks: deque[Future] = deque()
        for chunk in chunks:  # a list may still be growing
            with uninterrupted():
                tasks.append(self.pool.schedule(scan_files, args=(root, chunk, hash_pixels)))
            while tasks and tasks[0].done():
                yield tasks.popleft().result()
        while tasks:
            yield tasks.popleft().result()

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        try:
            yield from self._write(job, deque(shards))
        except (OSError, StoreError) as error:
            raise ConvertError(f"{error}; once that is fixed, the same command resumes") from error

    def _write(self, job: Job, waiting: deque[PlannedShard]) -> Iterator[PlannedShard]:
        crashes = Crashes(self.folder, self.out)
        running: dict[Future, PlannedShard] = {}
        while waiting or running:
            while waiting and len(running) < self.queue:
                shard = waiting.popleft()
                running[self._schedule(job, shard, crashes)] = shard
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                shard = running.pop(task)
                try:
                    task.result()
                except ProcessExpired as crash:
                    crashes.add(shard.name, crash)
                    waiting.append(shard)
                else:
                    crashes.shard_finished(shard.name)
                    self._upload(shard.name)
                    yield shard

    def _schedule(self, job: Job, shard: PlannedShard, crashes: Crashes) -> Future:
        given_up = dict(crashes.given_up)
        arguments = (job, self.folder, shard.name, shard.records(), given_up)
        with uninterrupted():
            return self.pool.schedule(write_shard, args=arguments)

    def _upload(self, name: str) -> None:
        """Uploads the result of a shard and, last, the shard, if `out` is on an object store."""
        if isinstance(self.out, ObjectPath):
            for path in (self.folder / WORK / f"{name}.json", self.folder / name):
                (self.out / path.relative_to(self.folder)).upload(path)
                path.unlink()

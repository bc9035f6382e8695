"""What workers of a Beam pipeline do; an element is the name of a task."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from pebble import ProcessExpired

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.beam_tasks import dump_scanned, load_shard, scanned_file, task_file
from tfrecords_tools.engines.crashes import Crashes
from tfrecords_tools.planning.file_scan import scan_files
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.storage.atomic import deliver, write_text
from tfrecords_tools.storage.shard_path import ShardPath, shard_path
from tfrecords_tools.writing.shard import read_result, result_file, write_shard

NAMESPACE = "ich-keras"  # of counters


class Scan(beam.DoFn):
    """Reads the headers of the files of a task."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, name: str) -> None:
        out = shard_path(self._out)
        files = scan_files(*json.loads(task_file(out, name).read_text(encoding="utf-8")))
        target = scanned_file(out, name)
        with tempfile.TemporaryDirectory(prefix="ich-keras-") as temporary:
            write_text(Path(temporary, target.name), dump_scanned(files))
            deliver(Path(temporary, target.name), target)
        _count("files", len(files))
        _count("files rejected by their headers", sum(bool(x.reason) for x in files))


class WriteShard(beam.DoFn):
    """Writes a shard, in a separate process, because a codec may crash."""

    def __init__(self, out: str) -> None:
        self._out = out

    def setup(self) -> None:
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(worker_pool(1))

    def teardown(self) -> None:
        self._stack.close()

    def process(self, name: str) -> None:
        out = shard_path(self._out)
        if not (result_file(out, name).is_file() and (out / name).is_file()):
            self._write(out, name)
        result = read_result(out, name)
        _count("shards")
        _count("slices", len(result.kept))
        _count("files rejected by their pixels", len(result.rejects))

    def _write(self, out: ShardPath, name: str) -> None:
        job, slices = load_shard(task_file(out, name).read_text(encoding="utf-8"))
        result = result_file(out, name)
        with tempfile.TemporaryDirectory(prefix="ich-keras-") as temporary:
            folder = Path(temporary)
            crashes = Crashes(folder, folder)
            while True:
                arguments = (job, folder, name, slices, dict(crashes.given_up))
                try:
                    self._pool.schedule(write_shard, args=arguments).result()
                    break
                except ProcessExpired as crash:
                    crashes.add(name, crash)
            deliver(folder / WORK / result.name, result)
            deliver(folder / name, out / name)


def _count(name: str, number: int = 1) -> None:
    Metrics.counter(NAMESPACE, name).inc(number)

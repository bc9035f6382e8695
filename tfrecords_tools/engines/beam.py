"""A conversion by Apache Beam, on whatever cluster it runs: an element a task.

Of a pipeline only the names of tasks are asked to travel. Tasks and what comes of them are files in
the folder of work beside the shards, which all workers must reach as they do the DICOM files: a
shared folder, or an object store. Two attempts at one task write the same bytes, each under a name
of its own until they are whole, so a runner may repeat what it likes.
"""

import contextlib
import io
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult
from pebble import ProcessExpired, concurrent

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.beam_tasks import (
    dump_paths,
    dump_scanned,
    dump_shard,
    load_paths,
    load_scanned,
    load_shard,
)
from tfrecords_tools.engines.crashes import Deaths
from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.errors import ConvertError, InputError, UsageError
from tfrecords_tools.planning.file_scan import ScannedFile, scan_files
from tfrecords_tools.planning.plan import PlannedShard
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.storage.atomic import deliver, write_text
from tfrecords_tools.storage.object_store import is_remote
from tfrecords_tools.storage.shard_path import ShardPath, shard_path
from tfrecords_tools.writing.shard import Job, read_result, result_file, write_shard, written_names

# Beam's own default asks the network for a program (Prism) that it would rather run.
IN_PROCESS = "FnApiRunner"
NAMESPACE = "ich-keras"  # of counters
CHUNKS_A_TASK = 8  # of files whose headers are read; each task costs two objects of a store
# How often it is looked what came of the tasks: at first often, then less so; a store counts it.
FIRST_LOOK_SECONDS, LOOK_EVERY_SECONDS = 0.2, 15.0

log = logging.getLogger(__name__)


@contextmanager
def beam_engine(out: ShardPath, arguments: Sequence[str]) -> Iterator[Engine]:
    """The engine of a Beam runner.

    Args:
        out: where the shards go; all workers must reach it.
        arguments: pipeline options; without `--runner` the pipeline runs in this process.

    Raises:
        UsageError: if the options are none of Beam's.
    """
    with _without_tracebacks():
        yield _BeamEngine(out.resolve(), _options(arguments))


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Silences Beam, which writes each error several times; what fails is told in one line."""
    root = logging.getLogger()
    level = root.level
    if not log.isEnabledFor(logging.DEBUG):
        root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)


def _options(arguments: Sequence[str]) -> PipelineOptions:
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            options = PipelineOptions(list(arguments))
            known = options.get_all_options()
    except SystemExit:
        last = messages.getvalue().strip().rpartition("error: ")[2]
        raise UsageError(f"pipeline options: {last}") from None
    unknown = set(options.get_all_options(retain_unknown_options=True)) - set(known)
    if unknown:  # some runners have options that only their server knows
        log.warning("pipeline options that Beam does not know: %s", ", ".join(sorted(unknown)))
    if options.view_as(StandardOptions).runner is None:
        options.view_as(StandardOptions).runner = IN_PROCESS
    return options


@dataclass(frozen=True)
class _BeamEngine:
    out: ShardPath
    options: PipelineOptions

    def scan(
        self, root: str, chunks: Iterator[Sequence[str]], hash_pixels: bool
    ) -> Iterator[list[ScannedFile]]:
        root = root if not root or is_remote(root) else os.path.abspath(root)  # noqa: PTH100
        names: list[str] = []
        for name in self._scanned_names():
            _found_file(self.out, name).unlink()  # of an earlier attempt
        while paths := [*chain.from_iterable(islice(chunks, CHUNKS_A_TASK))]:
            names.append(f"scan-{len(names):06d}")
            write_text(_task_file(self.out, names[-1]), dump_paths(root, paths, hash_pixels))
        ready: set[str] = set()
        told = 0
        try:
            for name in self._done("Scan", names, _Scan(str(self.out)), self._scanned_names):
                ready.add(name)
                while told < len(names) and names[told] in ready:  # in order
                    found = _found_file(self.out, names[told])
                    yield load_scanned(found.read_text(encoding="utf-8"))
                    told += 1
        finally:
            for name in names:  # they name patients
                _task_file(self.out, name).unlink(missing_ok=True)
                _found_file(self.out, name).unlink(missing_ok=True)

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        by_name = {shard.name: shard for shard in shards}
        for name, shard in by_name.items():
            write_text(_task_file(self.out, name), dump_shard(job, shard.records()))
        do = _WriteShard(str(self.out))
        for name in self._done("Convert", list(by_name), do, lambda: written_names(self.out)):
            yield by_name[name]

    def _scanned_names(self) -> set[str]:
        work, end = self.out / WORK, _found_file(self.out, "").name
        names = [path.name for path in work.iterdir()] if work.is_dir() else []
        return {name.removesuffix(end) for name in names if name.endswith(end)}

    def _done(
        self, label: str, names: Sequence[str], do: beam.DoFn, finished: Callable[[], set[str]]
    ) -> Iterator[str]:
        """The name of each task, once what comes of it is there."""
        left = set(names)
        if not left:
            return
        pipeline = beam.Pipeline(options=self.options)
        _ = pipeline | beam.Create(names) | beam.Reshuffle() | label >> beam.ParDo(do)
        results: list[PipelineResult] = []
        running = _run(pipeline, results)
        pause = FIRST_LOOK_SECONDS
        try:
            while left or not running.done():
                over = running.done()  # before looking, or what came last would be missed
                if over:
                    running.result()
                ready = left & finished()
                left -= ready
                yield from sorted(ready)
                if over and left:
                    raise ConvertError(f"Beam ended, and {len(left)} tasks of {label} did not")
                if not over:
                    time.sleep(pause)
                    pause = min(1.2 * pause, LOOK_EVERY_SECONDS)
            running.result()
        except InputError:
            raise
        except Exception as error:  # each runner has its own for what its workers raise
            raise ConvertError(
                f"{_plain(error)}; once that is mended, the same command goes on"
            ) from error
        finally:
            if results and not running.done():
                results[0].cancel()
        _tell(results[0])


@concurrent.thread(daemon=True)
def _run(pipeline: beam.Pipeline, results: list[PipelineResult]) -> None:
    """Runs a pipeline to its end; its result is there as soon as it can be cancelled."""
    results.append(pipeline.run())
    results[0].wait_until_finish()


class _Scan(beam.DoFn):
    """Reads the headers that a task names."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, name: str) -> None:
        out = shard_path(self._out)
        root, paths, hash_pixels = load_paths(_task_file(out, name).read_text(encoding="utf-8"))
        found = scan_files(root, paths, hash_pixels)
        _deliver_text(dump_scanned(found), _found_file(out, name))
        left_out = sum(bool(x.reason) for x in found)
        _count("files", len(found))
        _count("files left out by their headers", left_out)


class _WriteShard(beam.DoFn):
    """Writes a shard, in a process of its own: a codec may crash."""

    def __init__(self, out: str) -> None:
        self._out = out

    def setup(self) -> None:
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(worker_pool(1))

    def teardown(self) -> None:
        self._stack.close()

    def process(self, name: str) -> None:
        out = shard_path(self._out)
        result = result_file(out, name)
        if not (result.is_file() and (out / name).is_file()):  # else another attempt came first
            job, slices = load_shard(_task_file(out, name).read_text(encoding="utf-8"))
            with tempfile.TemporaryDirectory(prefix="ich-keras-") as temporary:
                folder = Path(temporary)
                deaths = Deaths(folder, folder)
                while True:
                    arguments = (job, folder, name, slices, dict(deaths.given_up))
                    try:
                        self._pool.schedule(write_shard, args=arguments).result()
                        break
                    except ProcessExpired as death:
                        deaths.note(name, death)
                deliver(folder / WORK / result.name, result)
                deliver(folder / name, out / name)
        written = read_result(out, name)
        _count("shards")
        _count("slices", len(written.kept))
        _count("files left out by their pixels", len(written.rejects))


def _task_file(out: ShardPath, name: str) -> ShardPath:
    return out / WORK / f"{name}.task.json"


def _found_file(out: ShardPath, name: str) -> ShardPath:
    return out / WORK / f"{name}.found.json"


def _deliver_text(text: str, target: ShardPath) -> None:
    with tempfile.TemporaryDirectory(prefix="ich-keras-") as temporary:
        write_text(Path(temporary, target.name), text)
        deliver(Path(temporary, target.name), target)


def _count(what: str, number: int = 1) -> None:
    Metrics.counter(NAMESPACE, what).inc(number)


def _tell(result: PipelineResult) -> None:
    """The counters, as the workers counted; a task that was repeated may count twice."""
    counters = result.metrics().query()["counters"]
    ours = {x.key.metric.name: x.result for x in counters if x.key.metric.namespace == NAMESPACE}
    log.info("Beam counted %s", ", ".join(f"{n:,} {name}" for name, n in sorted(ours.items())))


def _plain(error: Exception) -> str:
    """What a worker raised, without Beam's words around it."""
    last = str(error).strip().rpartition("\n")[2].partition(" [while running")[0]
    return re.sub(r"^([\w.]*Error: )+", "", last)

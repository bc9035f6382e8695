"""A conversion by Apache Beam, on any cluster: one element per task.

Only the names of tasks travel through the pipeline. Tasks and their results are files in WORK,
beside the shards, which all workers must reach as they reach the DICOM files: on a shared folder or
an object store. Two attempts at one task write the same bytes, each under its own name until they
are complete, so a runner may repeat tasks.
"""

import contextlib
import io
import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult
from pebble import concurrent

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.beam_tasks import dump_shard, load_scanned, scanned_file, task_file
from tfrecords_tools.engines.beam_workers import NAMESPACE, Scan, WriteShard
from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.errors import ConvertError, InputError, UsageError
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.plan import PlannedShard
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.object_store import is_remote
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.writing.shard import Job, written_names

IN_PROCESS = "FnApiRunner"  # Beam's own default would download a program (Prism)
CHUNKS_PER_TASK = 8  # chunks of files whose headers are read; each task costs two objects
# The folder is listed for results less and less often, since a store charges for each listing.
FIRST_POLL_SECONDS, POLL_SECONDS = 0.2, 15.0

log = logging.getLogger(__name__)


@contextmanager
def beam_engine(out: ShardPath, arguments: Sequence[str]) -> Iterator[Engine]:
    """The engine of a Beam runner, by default one in this process; UsageError for wrong options."""
    with _without_tracebacks():
        yield _BeamEngine(out.resolve(), _options(arguments))


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Silences Beam, which logs each error several times; it is reported in one line instead."""
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
        for name in self._scanned_names():
            scanned_file(self.out, name).unlink()  # from an earlier attempt
        names: list[str] = []
        while paths := [*chain.from_iterable(islice(chunks, CHUNKS_PER_TASK))]:
            names.append(f"scan-{len(names):06d}")
            task = json.dumps([root, paths, hash_pixels])
            write_text(task_file(self.out, names[-1]), task)
        finished: set[str] = set()
        waiting = deque(names)
        try:
            for name in self._run("Scan", names, Scan(str(self.out)), self._scanned_names):
                finished.add(name)
                while waiting and waiting[0] in finished:
                    text = scanned_file(self.out, waiting.popleft()).read_text(encoding="utf-8")
                    yield load_scanned(text)
        finally:
            for name in names:  # these files contain patient ids
                task_file(self.out, name).unlink(missing_ok=True)
                scanned_file(self.out, name).unlink(missing_ok=True)

    def write(self, job: Job, shards: Sequence[PlannedShard]) -> Iterator[PlannedShard]:
        by_name = {shard.name: shard for shard in shards}
        for name, shard in by_name.items():
            write_text(task_file(self.out, name), dump_shard(job, shard.records()))
        do = WriteShard(str(self.out))
        for name in self._run("Convert", list(by_name), do, lambda: written_names(self.out)):
            yield by_name[name]

    def _scanned_names(self) -> set[str]:
        work, end = self.out / WORK, scanned_file(self.out, "").name
        names = [path.name for path in work.iterdir()] if work.is_dir() else []
        return {name.removesuffix(end) for name in names if name.endswith(end)}

    def _run(
        self, label: str, names: Sequence[str], do: beam.DoFn, finished: Callable[[], set[str]]
    ) -> Iterator[str]:
        """Runs a pipeline, and yields the name of each task once its result is there."""
        if not names:
            return
        pipeline = beam.Pipeline(options=self.options)
        _ = pipeline | beam.Create(names) | beam.Reshuffle() | label >> beam.ParDo(do)
        run = _PipelineRun(pipeline)
        try:
            yield from _poll(run, label, set(names), finished)
            run.wait()
        except InputError:
            raise
        except Exception as error:  # each runner wraps the errors of its workers differently
            raise ConvertError(
                f"{_without_beam(error)}; once that is fixed, the same command resumes"
            ) from error
        finally:
            run.cancel()
        run.log_counters()


def _poll(
    run: "_PipelineRun", label: str, names: set[str], finished: Callable[[], set[str]]
) -> Iterator[str]:
    """Yields the names of finished tasks, until all are finished."""
    pause = FIRST_POLL_SECONDS
    while names:
        ended = run.ended()  # asked before the results are listed, or the last would be missed
        ready = names & finished()
        names = names - ready
        yield from sorted(ready)
        if names and ended:
            raise ConvertError(f"Beam ended, and {len(names)} tasks of {label} did not")
        if names:
            time.sleep(pause)
            pause = min(1.2 * pause, POLL_SECONDS)


class _PipelineRun:
    """A pipeline that runs in a thread."""

    def __init__(self, pipeline: beam.Pipeline) -> None:
        self._pipeline = pipeline
        self._result: PipelineResult | None = None
        self._thread = self._run()

    @concurrent.thread(daemon=True)
    def _run(self) -> None:
        self._result = self._pipeline.run()
        self._result.wait_until_finish()

    def ended(self) -> bool:
        """Whether the pipeline has ended; raises its error if it failed."""
        if not self._thread.done():
            return False
        self.wait()
        return True

    def wait(self) -> None:
        """Waits for the end; raises the error of the pipeline if it failed."""
        self._thread.result()

    def cancel(self) -> None:
        """Cancels the pipeline if it is still running."""
        if self._result is not None and not self._thread.done():
            self._result.cancel()

    def log_counters(self) -> None:
        """Logs what the workers counted; a task that was repeated may count twice."""
        assert self._result is not None
        counters = self._result.metrics().query()["counters"]
        ours = {
            x.key.metric.name: x.result for x in counters if x.key.metric.namespace == NAMESPACE
        }
        text = ", ".join(f"{number:,} {name}" for name, number in sorted(ours.items()))
        log.info("Beam counted %s", text)


def _without_beam(error: Exception) -> str:
    """The message of a worker's error, without what Beam adds to it."""
    last = str(error).strip().rpartition("\n")[2].partition(" [while running")[0]
    return re.sub(r"^([\w.]*Error: )+", "", last)

"""Worker processes for CPU-bound tasks; a crash affects one task only."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext

import cv2
from pebble import ProcessExpired, ProcessPool

from tfrecords_tools.errors import InputError

# Otherwise each array of a slice is mapped and unmapped by the system, page by page, which takes a
# third of the time of a conversion. glibc reads this when a process starts.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


@contextmanager
def worker_pool(workers: int | None) -> Iterator[ProcessPool]:
    """Starts processes, and stops them at the end or on an error.

    A task whose process dies raises `pebble.ProcessExpired`; the other tasks continue. There is one
    process per core if `workers` is None. Raises InputError if the block does not handle such a
    death.
    """
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    # Spawned, because a forked process would inherit locks and threads in use.
    context = multiprocessing.get_context("spawn")
    _check_semaphores(context)
    pool = ProcessPool(workers or os.cpu_count() or 1, initializer=_start, context=context)
    try:
        yield pool
    except (ProcessExpired, BrokenProcessPool) as error:
        raise InputError(
            "a worker process died: a library crashed, or memory ran out; give the same command"
            " again, with fewer --workers if memory is short"
        ) from error
    finally:
        pool.stop()
        pool.join()


def _check_semaphores(context: BaseContext) -> None:
    """Makes one, which Linux keeps in /dev/shm, before a pool fails at it without a word on why."""
    try:
        context.Lock()
    except OSError as error:
        raise InputError(
            f"worker processes cannot be started ({error.strerror}): /dev/shm must exist, be"
            " writable and not full; `mount -t tmpfs shm /dev/shm`, or `docker run --shm-size=1g`"
        ) from error


def _start() -> None:
    # Ctrl-C reaches every process of a terminal; the parent stops its workers in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # there is one worker per core already
    # Warnings of damaged files, which are rejected with a reason. Filters are global to a process,
    # so this is set once, before any thread reads.
    warnings.filterwarnings("ignore", module=r"pydicom\.")


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed, before a restart writes the same files."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Processes for work that fills the cores; one that dies takes nothing else along."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2
from pebble import ProcessExpired, ProcessPool

from tfrecords_tools.errors import InputError

# Else each array of a slice is mapped from the system anew and given back, page by page, which
# takes a third of the time of a conversion. Read by glibc as a process starts; others ignore it.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


class WorkerError(InputError):
    """A worker that died."""


@contextmanager
def worker_pool(workers: int | None) -> Iterator[ProcessPool]:
    """Processes to give work to; at the end, and on an error, they are stopped.

    A task whose process dies raises `pebble.ProcessExpired`; the other tasks go on.

    Args:
        workers: how many; None means one a core.

    Raises:
        WorkerError: if such a death is not handled within.
    """
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    # Spawned, so that no lock and no thread of this process is inherited in the middle of its use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(workers or os.cpu_count() or 1, initializer=_start, context=context)
    try:
        yield pool
    except (ProcessExpired, BrokenProcessPool) as error:
        raise WorkerError(
            "a worker process died, by a crash in a library or for want of memory; give the same"
            " command again, with fewer --workers if memory is short"
        ) from error
    finally:
        pool.stop()
        pool.join()


def _start() -> None:
    # Ctrl-C reaches every process of a terminal; the parent's answer to it is an orderly end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # there is a worker a core already
    # Of damaged files; each has the reason why it is left out. Set once, before there is a thread
    # that reads: the filters are those of the whole process.
    warnings.filterwarnings("ignore", module=r"pydicom\.")


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed, before a restart writes the same files."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

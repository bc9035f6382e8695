"""Workers end with their parent, and their death is reported in one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfrecords_tools.errors import InputError
from tfrecords_tools.processes import worker_pool


def runs(process_id: int) -> bool:
    """Whether the process runs; a zombie does not."""
    status = Path(f"/proc/{process_id}/status")
    try:
        return "State:\tZ" not in status.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_dies_is_an_error_of_one_line():
    one_line = pytest.raises(InputError, match=r"^a worker process died: .*--workers.*$")
    with one_line, worker_pool(1) as pool:
        pool.schedule(os._exit, args=(1,)).result()


def test_workers_that_cannot_start_are_an_error_of_one_line():
    """As in a program without a file, which workers would load, or without memory."""
    program = (
        "import os\n"
        "from tfrecords_tools.errors import InputError\n"
        "from tfrecords_tools.processes import worker_pool\n"
        "try:\n"
        "    with worker_pool(2) as pool:\n"
        "        pool.schedule(os.getpid).result()\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=program, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("a worker process died")
    assert done.stdout.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed():
    """Otherwise a worker would write at the same time as the restarted command."""
    program = (
        "import os, time\n"
        "from tfrecords_tools.processes import worker_pool\n"
        "with worker_pool(1) as pool:\n"
        "    print(pool.schedule(os.getpid).result(), flush=True)\n"
        "    pool.schedule(time.sleep, args=(60,)).result()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert runs(worker)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(worker)


def test_without_shared_memory_the_error_says_what_to_do(monkeypatch):
    """As in a container without /dev/shm; Python's own error is a bare number."""

    def lock(_context):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", lock)
    one_line = pytest.raises(InputError, match=r"^worker processes cannot .* /dev/shm must exist")
    with one_line, worker_pool(1):
        pass

"""What a command takes, at one speed of the machine.

    python -m benchmarks.measured CORES COMMAND...

A shared machine's speed changes by the second. So a probe, the same small sum ten times a second
on the cores of the command, tells how fast they were meanwhile, and times are those of a machine
that takes 2 ms for it. This is a program of its own, and a small one, since the peak of memory
that the system tells of a process is that of its parent if that is higher.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time

PROBE_SUM, PROBE_PAUSE, PROBE_SECONDS = range(100_000), 0.1, 0.002


def _probe(ended: threading.Event, found: list[float]) -> None:
    while not ended.is_set():
        began = time.thread_time()
        sum(PROBE_SUM)
        found.append(time.thread_time() - began)
        ended.wait(PROBE_PAUSE)


def main() -> int:
    """Prints a line of JSON; ends as the command does."""
    cores, *command = sys.argv[1:]
    os.sched_setaffinity(0, range(int(cores)))
    ended, probes = threading.Event(), list[float]()
    probing = threading.Thread(target=_probe, args=(ended, probes))
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    probing.start()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    ended.set()
    probing.join()
    probe = statistics.mean(probes)
    found = {
        "seconds": seconds * PROBE_SECONDS / probe,
        "core_seconds": (used.ru_utime + used.ru_stime) * PROBE_SECONDS / probe,
        "megabytes": used.ru_maxrss / 1024,
        "probe_seconds": probe,
    }
    print(json.dumps(found))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

"""Time and memory of a command, at a constant speed of the machine.

    python -m benchmarks.measured CORES COMMAND...

The speed of a shared machine changes by the second. A probe, the same small sum ten times a second
on the cores of the command, measures how fast they were, and times are scaled to those of a machine
that takes 2 ms for the probe. This is a small program of its own, since the system reports a peak
memory of a process that is at least that of its parent.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

ABOUT = __doc__.splitlines()[0]
PROBE_SUM, PROBE_PAUSE, PROBE_SECONDS = range(100_000), 0.1, 0.002


def _probe(ended: threading.Event, seconds: list[float]) -> None:
    while not ended.is_set():
        began = time.thread_time()
        sum(PROBE_SUM)
        seconds.append(time.thread_time() - began)
        ended.wait(PROBE_PAUSE)


def main() -> int:
    """Prints a line of JSON; returns the exit code of the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.measured", description=ABOUT)
    parser.add_argument("cores", type=int, metavar="CORES")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, range(arguments.cores))
    ended, probes = threading.Event(), list[float]()
    probing = threading.Thread(target=_probe, args=(ended, probes))
    began = time.monotonic()
    process = subprocess.Popen(arguments.command, stdout=subprocess.DEVNULL)
    probing.start()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    ended.set()
    probing.join()
    probe = statistics.mean(probes)
    cost = {
        "seconds": seconds * PROBE_SECONDS / probe,
        "core_seconds": (used.ru_utime + used.ru_stime) * PROBE_SECONDS / probe,
        "megabytes": used.ru_maxrss / 1024,
        "probe_seconds": probe,
    }
    print(json.dumps(cost))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

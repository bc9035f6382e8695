"""Processes of our own: told what to do in a line of JSON, and gone when their parent is."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def start(
    module: str, task: Mapping[str, Any], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """Starts `python -m module` with a task.

    Its standard input stays open as long as this process lives; it must be kept by the caller.

    Args:
        module: calls `receive` before all else.
        task: what JSON can hold.
        log: where its messages are added.
        environment: variables beside those of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as messages:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(dict(task)).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already; its exit code says so
    return process


def receive() -> dict[str, Any]:
    """The task of this process, which ends from here on as soon as its parent has."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        task = json.loads(pipe.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    return task


def _end_with_the_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # which ends when the other end of the pipe is gone
    os._exit(1)

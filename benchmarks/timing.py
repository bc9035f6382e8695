"""Runs `ich-keras` as a user does, and measures how long calls take."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

ICH_KERAS = (sys.executable, "-m", "ich_keras")

Result = TypeVar("Result")


def run_ich_keras(*arguments: object) -> None:
    """Runs a command to its end; its error goes to the terminal."""
    command = [*ICH_KERAS, *map(str, arguments), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of a call, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result

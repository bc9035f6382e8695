"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_SECONDS = 10.0


class _Lines(tqdm):
    """A tqdm that ends each update with a newline, for logs and pipes."""

    @staticmethod
    def status_printer(file: TextIO) -> Callable[[str], None]:
        def write(status: str) -> None:
            file.write(status + "\n")
            file.flush()

        return write


def progress(
    iterable: Any = None, *, desc: str, unit: str, total: int | None = None, done: int = 0
) -> tqdm:
    """Wraps work in a progress display with rate and time left, on standard error.

    Args:
        iterable: what to iterate over, or None to call `update()` by hand.
        desc: what is being done, a word or two.
        unit: what is counted, in the singular.
        total: how many there will be, where the iterable has no length.
        done: how many of them were done earlier; they do not count in the rate.
    """
    options: dict[str, Any] = {"desc": desc, "unit": f" {unit}", "total": total, "ascii": " #"}
    options["initial"] = done
    if sys.stderr.isatty():
        return tqdm(iterable, leave=None, **options)
    every = LINE_EVERY_SECONDS
    return _Lines(iterable, delay=every, mininterval=every, maxinterval=every, **options)

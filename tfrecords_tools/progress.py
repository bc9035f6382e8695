"""Progress of long work on standard error: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from functools import cache
from typing import Any

import rich.progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

BAR_EVERY_SECONDS = 0.1
LINE_EVERY_SECONDS = 10.0
RATE_PERIOD_SECONDS = 600.0  # the rate is the mean over this time, or over 1000 updates


def status(task: rich.progress.Task) -> str:
    """Returns such as `45 %, 450 of 1,000 in 0:00:40, 0:00:50 left, 11.0 step/s, loss 0.0312`."""
    count = f"{task.completed:,.0f}"
    if task.total is not None:
        count = f"{task.percentage:.0f} %, {count} of {task.total:,.0f}"
    parts = [f"{count} in {_seconds(task.elapsed or 0)}"]
    if task.time_remaining:
        parts.append(f"{_seconds(task.time_remaining)} left")
    if task.speed:
        unit = task.fields["unit"]
        slow = task.speed < 1
        parts.append(f"{1 / task.speed:.1f} s/{unit}" if slow else f"{task.speed:.1f} {unit}/s")
    return ", ".join([*parts, *task.fields["notes"]])


def write_above(text: str) -> None:
    """Writes lines to standard error, above the bars if there are any."""
    if _bars().live.is_started:
        _bars().console.print(Text(text), end="", soft_wrap=True)
    else:
        sys.stderr.write(text)


class Progress:
    """Counts finished work, and shows from time to time how much of it is done.

    A display may be opened within another one. Lines are written only for work that takes longer
    than the interval between them.
    """

    def __init__(self, work: Iterable, description: str, **fields: Any) -> None:
        self._work = work
        self._description = description
        self._fields = fields | {"notes": ()}
        self._terminal = sys.stderr.isatty() and not _bars().console.is_dumb_terminal
        self._every = BAR_EVERY_SECONDS if self._terminal else LINE_EVERY_SECONDS
        self._tasks = _bars() if self._terminal else rich.progress.Progress(disable=True)
        self._tasks.speed_estimate_period = RATE_PERIOD_SECONDS

    def __enter__(self) -> "Progress":
        self._id = self._tasks.add_task(self._description, **self._fields)
        self._opened = self._shown = time.monotonic()
        self._tasks.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._terminal and len(self._tasks.tasks) == 1:
            self._tasks.stop()  # the bar stays on the terminal
        elif not self._terminal and self._shown > self._opened:
            self._show()
        self._tasks.remove_task(self._id)

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self._work:
                yield item
                self.update()

    def update(self, count: int = 1) -> None:
        self._tasks.advance(self._id, count)
        if time.monotonic() - self._shown >= self._every:
            self._show()
            self._shown = time.monotonic()

    def note(self, text: str) -> None:
        """Sets the text behind the rate."""
        self._tasks.update(self._id, notes=(text,))

    def status(self) -> str:
        """Returns the count, the rate and the time left, as `status` does."""
        return status(next(x for x in self._tasks.tasks if x.id == self._id))

    def _show(self) -> None:
        if self._terminal:
            self._tasks.refresh()
        else:
            print(f"{self._description}: {self.status()}", file=sys.stderr, flush=True)


def progress(
    work: Iterable = (), *, desc: str, unit: str, total: int | None = None, done: int = 0
) -> Progress:
    """Wraps work in a display of its progress, with rate and time left, on standard error.

    Without `work`, call `update()` in a `with` block. `unit` is in the singular. `done` items of an
    earlier session do not count in the rate.
    """
    if total is None and isinstance(work, Sized):
        total = len(work) or None
    return Progress(work, desc, total=total, completed=done, unit=unit)


class _StatusColumn(rich.progress.ProgressColumn):
    def render(self, task: rich.progress.Task) -> Text:
        return Text(status(task))


@cache
def _bars() -> rich.progress.Progress:
    """Returns the bars of this process, since a terminal shows only one group of them at a time.

    They are drawn by `update`, not by a thread. Standard output may be a pipe, and stays as it is.
    """
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}:", markup=False),
        rich.progress.BarColumn(bar_width=None),
        _StatusColumn(Column(no_wrap=True)),
        console=Console(stderr=True),
        auto_refresh=False,
        redirect_stdout=False,
    )


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=round(value))

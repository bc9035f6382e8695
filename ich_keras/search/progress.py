"""A search as it goes on: a table on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ich_keras.search.space import direction
from ich_keras.search.trials import TrialRow

log = logging.getLogger(__name__)

SHOWN = 15  # trials; of the others only their number
REFRESHES = 0.5  # a second


class SearchTable:
    """Shows the trials of a search while it is entered.

    Args:
        objective: what is compared.
        total: trials there will be; None where that is not known.
        rows: every trial so far.
        step: the steps that a trial under way has come to, over its samples.
        samples: trainings a trial.
    """

    def __init__(
        self,
        objective: str,
        total: int | None,
        rows: Callable[[], list[TrialRow]],
        step: Callable[[str], int],
        samples: int,
    ) -> None:
        self._objective, self._total, self._rows, self._step = objective, total, rows, step
        self._samples = samples
        self._said: set[str] | None = None  # trials that ended; None before the search begins
        self._before = 0
        self._began = time.monotonic()
        self._ended, self._last_end = 0, 0.0  # trials since the search began, and when the last did
        self._live: Live | None = None

    def __enter__(self) -> "SearchTable":
        self._said = {row.trial for row in self._rows() if row.state != "running"}
        self._before, self._began = len(self._said), time.monotonic()
        if self._said:
            log.info("%d trials were made before, and are not made again", self._before)
        if sys.stderr.isatty():
            console = Console(stderr=True)
            self._live = Live(
                get_renderable=self.table, console=console, refresh_per_second=REFRESHES
            )
            self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._said = None

    def changed(self) -> None:
        """Says what ended since the last time, where there is no table."""
        if self._said is None or self._live is not None:
            return
        rows = self._rows()
        ended = [row for row in rows if row.state != "running"]
        for row in ended:
            if row.trial not in self._said:
                self._said.add(row.trial)
                log.info(
                    "trial %s %s: %s; %s", row.trial, row.state, _in_words(row), self._far(rows)
                )

    def table(self) -> Table:
        """The best trials and those under way."""
        rows = self._rows()
        shown = _most_telling(rows, self._objective)
        keys = list(dict.fromkeys(key for row in shown for key in row.point))
        table = Table(caption=self._far(rows), caption_justify="left")
        for name in ("trial", *keys, self._objective, "spread", "state", "step"):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right")
        for row in shown:
            values = [str(row.point.get(key, "")) for key in keys]
            scores = [_number(row.mean), _number(row.spread)]
            table.add_row(row.trial, *values, *scores, row.state, self._progress(row))
        return table

    def _progress(self, row: TrialRow) -> str:
        whole = row.steps * self._samples
        return f"{self._step(row.trial) if row.state == 'running' else whole:,} of {whole:,}"

    def _far(self, rows: list[TrialRow]) -> str:
        ended = sum(row.state != "running" for row in rows)
        failed = sum(row.state == "failed" for row in rows)
        total = "" if self._total is None else f" of {self._total:,}"
        text = f"{ended:,}{total} trials ended, {failed:,} failed"
        new, now = ended - self._before, time.monotonic()
        if self._total is None or not new:
            return text
        if new != self._ended:
            self._ended, self._last_end = new, now
        left = (self._last_end - self._began) / new * (self._total - ended) - now + self._last_end
        left = max(left, 0)
        return f"{text}, about {timedelta(seconds=round(left))} left"


def _most_telling(rows: list[TrialRow], objective: str) -> list[TrialRow]:
    """Those under way, then the best."""
    sign = -1 if direction(objective) == "max" else 1
    running = [row for row in rows if row.state == "running"]
    done = sorted((x for x in rows if x.state == "done"), key=lambda row: sign * row.mean)
    failed = [row for row in rows if row.state == "failed"]
    return [*running, *done, *failed][:SHOWN]


def _in_words(row: TrialRow) -> str:
    point = ", ".join(f"{key}={value}" for key, value in row.point.items())
    if row.state == "failed":
        return f"{point}: {row.failure}"
    spread = "" if np.isnan(row.spread) else f" ± {row.spread:.5f}"
    return f"{point}: {row.mean:.5f}{spread}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.5f}"

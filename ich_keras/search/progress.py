"""The progress of a search: a table on a terminal, lines of the log elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ich_keras.search.space import point_text
from ich_keras.search.trials import TrialRow, best_first

log = logging.getLogger(__name__)

SHOWN = 15  # trials in the table
REFRESHES_PER_S = 0.5


class SearchProgress:
    """Shows the trials of a search while it is entered.

    `step` returns the steps that a running trial has done, over its samples.
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
        self._ended: set[str] | None = None  # trials; None while nothing is shown
        self._ended_before = 0
        self._start = self._last_end = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> "SearchProgress":
        self._ended = {row.trial for row in self._rows() if row.state != "running"}
        self._ended_before = len(self._ended)
        self._start = self._last_end = time.monotonic()
        if self._ended:
            log.info("%d trials ended before and are not repeated", self._ended_before)
        if sys.stderr.isatty():
            console = Console(stderr=True)
            self._live = Live(
                get_renderable=self.table, console=console, refresh_per_second=REFRESHES_PER_S
            )
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._ended = None

    def changed(self) -> None:
        """Notes the trials that ended since the last call; logs them where there is no table."""
        if self._ended is None:
            return
        rows = self._rows()
        new = [row for row in rows if row.state != "running" and row.trial not in self._ended]
        if not new:
            return
        self._ended |= {row.trial for row in new}
        self._last_end = time.monotonic()
        for row in new if self._live is None else []:
            log.info("trial %s %s: %s; %s", row.trial, row.state, _result(row), self._summary(rows))

    def table(self) -> Table:
        """Returns the running trials, then the best."""
        rows = self._rows()
        running, failed = ([x for x in rows if x.state == state] for state in ("running", "failed"))
        shown = [*running, *best_first(rows, self._objective), *failed][:SHOWN]
        keys = list(dict.fromkeys(key for row in shown for key in row.point))
        table = Table(caption=self._summary(rows), caption_justify="left")
        for name in ("trial", *keys, self._objective, "spread", "state", "step"):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right")
        for row in shown:
            values = [str(row.point.get(key, "")) for key in keys]
            scores = [_number(row.mean), _number(row.spread)]
            table.add_row(row.trial, *values, *scores, row.state, self._steps(row))
        return table

    def _steps(self, row: TrialRow) -> str:
        total = row.steps * self._samples
        return f"{self._step(row.trial) if row.state == 'running' else total:,} of {total:,}"

    def _summary(self, rows: list[TrialRow]) -> str:
        """Returns how many trials ended and failed, and about how long the others will take."""
        ended = sum(row.state != "running" for row in rows)
        failed = sum(row.state == "failed" for row in rows)
        total = "" if self._total is None else f" of {self._total:,}"
        text = f"{ended:,}{total} trials ended, {failed:,} failed"
        ended_now = ended - self._ended_before
        if self._total is None or not ended_now:
            return text
        per_trial = (self._last_end - self._start) / ended_now
        left = per_trial * (self._total - ended) - (time.monotonic() - self._last_end)
        return f"{text}, about {timedelta(seconds=max(round(left), 0))} left"


def _result(row: TrialRow) -> str:
    if row.state == "failed":
        return f"{point_text(row.point)}: {row.failure}"
    spread = "" if np.isnan(row.spread) else f" ± {row.spread:.5f}"
    return f"{point_text(row.point)}: {row.mean:.5f}{spread}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.5f}"

"""The results of the trials of a search, as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.search.space import Point, maximized
from ich_keras.search.training_process import Outcome

STATES = {"RUNNING": "running", "COMPLETED": "done", "FAILED": "failed", "INVALID": "failed"}


@dataclass(frozen=True)
class TrialRow:
    """A trial and its results so far."""

    trial: str  # its id
    point: Point
    state: str  # running, done or failed
    steps: int  # per training
    samples: tuple[float, ...] = ()  # the objective of each training that is done
    failure: str = ""  # why it failed
    seconds: float = 0.0  # of training

    @property
    def mean(self) -> float:
        """Mean objective over the samples; NaN unless the trial is done."""
        return float(np.mean(self.samples)) if self.state == "done" and self.samples else np.nan

    @property
    def spread(self) -> float:
        """Standard deviation over the samples; NaN for fewer than two."""
        return float(np.std(self.samples, ddof=1)) if len(self.samples) > 1 else np.nan


def trial_row(
    trial: str, point: Point, status: str, steps: int, outcomes: Iterable[Outcome], objective: str
) -> TrialRow:
    outcomes = list(outcomes)
    values = [x.scores[objective] for x in outcomes if x.state == "done"]
    messages = [x.message for x in outcomes if x.state != "done"]
    if None in values:
        messages.append(f"{objective} does not exist: the validation slices are all of one class")
    return TrialRow(
        trial,
        point,
        STATES[status],
        steps,
        tuple(value for value in values if value is not None),
        "; ".join(dict.fromkeys(messages)),
        sum(x.seconds for x in outcomes),
    )


def best_first(rows: Iterable[TrialRow], objective: str) -> list[TrialRow]:
    """Returns the trials that are done, by mean objective; among equals the earlier comes first."""
    sign = -1 if maximized(objective) else 1
    return sorted((row for row in rows if row.state == "done"), key=lambda row: sign * row.mean)


def ranked(rows: Iterable[TrialRow], objective: str) -> list[TrialRow]:
    """Returns the longest-trained of the trials that are done, the best first.

    Hyperband's rungs are trained for different numbers of steps, and objectives after different
    numbers of steps cannot be compared.
    """
    done = best_first(rows, objective)
    longest = max((row.steps for row in done), default=0)
    return [row for row in done if row.steps == longest]


def trials_table(rows: Iterable[TrialRow], objective: str) -> pd.DataFrame:
    """Returns `trials.csv`: one row per trial; the objective is empty unless the trial is done."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {"trial": row.trial, **row.point, objective: row.mean}
        line |= {"spread": row.spread, "steps": row.steps, "seconds": round(row.seconds, 1)}
        line |= {f"sample_{i + 1}": value for i, value in enumerate(row.samples)}
        lines.append(line | {"state": row.state, "failure": row.failure})
    table = pd.DataFrame(lines)
    last = ["steps", "seconds", "state", "failure"]
    return table[[x for x in table.columns if x not in last] + last] if lines else table

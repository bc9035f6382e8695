"""What the trials of a search came to, as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.run.folder import RunFolder
from ich_keras.search.space import Point, direction
from ich_keras.search.training_process import Outcome

STATES = {"RUNNING": "running", "COMPLETED": "done", "FAILED": "failed", "INVALID": "failed"}


@dataclass(frozen=True)
class TrialRow:
    """A trial.

    Attributes:
        trial: its id.
        point: what is tried.
        state: running, done or failed.
        steps: up to which it is trained.
        samples: the objective of each training that is done.
        failure: why it failed, or "".
        seconds: spent on training.
    """

    trial: str
    point: Point
    state: str
    steps: int
    samples: tuple[float, ...] = ()
    failure: str = ""
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Over the samples; NaN while there are none, or where one of them failed."""
        return float(np.mean(self.samples)) if self.state == "done" and self.samples else np.nan

    @property
    def spread(self) -> float:
        """The standard deviation over the samples; NaN for one."""
        return float(np.std(self.samples, ddof=1)) if len(self.samples) > 1 else np.nan


def sample_run(folder: Path, first_trial: str, sample: int) -> RunFolder:
    """The run of a sample, from 0, of a trial that began anew."""
    return RunFolder(folder / "trials" / first_trial / f"sample_{sample + 1}")


def row_of(
    trial: str, point: Point, status: str, steps: int, outcomes: Iterable[Outcome], objective: str
) -> TrialRow:
    """The row of a trial from what its samples came to."""
    known = list(outcomes)
    values = [x.scores[objective] for x in known if x.state == "done"]
    messages = [x.message for x in known if x.state != "done"]
    if None in values:
        messages.append(f"{objective} does not exist: the slices validated on are all of one kind")
    return TrialRow(
        trial,
        point,
        STATES[status],
        steps,
        tuple(value for value in values if value is not None),
        "; ".join(dict.fromkeys(messages)),
        sum(x.seconds for x in known),
    )


def ranked(rows: Iterable[TrialRow], objective: str) -> list[TrialRow]:
    """The trials that are done, the best mean objective first.

    Of those trained to different steps, as Hyperband's rungs are, only the longest: an objective
    says nothing beside one of another step. Of equal ones the earlier comes first.
    """
    done = [row for row in rows if row.state == "done"]
    longest = max((row.steps for row in done), default=0)
    sign = -1 if direction(objective) == "max" else 1
    return sorted((row for row in done if row.steps == longest), key=lambda x: sign * x.mean)


def table_of(rows: Iterable[TrialRow], objective: str) -> pd.DataFrame:
    """`trials.csv`: a row a trial; the objective is empty where it failed or still goes on."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {"trial": row.trial, **row.point, objective: row.mean}
        line |= {"spread": row.spread, "steps": row.steps, "seconds": round(row.seconds, 1)}
        line |= {f"sample_{i + 1}": value for i, value in enumerate(row.samples)}
        lines.append(line | {"state": row.state, "failure": row.failure})
    table = pd.DataFrame(lines)
    last = ["steps", "seconds", "state", "failure"]
    return table[[x for x in table.columns if x not in last] + last] if lines else table

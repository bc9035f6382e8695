"""`history.csv` of a run: what was logged, one row per logged step."""

import csv
from pathlib import Path
from typing import Any

from tfrecords_tools.storage.atomic import whole_file

COLUMNS = (
    "step",
    "seconds",
    "learning_rate",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_mean_auc",
    "val_weighted_log_loss",
    "warning",
)


class History:
    """The rows of `history.csv`, written whole each time so that a crash cannot cut one."""

    def __init__(self, path: Path, *, upto_step: int = 0) -> None:
        """Takes over the rows of an earlier session, up to the step that the run resumes from."""
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file() and upto_step:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows = [row for row in rows if int(row["step"]) <= upto_step]

    def write(self) -> None:
        with (
            whole_file(self.path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

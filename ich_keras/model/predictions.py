"""What a network predicts for the slices of a split."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS


@dataclass(frozen=True)
class Predictions:
    """The network's answer for the slices of a split, one row a slice.

    Attributes:
        slice_id: str, shape (N,).
        study_id: str, shape (N,).
        patient_key: str, shape (N,).
        position_mm: float32, shape (N,), along the slice normal.
        labels: int64, shape (N, 6), 0 or 1, in the order of LABELS.
        probabilities: float32, shape (N, 6), 0..1.
        dense_mm2: float, shape (N,), what the plain rule sees; None where it was not asked.
        series_id: str, shape (N,), of the series of each slice; None for shards, which record
            studies only.
    """

    slice_id: np.ndarray
    study_id: np.ndarray
    patient_key: np.ndarray
    position_mm: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    dense_mm2: np.ndarray | None = None
    series_id: np.ndarray | None = None

    @property
    def series(self) -> np.ndarray:
        """Tells the series of the slices apart; of shards the studies, which have one each."""
        return self.study_id if self.series_id is None else self.series_id

    def take(self, rows: np.ndarray) -> "Predictions":
        """Some of the rows, by their indices."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: x[rows] for k, x in columns.items() if x is not None})

    def with_probabilities(self, probabilities: np.ndarray) -> "Predictions":
        """The same slices with other answers, (N, 6)."""
        return replace(self, probabilities=probabilities)

    def table(self) -> pd.DataFrame:
        """A row a slice: ids, then `<label>` and `<label>_true` for the six labels."""
        columns: dict[str, np.ndarray] = {
            "slice_id": self.slice_id,
            "study_id": self.study_id,
            "patient_key": self.patient_key,
        }
        for k, label in enumerate(LABELS):
            columns[label] = self.probabilities[:, k]
            columns[f"{label}_true"] = self.labels[:, k]
        return pd.DataFrame(columns)

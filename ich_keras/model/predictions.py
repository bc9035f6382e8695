"""Predictions of a network for the slices of a split, beside their labels."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS, known_labels


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for the slices of a split; one row per slice."""

    slice_id: np.ndarray  # str, shape (N,)
    study_id: np.ndarray  # str, shape (N,)
    patient_key: np.ndarray  # str, shape (N,)
    position_mm: np.ndarray  # float32, shape (N,), along the slice normal
    labels: np.ndarray  # int64, 0 or 1, (N, 6) in the order of LABELS; (N, 1) of `any` alone
    probabilities: np.ndarray  # float32, shape (N, 6), 0..1
    dense_mm2: np.ndarray | None = None  # float, shape (N,); None without plain rule
    series_id: np.ndarray | None = None  # str, shape (N,); None for shards, which lack it

    @property
    def series(self) -> np.ndarray:
        """Series of each slice; for shards its study, which has one series."""
        return self.study_id if self.series_id is None else self.series_id

    def take(self, rows: np.ndarray) -> "Predictions":
        """Some of the rows, by their indices."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: x[rows] for k, x in columns.items() if x is not None})

    def with_probabilities(self, probabilities: np.ndarray) -> "Predictions":
        """The same slices with other probabilities, (N, 6)."""
        return replace(self, probabilities=probabilities)

    def table(self) -> pd.DataFrame:
        """One row per slice: ids, then `<label>` and `<label>_true` for the six labels.

        Where only `any` is known, `<label>_true` is empty for the others.
        """
        known = dict(zip(known_labels(self.labels.shape[1]), self.labels.T, strict=True))
        columns: dict[str, np.ndarray | None] = {
            "slice_id": self.slice_id,
            "study_id": self.study_id,
            "patient_key": self.patient_key,
        }
        for k, label in enumerate(LABELS):
            columns[label] = self.probabilities[:, k]
            columns[f"{label}_true"] = known.get(label)
        return pd.DataFrame(columns)

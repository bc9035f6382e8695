"""Confidence intervals of scores by resampling patients (bootstrap), all draws at once.

The slices of a patient are not independent, so patients are resampled, never slices. In every array
over draws, row 0 is the data themselves and the other rows are resampled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_keras.scores.ranking import rank, ranking_scores, ratio

CHUNK_ELEMENTS = 1_000_000  # rows times draws at a time: some tens of MB


@dataclass(frozen=True, eq=False)
class Resampling:
    """Patients drawn with replacement; the same draws serve every score."""

    patient: np.ndarray  # int, shape (N,): index of the patient of each row (slice, study), from 0
    weights: np.ndarray  # int32, shape (1 + draws, patients): how often each patient is in a draw

    @property
    def patients(self) -> int:
        return self.weights.shape[1]

    def rankings(self, labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUC and average precision, float (1 + draws, columns); both arguments (N, columns)."""
        auc, precision = np.empty((2, len(self.weights), labels.shape[1]))
        step = max(1, CHUNK_ELEMENTS // len(labels))
        for k in range(labels.shape[1]):
            ranking = rank(labels[:, k], scores[:, k])
            ordered = self.patient[ranking.order]
            for start in range(0, len(self.weights), step):
                rows = slice(start, start + step)
                weights = np.take(self.weights[rows], ordered, axis=1)
                auc[rows, k], precision[rows, k] = ranking_scores(ranking, weights)
        return auc, precision

    def counts(self, outcomes: np.ndarray) -> np.ndarray:
        """The number of rows with each outcome, (1 + draws, columns); outcomes (N, columns)."""
        by_patient = [np.bincount(self.patient, x, self.patients) for x in outcomes.T]
        return self.weights @ np.stack(by_patient, axis=1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean of values (N,) over rows; float (1 + draws,)."""
        totals = self.weights @ np.bincount(self.patient, values, self.patients)
        return totals / (self.weights @ np.bincount(self.patient, minlength=self.patients))

    def rates(self, labels: np.ndarray, decided: np.ndarray) -> dict[str, np.ndarray]:
        """Rates of decisions, bool (N, columns), by name; each float (1 + draws, columns)."""
        truth = labels == 1
        detected, dismissed = self.counts(decided & truth), self.counts(~decided & ~truth)
        positives, negatives = self.counts(truth), self.counts(~truth)
        return {
            "accuracy": (detected + dismissed) / (positives + negatives),
            "always_negative": negatives / (positives + negatives),
            "sensitivity": ratio(detected, positives),
            "specificity": ratio(dismissed, negatives),
        }


def resample(patients: np.ndarray, draws: int, seed: int) -> Resampling:
    """Resamples the patients of rows, (N,); a single patient gets row 0 of weights only."""
    names, patient = np.unique(patients, return_inverse=True)
    draws = draws if len(names) > 1 else 0
    chances = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), chances, size=draws)
    weights = np.vstack([np.ones((1, len(names)), int), drawn]).astype(np.int32)
    return Resampling(patient, weights)


def estimate(values: np.ndarray) -> dict[str, Any]:
    """Row 0 as `value`, the 95 % percentile `interval` of the others; None if undefined."""
    value, resampled = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(value):
        return {"value": None, "interval": None}
    interval = np.quantile(resampled, [0.025, 0.975]).tolist() if resampled.size else None
    return {"value": float(value), "interval": interval}

"""The cases that scores are computed from: slices, studies or patients, and their resampling."""

from dataclasses import dataclass, replace

import numpy as np

from ich_keras.model.predictions import Predictions
from ich_keras.scores.bootstrap import Resampling, resample
from tfrecords_tools.classes import LABELS, known_labels
from tfrecords_tools.errors import InputError


@dataclass(frozen=True, eq=False)
class Cases:
    """Labels and probabilities, one row per case; make it with `make_cases`, which checks them."""

    unit: str  # what a case is: `slice`, `study` or `patient`
    labels: np.ndarray  # int, 0 or 1, (N, 6) in the order of LABELS; (N, 1) of `any` alone
    probabilities: np.ndarray  # float, 0..1, of the same labels
    resampling: Resampling  # the patient of each case, and the bootstrap draws of patients

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that are known, which alone are scored; `any` is the last."""
        return known_labels(self.labels.shape[1])

    def with_probabilities(self, probabilities: np.ndarray) -> "Cases":
        """The same cases with other probabilities, (N, 6) or of the known labels."""
        return replace(self, probabilities=_of_known(probabilities, self.labels))

    def maximum(self, unit: str, groups: np.ndarray) -> "Cases":
        """One case per group: the maximum of its labels, and of its probabilities.

        `groups`, (N,), names the group of each case; a group belongs to one patient. They come in
        rising order, with the same draws of patients.
        """
        first = np.array([rows[0] for rows in rows_by_group(groups)])
        return Cases(
            unit,
            group_maximum(self.labels, groups),
            group_maximum(self.probabilities, groups),
            replace(self.resampling, patient=self.resampling.patient[first]),
        )


def make_cases(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    *,
    unit: str = "slice",
    draws: int = 0,
    seed: int = 0,
) -> Cases:
    """Cases whose patients are resampled `draws` times; InputError if the arrays do not fit.

    `labels` are (N, 6), or (N, 1) if only `any` is known; `probabilities` (N, 6).
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    _check(labels, probabilities, len(patients))
    known = _of_known(probabilities, labels)
    return Cases(unit, labels, known, resample(patients, draws, seed))


def slice_cases(predictions: Predictions, draws: int = 0, seed: int = 0) -> Cases:
    """The slices of a split as cases; errors as of `make_cases`."""
    arrays = (predictions.labels, predictions.probabilities, predictions.patient_key)
    return make_cases(*arrays, draws=draws, seed=seed)


def rows_by_group(groups: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, in their order; the groups in rising order."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1
    return np.split(order, starts)


def group_maximum(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The maximum of each group over axis 0; the groups in rising order."""
    return np.stack([values[rows].max(axis=0) for rows in rows_by_group(groups)])


def _of_known(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The columns of the labels that are known: all, or the last, which is `any`."""
    return probabilities[:, -labels.shape[1] :]


def _check(labels: np.ndarray, probabilities: np.ndarray, cases: int) -> None:
    expected = (cases, len(LABELS))
    if labels.shape not in (expected, (cases, 1)) or probabilities.shape != expected:
        raise InputError(
            f"labels {labels.shape} and probabilities {probabilities.shape} do not belong to"
            f" {cases} slices with {expected[1]} labels each; both must be {expected}"
        )
    if not cases:
        raise InputError("there is no slice to score; give a split that holds some")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"labels hold {labels.min()} to {labels.max()}; only 0 and 1 are labels")
    outside = ~((probabilities >= 0) & (probabilities <= 1))  # true for NaN as well
    if outside.any():
        row, k = np.argwhere(outside)[0]
        raise InputError(
            f"{outside.sum()} probabilities are not in 0..1, the first is"
            f" {probabilities[row, k]} for {LABELS[k]} in row {row}; the network has diverged or"
            " its output was read wrongly"
        )

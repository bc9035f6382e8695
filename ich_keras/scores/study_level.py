"""From slices to studies and patients: how probable a bleeding is anywhere in them."""

from dataclasses import dataclass

import numpy as np

from ich_keras.model.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Scorable:
    """What scores are computed from, a row a slice, a study or a patient.

    Attributes:
        labels: int, shape (N, 6), 0 or 1, in the order of LABELS.
        probabilities: float, shape (N, 6), 0..1.
        patients: str, shape (N,), whose each row is.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray


def of_slices(predictions: Predictions) -> Scorable:
    return Scorable(predictions.labels, predictions.probabilities, predictions.patient_key)


def of_studies(predictions: Predictions) -> Scorable:
    """A study bears what any of its slices bears, as probable as its most probable slice."""
    return _maximum(predictions, predictions.study_id)


def of_patients(predictions: Predictions) -> Scorable:
    """The same over all slices of a patient."""
    return _maximum(predictions, predictions.patient_key)


def _maximum(predictions: Predictions, groups: np.ndarray) -> Scorable:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, groups[order][1:] != groups[order][:-1]])
    return Scorable(
        np.maximum.reduceat(predictions.labels[order], starts),
        np.maximum.reduceat(predictions.probabilities[order], starts),
        predictions.patient_key[order][starts],
    )

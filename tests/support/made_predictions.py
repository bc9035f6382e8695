"""Answers of a made-up network, with studies and patients."""

import numpy as np

from ich_keras.model.predictions import Predictions

SLICES_A_STUDY = 20
SPACING_MM = 5.0


def predictions_of(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    study: np.ndarray | None = None,
    patient: np.ndarray | None = None,
    position_mm: np.ndarray | None = None,
) -> Predictions:
    """Predictions of slices that lie in studies of 20 unless said otherwise, one a patient."""
    slices = np.arange(len(labels))
    study = slices // SLICES_A_STUDY if study is None else np.asarray(study)
    names = np.char.add("study", study.astype(str))
    return Predictions(
        slice_id=np.char.add("slice", slices.astype(str)),
        study_id=names,
        patient_key=names if patient is None else np.asarray(patient),
        position_mm=SPACING_MM * (slices % SLICES_A_STUDY) if position_mm is None else position_mm,
        labels=np.asarray(labels),
        probabilities=np.asarray(probabilities),
    )


def made_up(studies: int = 60, seed: int = 0, noise: float = 1.5) -> Predictions:
    """A network that sees runs of bleeding slices through noise that is new on each slice."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((studies, SLICES_A_STUDY, 6), int)
    for study in range(studies):
        for kind in np.flatnonzero(rng.random(5) < 0.3):
            start = rng.integers(SLICES_A_STUDY - 4)
            labels[study, start : start + rng.integers(2, 8), kind] = 1
    labels[..., 5] = labels[..., :5].any(axis=-1)
    labels = labels.reshape(-1, 6)
    logits = 3.0 * labels - 2 + noise * rng.normal(size=labels.shape)
    return predictions_of(labels, 1 / (1 + np.exp(-logits)))

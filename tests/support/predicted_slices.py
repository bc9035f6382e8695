"""Slices with made-up predictions, and the DICOM objects that are written of them."""

from pathlib import Path

import numpy as np
import pydicom

from ich_keras.data.slice_file import SliceFile
from ich_keras.predict.dicom.algorithm import Algorithm
from ich_keras.predict.dicom.sources import PredictedSlice
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dicom.reader import CTSlice

CELLS = 8
THRESHOLDS = dict.fromkeys(LABELS, 0.8) | {"epidural": None, "subdural": 1.0}
ALGORITHM = Algorithm(
    "phantom, SHA-256 0",
    smoothed=False,
    study_thresholds=THRESHOLDS,
    slice_thresholds=THRESHOLDS,
    notice="It never saw a patient.",
)
UNFITTED = Algorithm("halfres, SHA-256 1", False, None, None, "")


def predicted(pairs: list[tuple[SliceFile, CTSlice]]) -> list[PredictedSlice]:
    """Slices with random predictions below 1, always the same."""
    rng = np.random.default_rng(0)
    return [PredictedSlice(*pair, rng.random((CELLS, CELLS, 6)), rng.random(6)) for pair in pairs]


def written(folder: Path) -> dict[str, pydicom.Dataset]:
    return {path.name: pydicom.dcmread(path) for path in sorted(folder.iterdir())}

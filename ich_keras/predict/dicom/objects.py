"""The answer to a series as DICOM objects of its study: for research, not for diagnosis.

A Secondary Capture series (PS3.3 A.8.1) shows the class maps over the slices in any viewer.
Segmentations hold the maps as fractions and what they find as masks, if the series has a frame of
reference. The judged series has a structured report. All have the patient and the study of the
files.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from ich_keras.predict.dicom.algorithm import Algorithm
from ich_keras.predict.dicom.captures import capture
from ich_keras.predict.dicom.report import report
from ich_keras.predict.dicom.segmentation import class_maps, masks
from ich_keras.predict.dicom.sources import PredictedSlice, read_reference
from tfrecords_tools.dicom.rejection import one_line
from tfrecords_tools.storage.atomic import whole_file

log = logging.getLogger(__name__)

MALFORMED = (ValueError, TypeError, AttributeError, KeyError)  # highdicom's, for unusable headers
JUDGED = 1  # the number of the series whose answer is that of the study


def write_dicom(
    folder: Path, number: int, slices: Sequence[PredictedSlice], algorithm: Algorithm
) -> int:
    """Writes the objects of a series, whose slices are along the slice normal.

    Their names begin with the number of the series. Returns how many could not be written, because
    their headers cannot be used; they are logged.
    """
    references = [read_reference(x.file) for x in slices]
    target = _Target(folder, number, algorithm.notice)
    missing = target.write_captures(references, slices)
    missing += target.write("class maps", lambda: class_maps(references, slices))
    missing += target.write("masks", lambda: masks(references, slices, algorithm))
    if number == JUDGED:
        missing += target.write("report", lambda: report(references, slices, algorithm))
    return missing


@dataclass(frozen=True)
class _Target:
    """Where the objects of a series go. Its methods return how many could not be written."""

    folder: Path
    number: int  # of the series
    notice: str

    def write(self, what: str, make: Callable[[], pydicom.Dataset | None]) -> int:
        """Writes one object unless it is None."""
        try:
            dataset = make()
            if dataset is not None:
                self._save(dataset, what.replace(" ", "_"))
        except MALFORMED as error:
            self._log_missing(f"the {what}", error)
            return 1
        return 0

    def write_captures(
        self, references: Sequence[pydicom.Dataset], slices: Sequence[PredictedSlice]
    ) -> int:
        failures = []
        for place, pair in enumerate(zip(references, slices, strict=True), start=1):
            try:
                self._save(capture(*pair, place), f"capture_{place:04d}")
            except MALFORMED as error:
                failures.append(error)
        if failures:
            self._log_missing(f"{len(failures)} of {len(slices)} captures", failures[0])
        return len(failures)

    def _save(self, dataset: pydicom.Dataset, name: str) -> None:
        if self.notice and dataset.Modality != "SR":  # a report is no image, and says it itself
            dataset.ImageComments = self.notice
        with whole_file(self.folder / f"series_{self.number}_{name}.dcm") as temporary:
            dataset.save_as(temporary)

    def _log_missing(self, what: str, error: Exception) -> None:
        log.debug("the error in full", exc_info=error)
        reason = one_line(str(error))
        log.warning(
            f"{self.folder}: series {self.number}: {what} not written, the headers are unusable:"
            f" {reason}"
        )

"""Secondary Captures (PS3.3 A.8.1): the class maps drawn over the slices."""

from collections.abc import Sequence

import cv2
import highdicom as hd
import numpy as np
import pydicom
from pydicom.uid import RLELossless

from ich_keras import __version__
from ich_keras.figures.class_maps import most_probable_subtype, overlay_pixels
from ich_keras.predict.dicom.sources import (
    MANUFACTURER,
    NOTICE,
    PredictedSlice,
    derived_uid,
    series_uid,
)
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.windows import WINDOWS, apply_windows

CAPTURE_NUMBER = 9001  # of the series; higher than a scanner's
TEXT_HEIGHT = 24  # of a line, in pixels of a slice of 512
AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # towards which x, y, z grow, and the opposite


def overlay(predicted: PredictedSlice) -> np.ndarray:
    """The slice in the brain window under the class map of its most probable subtype.

    It is RGB, uint8 (rows, columns, 3), with the probabilities written into it.
    """
    grey = apply_windows(predicted.ct.hu, (WINDOWS["brain"],))[..., 0]
    strongest = most_probable_subtype(predicted.probabilities)
    image = overlay_pixels(grey, predicted.maps[..., strongest])
    subtype, hemorrhage = predicted.probabilities[strongest], predicted.probabilities[ANY]
    caption = f"{LABELS[strongest]} {subtype:.2f}  any {hemorrhage:.2f}"
    scale = len(grey) / 512
    for line, text in enumerate((NOTICE, caption), start=1):
        corner = (int(8 * scale), int(TEXT_HEIGHT * scale * line))
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, (255, 255, 255), 1)
    return np.ascontiguousarray(image)


def capture(reference: pydicom.Dataset, predicted: PredictedSlice, place: int) -> pydicom.Dataset:
    """The overlay of a slice; `place` counts from 1."""
    image = hd.sc.SCImage.from_ref_dataset(
        reference,
        overlay(predicted),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=series_uid(reference, "capture"),
        series_number=CAPTURE_NUMBER,
        sop_instance_uid=derived_uid(reference, predicted.file, "capture"),
        instance_number=place,
        manufacturer=MANUFACTURER,
        patient_orientation=_directions(predicted.ct.header.orientation),
        transfer_syntax_uid=RLELossless,
    )
    image.SeriesDescription = f"ICH class maps, {NOTICE.lower()}"
    image.BodyPartExamined = "HEAD"
    image.BurnedInAnnotation = "YES"
    image.DerivationDescription = f"{MANUFACTURER} {__version__}"
    source = pydicom.Dataset()  # the slice that is shown (PS3.3 C.12.4.1.1)
    source.ReferencedSOPClassUID = reference.SOPClassUID
    source.ReferencedSOPInstanceUID = reference.SOPInstanceUID
    if predicted.file.frame:
        source.ReferencedFrameNumber = predicted.file.frame
    image.SourceImageSequence = [source]
    return image


def _directions(orientation: Sequence[float]) -> tuple[str, ...]:
    """The side of the patient that rows and columns point to, by their largest cosines."""
    vectors = np.reshape(orientation, (2, 3))
    largest = [(np.abs(vector).argmax(), vector) for vector in vectors]
    return tuple(AXES[axis][int(vector[axis] < 0)] for axis, vector in largest)

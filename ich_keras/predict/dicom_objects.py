"""Class maps as DICOM objects that belong to the predicted study: for research, not for diagnosis.

For each series, a Secondary Capture series (PS3.3 A.8.1) shows the class maps over the slices in
any viewer. A Segmentation (A.51) holds the maps as numbers, at their own resolution, if the series
has a frame of reference. Both have the patient and the study of the files.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import highdicom as hd
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from ich_keras import __version__
from ich_keras.data.slice_file import SliceFile
from ich_keras.figures.class_maps import most_probable_subtype, overlay_pixels
from tfrecords_tools.classes import ANY, LABELS, SUBTYPES
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.dicom.rejection import one_line
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.windows import WINDOWS, apply_windows

log = logging.getLogger(__name__)

NOTICE = "FOR RESEARCH, NOT FOR DIAGNOSIS"
MANUFACTURER = "ich-keras"
CAPTURE_NUMBER, MAPS_NUMBER = 9001, 9002  # of the series; higher than a scanner's
TEXT_HEIGHT = 24  # of a line, in pixels of a slice of 512
MAY_BE_EMPTY = (  # of patient and study, by PS3.3 C.7.1.1 and C.7.2.1
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
MALFORMED = (ValueError, TypeError, AttributeError, KeyError)  # highdicom's, for unusable headers
AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # towards which x, y, z grow, and the opposite


@dataclass(frozen=True, eq=False)
class PredictedSlice:
    """A slice with the output of the network."""

    file: SliceFile
    ct: CTSlice  # its header and HU
    maps: np.ndarray  # float (map height, map width, 6), 0..1, over the slice padded to a square
    probabilities: np.ndarray  # float, shape (6,), 0..1


def write_dicom(folder: Path, number: int, slices: Sequence[PredictedSlice], notice: str) -> int:
    """Writes the objects of a series, whose slices are along the slice normal.

    Their names begin with the number of the series; a notice is their Image Comments. Returns how
    many could not be written, because their headers cannot be used; they are logged.
    """
    name, missing, failures = f"series_{number}", 0, []
    references = [_reference(x.file) for x in slices]
    for place, (reference, predicted) in enumerate(zip(references, slices, strict=True), start=1):
        try:
            capture = _capture(reference, predicted, place)
            _write(capture, folder / f"{name}_capture_{place:04d}.dcm", notice)
        except MALFORMED as error:
            failures.append(error)
    if failures:
        missing += len(failures)
        _log_missing(folder, number, f"{len(failures)} of {len(slices)} captures", failures[0])
    try:
        segmentation = _segmentation(references, slices)
        if segmentation is not None:
            _write(segmentation, folder / f"{name}_class_maps.dcm", notice)
    except MALFORMED as error:
        missing += 1
        _log_missing(folder, number, "the class maps", error)
    return missing


def _write(dataset: pydicom.Dataset, path: Path, notice: str) -> None:
    if notice:
        dataset.ImageComments = notice
    with whole_file(path) as temporary:
        dataset.save_as(temporary)


def _log_missing(folder: Path, number: int, what: str, error: Exception) -> None:
    log.debug("the error in full", exc_info=error)
    reason = one_line(str(error))
    log.warning(
        f"{folder}: series {number}: {what} not written, the headers are unusable: {reason}"
    )


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


def _reference(file: SliceFile) -> pydicom.Dataset:
    """The header of a file; identifiers that are no valid UIDs are replaced by derived ones."""
    with file.source.open() as content:
        header = pydicom.dcmread(content, stop_before_pixels=True)
    patient = str(header.get("PatientID", ""))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        text = str(header.get(keyword, ""))
        if not UID(text).is_valid:
            unnamed = file.source.name if keyword == "SOPInstanceUID" else file.source.place
            text = generate_uid(entropy_srcs=[patient, text or unnamed])
        setattr(header, keyword, text)
    header.setdefault("SOPClassUID", CTImageStorage)
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.get("PatientIdentityRemoved") == "YES" and not header.get("DeidentificationMethod"):
        header.DeidentificationMethod = "unknown"  # must not be empty then (C.7.1.1)
    return header


def _series_uid(reference: pydicom.Dataset, what: str) -> str:
    """Of a series of one patient, since exports exist in which two have the same identifiers."""
    named = [reference.PatientID, reference.StudyInstanceUID, reference.SeriesInstanceUID]
    return generate_uid(entropy_srcs=[MANUFACTURER, what, *named])


def _derived_uid(reference: pydicom.Dataset, file: SliceFile, what: str) -> str:
    """A UID derived from a slice, so that a second run replaces the objects of the first."""
    number = str((file.number, file.frame) if file.frame else file.number)
    named = [_series_uid(reference, what), reference.SOPInstanceUID, number]
    return generate_uid(entropy_srcs=[MANUFACTURER, __version__, what, *named])


def _capture(reference: pydicom.Dataset, predicted: PredictedSlice, place: int) -> pydicom.Dataset:
    capture = hd.sc.SCImage.from_ref_dataset(
        reference,
        overlay(predicted),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=_series_uid(reference, "capture"),
        series_number=CAPTURE_NUMBER,
        sop_instance_uid=_derived_uid(reference, predicted.file, "capture"),
        instance_number=place,
        manufacturer=MANUFACTURER,
        patient_orientation=_directions(predicted.ct.header.orientation),
        transfer_syntax_uid=RLELossless,
    )
    capture.SeriesDescription = f"ICH class maps, {NOTICE.lower()}"
    capture.BodyPartExamined = "HEAD"
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = f"{MANUFACTURER} {__version__}"
    source = pydicom.Dataset()  # the slice that is shown (PS3.3 C.12.4.1.1)
    source.ReferencedSOPClassUID = reference.SOPClassUID
    source.ReferencedSOPInstanceUID = reference.SOPInstanceUID
    if predicted.file.frame:
        source.ReferencedFrameNumber = predicted.file.frame
    capture.SourceImageSequence = [source]
    return capture


def _directions(orientation: Sequence[float]) -> tuple[str, ...]:
    """The side of the patient that rows and columns point to, by their largest cosines."""
    vectors = np.reshape(orientation, (2, 3))
    largest = [(np.abs(vector).argmax(), vector) for vector in vectors]
    return tuple(AXES[axis][int(vector[axis] < 0)] for axis, vector in largest)


def _segmentation(
    references: list[pydicom.Dataset], members: Sequence[PredictedSlice]
) -> Segmentation | None:
    """The class maps as fractions of 1, at their own resolution; None without a place in space."""
    first, header = references[0], members[0].ct.header
    thickness, spacing = _thickness(first, members), header.pixel_spacing
    geometries = {
        (x.ct.hu.shape, x.ct.header.pixel_spacing, x.ct.header.orientation) for x in members
    }
    framed = all(x.get("FrameOfReferenceUID") for x in references)
    of_enhanced_ct = any(x.file.frame for x in members)  # highdicom refers to whole files
    if of_enhanced_ct or not framed or spacing is None or thickness is None or len(geometries) > 1:
        log.info("class maps as captures only: the series has no common position and orientation")
        return None
    cells = members[0].maps.shape[:2]
    pixels = max(members[0].ct.hu.shape) / np.array(cells)  # per cell, along rows and columns
    cells_at = [_first_cell(x, pixels, spacing) for x in members]
    segmentation = Segmentation(
        source_images=references,
        pixel_array=np.stack([x.maps[..., : len(SUBTYPES)] for x in members]).clip(0, 1),
        segmentation_type="FRACTIONAL",
        segment_descriptions=[_segment(k, name) for k, name in enumerate(SUBTYPES, start=1)],
        series_instance_uid=_series_uid(first, "maps"),
        series_number=MAPS_NUMBER,
        sop_instance_uid=_derived_uid(first, members[0].file, "maps"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="none",
        content_label="ICH_CLASS_MAPS",
        content_description=NOTICE.lower(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=hd.PixelMeasuresSequence((pixels * spacing).tolist(), thickness),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", header.orientation),
        plane_positions=[hd.PlanePositionSequence("PATIENT", x) for x in cells_at],
        omit_empty_frames=False,
    )
    segmentation.SeriesDescription = f"ICH class maps, {NOTICE.lower()}"
    return segmentation


def _thickness(first: pydicom.Dataset, members: Sequence[PredictedSlice]) -> float | None:
    """In mm: as in the file, otherwise the median distance of slices; None if both are unknown."""
    if first.get("SliceThickness"):
        return float(first.SliceThickness)
    distances = np.diff([x.ct.header.position_mm for x in members])
    return float(np.median(distances)) if len(distances) and np.median(distances) > 0 else None


def _segment(number: int, label: str) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.IntracranialHemorrhage,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _first_cell(
    predicted: PredictedSlice, pixels: np.ndarray, spacing: tuple[float, ...]
) -> list[float]:
    """The centre of the first cell of the class maps in mm; they cover the padded square."""
    header = predicted.ct.header
    rows, columns = predicted.ct.hu.shape
    down = (pixels[0] - 1) / 2 - max(columns - rows, 0) // 2
    right = (pixels[1] - 1) / 2 - max(rows - columns, 0) // 2
    along_row, along_column = np.reshape(header.orientation, (2, 3))
    shift = along_row * right * spacing[1] + along_column * down * spacing[0]
    return [float(x) for x in np.add(header.position, shift)]

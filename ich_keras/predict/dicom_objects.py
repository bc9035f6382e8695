"""A network's answer as DICOM objects beside the study that it is of: research, not diagnosis.

Of each series a Secondary Capture series (PS3.3 A.8.1) shows the class maps over the slices, for
any viewer; a Segmentation (A.51) holds them as numbers, at their own resolution, where the series
has a frame of reference. Patient and study are those of the files, so that both lie beside them.
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
from matplotlib import colormaps
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from ich_keras import __version__
from ich_keras.data.studies import SliceFile
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.windows import WINDOWS, apply_windows

log = logging.getLogger(__name__)

NOTICE = "FOR RESEARCH, NOT FOR DIAGNOSIS"
MANUFACTURER = "ich-keras"
CAPTURE_NUMBER, MAPS_NUMBER = 9001, 9002  # of the series; far from a scanner's
OPACITY = 0.6  # of a class map at 1
TEXT_HEIGHT = 24  # of a line, in pixels of a slice of 512
MAY_BE_EMPTY = (  # of patient and study, by PS3.3 C.7.1.1 and C.7.2.1
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
# What highdicom raises on headers that do not serve.
MALFORMED = (ValueError, TypeError, AttributeError, KeyError)
AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # towards which x, y, z grow, and the opposite


@dataclass(frozen=True, eq=False)
class AnsweredSlice:
    """A slice and what the network says of it.

    Attributes:
        found: its file.
        ct: its HU.
        maps: float, shape (map height, map width, 6), 0..1, over the slice padded to a square.
        probabilities: float, shape (6,), 0..1.
    """

    found: SliceFile
    ct: CTSlice
    maps: np.ndarray
    probabilities: np.ndarray


def write_dicom(folder: Path, slices: Sequence[AnsweredSlice]) -> int:
    """Writes the objects of a study.

    Args:
        folder: of the study; made if missing.
        slices: along the normal, of one series or several.

    Returns:
        How many objects were written. What cannot be written is said and left out.
    """
    by_series: dict[str, list[AnsweredSlice]] = {}
    for one in slices:
        by_series.setdefault(one.ct.header.series_id, []).append(one)
    written = 0
    for number, members in enumerate(by_series.values(), start=1):
        try:
            references = [_reference(x.found) for x in members]
            objects = {
                f"series_{number}_capture_{place:04d}.dcm": _capture(reference, one, place)
                for place, (reference, one) in enumerate(
                    zip(references, members, strict=True), start=1
                )
            }
            objects |= _maps(references, members, f"series_{number}_class_maps.dcm")
        except MALFORMED as error:
            log.debug("the error in full", exc_info=True)
            log.warning(
                "%s: series %d: no DICOM objects, as its headers do not serve: %s",
                folder,
                number,
                error,
            )
            continue
        for name, dataset in objects.items():
            with whole_file(folder / name) as temporary:
                dataset.save_as(temporary)
        written += len(objects)
    return written


def overlay(one: AnsweredSlice) -> np.ndarray:
    """The slice in the brain window under the class map of its most probable bleeding.

    Returns:
        uint8, RGB, shape (rows, columns, 3), with what is said written into it.
    """
    grey = apply_windows(one.ct.hu, (WINDOWS["brain"],))[..., 0]
    strongest = int(one.probabilities[: len(SUBTYPES)].argmax())
    rows, columns = grey.shape
    edge = max(rows, columns)
    square = cv2.resize(one.maps[..., strongest].astype(np.float32), (edge, edge))
    top, left = (edge - rows) // 2, (edge - columns) // 2
    values = np.clip(square[top : top + rows, left : left + columns], 0, 1)
    alpha = OPACITY * values[..., np.newaxis]
    colors = 255 * colormaps["magma"](values)[..., :3]
    image = np.round((1 - alpha) * grey[..., np.newaxis] + alpha * colors).astype(np.uint8)
    kind, bleeding = one.probabilities[strongest], one.probabilities[-1]
    said = f"{LABELS[strongest]} {kind:.2f}  any {bleeding:.2f}"
    scale = rows / 512
    for line, text in enumerate((NOTICE, said), start=1):
        place = (int(8 * scale), int(TEXT_HEIGHT * scale * line))
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, (255, 255, 255), 1)
    return np.ascontiguousarray(image)


def _reference(found: SliceFile) -> pydicom.Dataset:
    """The header of a file, with identifiers that DICOM allows."""
    with found.source.open() as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(header, keyword, _valid_uid(str(header.get(keyword, ""))))
    header.setdefault("SOPClassUID", CTImageStorage)
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.get("PatientIdentityRemoved") == "YES" and not header.get("DeidentificationMethod"):
        header.DeidentificationMethod = "unknown"  # must not be empty then (C.7.1.1)
    return header


def _valid_uid(text: str) -> str:
    """The identifier itself where it is a UID; else one that follows from it."""
    return text if UID(text).is_valid else generate_uid(entropy_srcs=[text])


def _derived_uid(reference: pydicom.Dataset, what: str) -> str:
    """A UID that follows from a series or slice, so that a second run replaces the first."""
    return generate_uid(entropy_srcs=[MANUFACTURER, __version__, what, reference.SOPInstanceUID])


def _capture(reference: pydicom.Dataset, one: AnsweredSlice, place: int) -> pydicom.Dataset:
    series = generate_uid(entropy_srcs=[MANUFACTURER, "capture", reference.SeriesInstanceUID])
    capture = hd.sc.SCImage.from_ref_dataset(
        reference,
        overlay(one),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=series,
        series_number=CAPTURE_NUMBER,
        sop_instance_uid=_derived_uid(reference, "capture"),
        instance_number=place,
        manufacturer=MANUFACTURER,
        patient_orientation=_directions(one.ct.header.orientation),
        transfer_syntax_uid=RLELossless,
    )
    capture.SeriesDescription = f"ICH class maps, {NOTICE.lower()}"
    capture.BodyPartExamined = "HEAD"
    capture.BurnedInAnnotation = "YES"
    capture.DerivationDescription = f"{MANUFACTURER} {__version__}"
    return capture


def _directions(orientation: Sequence[float]) -> tuple[str, ...]:
    """Towards which side of the patient rows and columns run, by their largest cosines."""
    vectors = np.reshape(orientation, (2, 3))
    axes = np.abs(vectors).argmax(axis=1)
    return tuple(
        AXES[axis][int(vector[axis] < 0)] for axis, vector in zip(axes, vectors, strict=True)
    )


def _maps(
    references: list[pydicom.Dataset], members: list[AnsweredSlice], name: str
) -> dict[str, pydicom.Dataset]:
    """The class maps of a series by the name of their file; none where their place is not known."""
    first, header = references[0], members[0].ct.header
    thickness, spacing = _thickness(first, members), header.pixel_spacing
    same = {(x.ct.hu.shape, x.ct.header.pixel_spacing, x.ct.header.orientation) for x in members}
    framed = all(reference.get("FrameOfReferenceUID") for reference in references)
    if not framed or spacing is None or thickness is None or len(same) > 1:
        log.info(
            "a series without one frame of reference, spacing, thickness and orientation:"
            " its class maps are captures only"
        )
        return {}
    return {name: _segmentation(references, members, spacing, thickness)}


def _segmentation(
    references: list[pydicom.Dataset],
    members: list[AnsweredSlice],
    spacing: tuple[float, ...],
    thickness: float,
) -> Segmentation:
    """The maps as fractions of 1, at the resolution of their cells; spacing, thickness in mm."""
    first = references[0]
    edge = max(members[0].ct.hu.shape)
    cells = np.array(members[0].maps.shape[:2])
    pixels = edge / cells  # of a cell, along rows and columns
    segmentation = Segmentation(
        source_images=references,
        pixel_array=np.stack([x.maps[..., : len(SUBTYPES)] for x in members]).clip(0, 1),
        segmentation_type="FRACTIONAL",
        segment_descriptions=[_segment(k, kind) for k, kind in enumerate(SUBTYPES, start=1)],
        series_instance_uid=generate_uid(
            entropy_srcs=[MANUFACTURER, "maps", first.SeriesInstanceUID]
        ),
        series_number=MAPS_NUMBER,
        sop_instance_uid=_derived_uid(first, "maps"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="none",
        content_label="ICH_CLASS_MAPS",
        content_description=NOTICE.lower(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=tuple(float(x) for x in pixels * spacing),
            slice_thickness=thickness,
        ),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", members[0].ct.header.orientation),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", _first_cell(x, pixels, spacing)) for x in members
        ],
        omit_empty_frames=False,
    )
    segmentation.SeriesDescription = f"ICH class maps, {NOTICE.lower()}"
    return segmentation


def _thickness(first: pydicom.Dataset, members: list[AnsweredSlice]) -> float | None:
    """Of a slice in mm: what the file says, else their median distance; None if neither is told."""
    if first.get("SliceThickness"):
        return float(first.SliceThickness)
    distances = np.diff([x.ct.header.position_mm for x in members])
    return float(np.median(distances)) if len(distances) and np.median(distances) > 0 else None


def _segment(number: int, kind: str) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=kind,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.IntracranialHemorrhage,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _first_cell(one: AnsweredSlice, pixels: np.ndarray, spacing: tuple[float, ...]) -> list[float]:
    """The centre of the first cell of the class maps, mm: they lie over the padded square."""
    header = one.ct.header
    rows, columns = one.ct.hu.shape
    edge = max(rows, columns)
    down = (pixels[0] - 1) / 2 - (edge - rows) // 2
    right = (pixels[1] - 1) / 2 - (edge - columns) // 2
    along_row, along_column = np.reshape(header.orientation, (2, 3))
    shift = along_row * right * spacing[1] + along_column * down * spacing[0]
    return [float(x) for x in np.add(header.position, shift)]

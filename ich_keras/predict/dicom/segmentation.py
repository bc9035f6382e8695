"""Segmentations (PS3.3 A.51) of a series: class maps as fractions, and what they find as masks."""

import logging
from collections.abc import Sequence
from typing import Any

import cv2
import highdicom as hd
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from ich_keras import __version__
from ich_keras.predict.dicom.algorithm import Algorithm
from ich_keras.predict.dicom.sources import (
    MANUFACTURER,
    NOTICE,
    PredictedSlice,
    derived_uid,
    finding_code,
    found_labels,
    series_uid,
    thickness_mm,
)
from tfrecords_tools.classes import SUBTYPES

log = logging.getLogger(__name__)

MAPS_NUMBER, MASKS_NUMBER = 9002, 9003  # of the series; higher than a scanner's


def class_maps(
    references: Sequence[pydicom.Dataset], members: Sequence[PredictedSlice]
) -> Segmentation | None:
    """The class maps as fractions of 1, at their own resolution; None without a place in space."""
    if not _has_place(references, members):
        log.info("class maps as captures only: the series has no common position and orientation")
        return None
    cells = members[0].maps.shape[:2]
    pixels = max(members[0].ct.hu.shape) / np.array(cells)  # per cell, along rows and columns
    return _segmentation(
        references,
        members,
        what="maps",
        segmentation_type="FRACTIONAL",
        series_number=MAPS_NUMBER,
        content_label="ICH_CLASS_MAPS",
        pixel_array=np.stack([x.maps[..., : len(SUBTYPES)] for x in members]).clip(0, 1),
        labels=SUBTYPES,
        pixels=pixels,
        positions=[_first_cell(x, pixels) for x in members],
        omit_empty_frames=False,
    )


def masks(
    references: Sequence[pydicom.Dataset],
    members: Sequence[PredictedSlice],
    algorithm: Algorithm,
) -> Segmentation | None:
    """Per kind that is found, the cells of its class map that alone reach its slice threshold.

    They are on the pixels of the slices, since common viewers lay no other masks over them. A kind
    that the report calls absent has no mask: thresholds of slices are lower than those of studies.
    None if no kind has a mask, or without a place in space.
    """
    if not _has_place(references, members):
        return None
    thresholds = algorithm.slice_thresholds or {}
    found = found_labels(members, algorithm.study_thresholds)
    reached = {
        label: np.stack([_over_slice(x.maps[..., k] >= threshold, x) for x in members])
        for k, label in enumerate(SUBTYPES)
        if label in found and (threshold := thresholds.get(label)) is not None
    }
    shown = {label: mask for label, mask in reached.items() if mask.any()}
    if not shown:
        log.info("no masks: no kind is found, or no cell of its map reaches the slice threshold")
        return None
    return _segmentation(
        references,
        members,
        what="masks",
        segmentation_type="BINARY",
        series_number=MASKS_NUMBER,
        content_label="ICH_MASKS",
        pixel_array=np.stack(list(shown.values()), axis=-1),
        labels=list(shown),
        pixels=np.ones(2),
        positions=[x.ct.header.position for x in members],
    )


def _has_place(references: Sequence[pydicom.Dataset], members: Sequence[PredictedSlice]) -> bool:
    """Whether the slices are a volume that a Segmentation can refer to."""
    geometries = {
        (x.ct.hu.shape, x.ct.header.pixel_spacing, x.ct.header.orientation) for x in members
    }
    framed = all(x.get("FrameOfReferenceUID") for x in references)
    of_enhanced_ct = any(x.file.frame for x in members)  # highdicom refers to whole files
    spaced = members[0].ct.header.pixel_spacing and thickness_mm(references[0], members)
    return bool(framed and spaced and len(geometries) == 1 and not of_enhanced_ct)


def _segmentation(
    references: Sequence[pydicom.Dataset],
    members: Sequence[PredictedSlice],
    *,
    what: str,
    labels: Sequence[str],
    pixels: np.ndarray,
    positions: Sequence[Sequence[float]],
    **options: Any,
) -> Segmentation:
    """`pixels` are those of the slices per pixel of the Segmentation."""
    first, header = references[0], members[0].ct.header
    spacing = (pixels * header.pixel_spacing).tolist()
    segmentation = Segmentation(
        source_images=references,
        segment_descriptions=[_segment(k, name) for k, name in enumerate(labels, start=1)],
        series_instance_uid=series_uid(first, what),
        sop_instance_uid=derived_uid(first, members[0].file, what),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="none",
        content_description=NOTICE.lower(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=hd.PixelMeasuresSequence(spacing, thickness_mm(first, members)),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", header.orientation),
        plane_positions=[hd.PlanePositionSequence("PATIENT", x) for x in positions],
        **options,
    )
    segmentation.SeriesDescription = f"ICH {what}, {NOTICE.lower()}"
    return segmentation


def _segment(number: int, label: str) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=finding_code(label),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _over_slice(cells: np.ndarray, predicted: PredictedSlice) -> np.ndarray:
    """Cells of a map, which covers the slice padded to a square, on the pixels of the slice."""
    rows, columns = predicted.ct.hu.shape
    edge = max(rows, columns)
    square = cv2.resize(cells.astype(np.uint8), (edge, edge), interpolation=cv2.INTER_NEAREST_EXACT)
    top, left = (edge - rows) // 2, (edge - columns) // 2
    return square[top : top + rows, left : left + columns].astype(bool)


def _first_cell(predicted: PredictedSlice, pixels: np.ndarray) -> list[float]:
    """The centre of the first cell of the class maps in mm; they cover the padded square."""
    header = predicted.ct.header
    rows, columns = predicted.ct.hu.shape
    down = (pixels[0] - 1) / 2 - max(columns - rows, 0) // 2
    right = (pixels[1] - 1) / 2 - max(rows - columns, 0) // 2
    spacing = np.array(header.pixel_spacing)
    along_row, along_column = np.reshape(header.orientation, (2, 3))
    shift = along_row * right * spacing[1] + along_column * down * spacing[0]
    return [float(x) for x in np.add(header.position, shift)]

"""The answer to a study as a structured report: TID 1500 in a Comprehensive 3D SR (PS3.3 A.35.13).

Its form follows the IHE profile AI Results: an image library of what was seen, the algorithm, and
per label a group of measurements with the decision and the slices it rests on.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pydicom
from highdicom import sr
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from ich_keras import __version__
from ich_keras.predict.dicom.algorithm import Algorithm
from ich_keras.predict.dicom.sources import (
    MANUFACTURER,
    NOTICE,
    PredictedSlice,
    derived_uid,
    finding_code,
    found_labels,
    private_code,
    series_uid,
)
from tfrecords_tools.classes import LABELS

REPORT_NUMBER = 9004  # of the series; higher than a scanner's
LOOK_SLICES = 3  # per label
THRESHOLD = private_code("threshold", "Threshold of the probability")


def report(
    references: Sequence[pydicom.Dataset],
    members: Sequence[PredictedSlice],
    algorithm: Algorithm,
) -> sr.Comprehensive3DSR:
    """Probability, threshold and decision per label, as in `studies.csv`."""
    first = references[0]
    uid = derived_uid(first, members[0].file, "report")
    files = {str(x.SOPInstanceUID): x for x in references}  # once each, also an enhanced CT
    document = sr.Comprehensive3DSR(
        evidence=list(files.values()),
        content=_content(references, members, algorithm, uid),
        series_instance_uid=series_uid(first, "report"),
        series_number=REPORT_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number="none",
        is_complete=True,
    )
    document.SeriesDescription = f"ICH report, {NOTICE.lower()}"
    return document


def _content(
    references: Sequence[pydicom.Dataset],
    members: Sequence[PredictedSlice],
    algorithm: Algorithm,
    uid: str,
) -> sr.MeasurementReport:
    groups = _groups(references, members, algorithm, uid)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_device(algorithm)),
        procedure_reported=codes.SCT.ComputedTomographyOfHead,
        imaging_measurements=groups,
    )
    comment = f"{NOTICE}. {algorithm.notice}".strip()
    items = content[0].ContentSequence
    items.insert(len(items) - 1, _image_library(references, members))  # before the measurements
    items.append(sr.TextContentItem(codes.DCM.Comment, comment, Relationship.CONTAINS))
    return content


def _device(algorithm: Algorithm) -> sr.ObserverContext:
    """The algorithm as observer; another version or network is another device."""
    attributes = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, __version__, algorithm.network]),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER,
    )
    return sr.ObserverContext(codes.DCM.Device, attributes)


def _image_library(
    references: Sequence[pydicom.Dataset], members: Sequence[PredictedSlice]
) -> sr.ContainerContentItem:
    """All slices. highdicom's own library needs attributes that many files lack."""
    contains = Relationship.CONTAINS
    library = sr.ContainerContentItem(codes.DCM.ImageLibrary, relationship_type=contains)
    group = sr.ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type=contains)
    modality = sr.CodeContentItem(
        codes.DCM.Modality, codes.DCM.ComputedTomography, Relationship.HAS_ACQ_CONTEXT
    )
    images = [
        sr.ImageContentItem(
            codes.SCT.Source,
            reference.SOPClassUID,
            reference.SOPInstanceUID,
            predicted.file.frame,
            relationship_type=contains,
        )
        for reference, predicted in zip(references, members, strict=True)
    ]
    group.ContentSequence = sr.ContentSequence([modality, *images])
    library.ContentSequence = sr.ContentSequence([group])
    return library


def _groups(
    references: Sequence[pydicom.Dataset],
    members: Sequence[PredictedSlice],
    algorithm: Algorithm,
    uid: str,
) -> list[sr.MeasurementsAndQualitativeEvaluations]:
    """One per label."""
    probabilities = np.stack([x.probabilities for x in members])
    decisions = _decisions(members, algorithm.study_thresholds)
    look = np.argsort(-probabilities, axis=0, kind="stable")[:LOOK_SLICES]
    placed = all(x.ct.header.placed for x in members)  # others are not smoothed
    identification = _identification(algorithm, algorithm.smoothed and placed)
    return [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(generate_uid(entropy_srcs=[uid, x]), x),
            finding_type=finding_code(x),
            finding_category=codes.SCT.MorphologicallyAbnormalStructure,
            algorithm_id=identification,
            finding_sites=[sr.FindingSite(codes.SCT.Brain)],
            measurements=_measurements(x, float(probabilities[:, k].max()), algorithm),
            qualitative_evaluations=decisions.get(x),
            source_images=[_source(references[i], members[i]) for i in look[:, k]],
        )
        for k, x in enumerate(LABELS)
    ]


def _identification(algorithm: Algorithm, smoothed: bool) -> sr.AlgorithmIdentification:
    thresholds = ["thresholds of studies with a sensitivity of 95 % on validation"]
    if algorithm.own_threshold is not None:
        thresholds += [f"threshold of any, {algorithm.own_threshold:g}, given by the user instead"]
    return sr.AlgorithmIdentification(
        name=MANUFACTURER,
        version=__version__,
        parameters=[
            f"network {algorithm.network}",
            f"probabilities {'smoothed over slices' if smoothed else 'not smoothed'}",
            *thresholds,
        ],
        family=codes.DCM.ArtificialIntelligence,
    )


def _measurements(label: str, probability: float, algorithm: Algorithm) -> list[sr.Measurement]:
    """The maximum over the slices, and its threshold where there is one."""
    measured = partial(sr.Measurement, unit=codes.UCUM.NoUnits)
    measurements = [measured(codes.DCM.Probability, probability, derivation=codes.SCT.Maximum)]
    threshold = (algorithm.study_thresholds or {}).get(label)
    if threshold is not None:
        measurements.append(measured(THRESHOLD, float(threshold)))
    return measurements


def _decisions(
    members: Sequence[PredictedSlice], thresholds: dict[str, float | None] | None
) -> dict[str, list[sr.QualitativeEvaluation]]:
    """Whether each label is found; none without a threshold."""
    found = found_labels(members, thresholds)
    decided = [x for x in LABELS if x in found or (thresholds or {}).get(x) is not None]
    return {
        x: [
            sr.QualitativeEvaluation(
                codes.DCM.PresenceOfProperty, codes.DCM.Present if x in found else codes.DCM.Absent
            )
        ]
        for x in decided
    }


def _source(
    reference: pydicom.Dataset, predicted: PredictedSlice
) -> sr.SourceImageForMeasurementGroup:
    frames = [predicted.file.frame] if predicted.file.frame else None
    return sr.SourceImageForMeasurementGroup(
        reference.SOPClassUID, reference.SOPInstanceUID, frames
    )

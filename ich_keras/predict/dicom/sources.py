"""What all DICOM objects of a series share: their sources, identifiers and codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pydicom
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, CTImageStorage, generate_uid

from ich_keras import __version__
from ich_keras.data.slice_file import SliceFile
from ich_keras.predict.tables import labels_at_thresholds
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dicom.reader import CTSlice

NOTICE = "FOR RESEARCH, NOT FOR DIAGNOSIS"
MANUFACTURER = "ich-keras"
PRIVATE_CODES = "99ICHKERAS"  # the scheme of codes that pydicom's dictionaries do not have
MAY_BE_EMPTY = (  # of patient and study, by PS3.3 C.7.1.1 and C.7.2.1
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)


@dataclass(frozen=True, eq=False)
class PredictedSlice:
    """A slice with the output of the network."""

    file: SliceFile
    ct: CTSlice  # its header and HU
    maps: np.ndarray  # float (map height, map width, 6), 0..1, over the slice padded to a square
    probabilities: np.ndarray  # float, shape (6,), 0..1


def read_reference(file: SliceFile) -> pydicom.Dataset:
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


def series_uid(reference: pydicom.Dataset, what: str) -> str:
    """Of a series of one patient, since exports exist in which two have the same identifiers."""
    named = [reference.PatientID, reference.StudyInstanceUID, reference.SeriesInstanceUID]
    return generate_uid(entropy_srcs=[MANUFACTURER, what, *named])


def derived_uid(reference: pydicom.Dataset, file: SliceFile, what: str) -> str:
    """A UID derived from a slice, so that a second run replaces the objects of the first."""
    number = str((file.number, file.frame) if file.frame else file.number)
    named = [series_uid(reference, what), reference.SOPInstanceUID, number]
    return generate_uid(entropy_srcs=[MANUFACTURER, __version__, what, *named])


def thickness_mm(first: pydicom.Dataset, members: Sequence[PredictedSlice]) -> float | None:
    """As in the file, otherwise the median distance of slices; None if both are unknown."""
    if first.get("SliceThickness"):
        return float(first.SliceThickness)
    distances = np.diff([x.ct.header.position_mm for x in members])
    return float(np.median(distances)) if len(distances) and np.median(distances) > 0 else None


def found_labels(
    members: Sequence[PredictedSlice], thresholds: dict[str, float | None] | None
) -> list[str]:
    """The labels that `studies.csv` calls found; `thresholds` are those of studies."""
    maxima = np.max([x.probabilities for x in members], axis=0).astype(float)
    row = pd.DataFrame([dict(zip(LABELS, maxima, strict=True))])
    return labels_at_thresholds(row, thresholds)[0].split() if thresholds else []


def private_code(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_CODES, meaning)


def finding_code(label: str) -> Code:
    """SNOMED CT's intracranial hemorrhage for `any`, a private code for each kind."""
    if label not in SUBTYPES:
        return codes.SCT.IntracranialHemorrhage
    return private_code(label, f"{label.capitalize()} hemorrhage")

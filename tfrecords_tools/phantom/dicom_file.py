"""The DICOM file of a slice, with the elements and quirks of those of the RSNA set."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tfrecords_tools.phantom.scanner.storage import Storage


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """A slice as its files hold it.

    Attributes:
        stored: int16 or uint16, shape (rows, columns).
        storage: how HU became those values.
        position: Image Position (Patient), mm; shape (3,).
        orientation: Image Orientation (Patient), six numbers.
        pixel: edge of a pixel, mm.
        mask: uint8, shape (rows, columns); bit k is set where subtype k of SUBTYPES is.
    """

    stored: np.ndarray
    storage: Storage
    position: np.ndarray
    orientation: Sequence[float]
    pixel: float
    mask: np.ndarray


def phantom_id(*parts: object) -> str:
    """An identifier in the form of the RSNA set's: `ID_` and nine hexadecimal digits."""
    return "ID_" + _digest(parts)[:9]


def write_dicom(path: Path, ids: tuple[str, str, str], image: StoredSlice, patient: int) -> None:
    """Writes the DICOM file of a slice, with the ids of slice, study and patient.

    The number of the patient decides the transfer syntax and the form of the window.
    """
    with _any_identifier():  # enforcing the file format would correct the quirks
        _dataset(image, ids, patient).save_as(path)


def _dataset(image: StoredSlice, ids: tuple[str, str, str], patient: int) -> Dataset:
    """A data set with exactly the elements of the files of the RSNA set."""
    storage = image.storage
    slice_id, study_id, patient_id = ids
    dataset = Dataset()
    dataset.preamble = b"\0" * 128
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.FileMetaInformationGroupLength = 0  # pydicom fills it in
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = _uid("file", slice_id)
    dataset.file_meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian if patient % 5 < 3 else ImplicitVRLittleEndian
    )
    with _any_identifier():
        dataset.SOPInstanceUID = slice_id
        dataset.StudyInstanceUID = study_id
        dataset.SeriesInstanceUID = phantom_id("series", study_id)
    dataset.Modality = "CT"
    dataset.PatientID = patient_id
    dataset.StudyID = ""
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in image.position]
    dataset.ImageOrientationPatient = [f"{v:.6f}" for v in image.orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.stored.shape
    dataset.PixelSpacing = [f"{image.pixel:.6f}"] * 2
    dataset.BitsAllocated = 16
    dataset.BitsStored = storage.bits
    dataset.HighBit = storage.bits - 1
    dataset.PixelRepresentation = int(storage.signed)
    # As in the RSNA set: two values, or leading zeros.
    dataset.WindowCenter = ["00040", "00040"] if patient % 3 else "40"
    dataset.WindowWidth = ["00080", "00080"] if patient % 3 else "80"
    dataset.RescaleIntercept = f"{storage.intercept:.6f}"
    dataset.RescaleSlope = "1"
    dataset.PixelData = image.stored.astype("<i2" if storage.signed else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _uid(*parts: object) -> UID:
    """A valid UID below the arc for UUIDs (PS3.5 B.2), from a hash of the parts."""
    return UID(f"2.25.{int(_digest(parts)[:30], 16)}")


@contextmanager
def _any_identifier() -> Iterator[None]:
    """Silences pydicom's warning that the identifiers are no valid UIDs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Invalid value for VR UI")
        yield


def _digest(parts: tuple[object, ...]) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()

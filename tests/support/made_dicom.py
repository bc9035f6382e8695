"""DICOM slices made for a test, in memory."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileDataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

from tfrecords_tools.dicom.reader import CTSlice, read_slice
from tfrecords_tools.dicom.rejection import REASONS, RejectedSlice

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
TRUE_HU = np.random.default_rng(7).integers(-1000, 1900, (40, 48))
TRUE_HU[:10] = -1000  # air


def make_dataset(
    stored: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> FileDataset:
    """A CT slice in the challenge's 22 elements, `ID_…` identifiers included."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CT_IMAGE
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    values = {
        "Modality": "CT",
        "SOPInstanceUID": "ID_00a1b2c3d",
        "PatientID": "ID_patient",
        "StudyInstanceUID": "ID_study",
        "SeriesInstanceUID": "ID_series",
        "ImagePositionPatient": [-125, -120, 12.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.4],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": stored.dtype.itemsize * 8,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024.000000",
    }
    values.update(elements)
    values.setdefault("HighBit", values["BitsStored"] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the identifiers, which are no UIDs
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.add_new("PixelData", "OW", stored.astype(stored.dtype.newbyteorder(order)).tobytes())
    return dataset


def compress(dataset: Dataset, syntax: str, *fragments: bytes, table: bool = False) -> None:
    """Puts compressed frames in the place of the pixels; with a table each is an image."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.add_new("PixelData", "OB", encapsulate(list(fragments), has_bot=table))
    dataset["PixelData"].is_undefined_length = True


def saved(dataset: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(file, dataset, enforce_file_format=False)
    file.seek(0)
    return file


def read(stored: np.ndarray, **elements: Any) -> CTSlice:
    return read_slice(saved(make_dataset(stored, **elements)))


def rejection(stored: np.ndarray | None = None, **elements: Any) -> str:
    with pytest.raises(RejectedSlice) as caught:
        read(np.int16(TRUE_HU + 1024) if stored is None else stored, **elements)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value.reason

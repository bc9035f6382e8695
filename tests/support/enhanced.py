"""Slices of a study written as one enhanced CT."""

import copy
from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
UID = "1.2.3.4"
MOVED = (  # from a slice to functional groups
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "ImageType"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "ConvolutionKernel", "BodyPartExamined"),
)


def item(**elements: object) -> list[Dataset]:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return [dataset]


def enhanced_ct(slices: Sequence[Dataset], intercepts: Sequence[float] | None = None) -> Dataset:
    """One file of the slices, each a frame, uncompressed; intercepts are per frame if given.

    Where they are, the stored values are shifted, so that the HU are the same.
    """
    first = slices[0]
    whole = copy.deepcopy(first)
    for keyword in (*MOVED, "PixelPaddingValue"):
        whole.pop(keyword, None)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = UID
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.NumberOfFrames = len(slices)
    whole.PixelRepresentation, whole.BitsStored, whole.HighBit = 1, 16, 15
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=first.PixelSpacing)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.CTImageFrameTypeSequence = item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    shared.CTReconstructionSequence = item(ConvolutionKernel="H31s")
    whole.SharedFunctionalGroupsSequence = [shared]
    intercepts = intercepts or [-1024.0] * len(slices)
    whole.PerFrameFunctionalGroupsSequence = [
        _frame(*pair) for pair in zip(slices, intercepts, strict=True)
    ]
    stored = [hu_of(x) - shift for x, shift in zip(slices, intercepts, strict=True)]
    whole.PixelData = np.stack(stored).astype("<i2").tobytes()
    return whole


def hu_of(dataset: Dataset) -> np.ndarray:
    """HU of a slice by pydicom."""
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def compress(whole: Dataset, syntax: str, frames: Sequence[bytes], *, table: bool) -> None:
    """Puts compressed frames in the place of the pixels, with an offset table if asked for."""
    whole.file_meta.TransferSyntaxUID = syntax
    whole.add_new("PixelData", "OB", encapsulate(list(frames), has_bot=table))
    whole["PixelData"].is_undefined_length = True


def _frame(dataset: Dataset, intercept: float) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = item(ImagePositionPatient=dataset.ImagePositionPatient)
    frame.PixelValueTransformationSequence = item(
        RescaleIntercept=intercept, RescaleSlope=1, RescaleType="HU"
    )
    return frame

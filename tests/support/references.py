"""HU as decoders read them that are not ours."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames


def gdcm_hu(path: Path) -> np.ndarray:
    """HU as GDCM decodes and rescales them, float64, shape (rows, columns)."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    image = reader.GetImage()
    pixel_format = image.GetPixelFormat()
    kind = "i" if pixel_format.GetPixelRepresentation() else "u"
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    columns, rows = image.GetDimension(0), image.GetDimension(1)
    bytes_a_pixel = -(-pixel_format.GetBitsAllocated() // 8)  # 2 of 12 bits, which it unpacks
    stored = np.frombuffer(buffer, f"<{kind}{bytes_a_pixel}", count=rows * columns)
    return stored.reshape(rows, columns) * image.GetSlope() + image.GetIntercept()


def itk_hu(path: Path) -> np.ndarray:
    """HU as ITK decodes and rescales them, shape (rows, columns); never of MONOCHROME1."""
    itk = pytest.importorskip("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    return itk.GetArrayFromImage(itk.ReadImage(str(path)))[0]


def openjph_hu(path: Path) -> np.ndarray:
    """HU of high-throughput JPEG 2000, which the others do not read, as OpenJPH decodes it."""
    imagecodecs = pytest.importorskip("imagecodecs")
    dataset = dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    stored = imagecodecs.htj2k_decode(frame).astype(np.int64)
    unused = 64 - dataset.BitsStored
    kind = np.int64 if dataset.PixelRepresentation else np.uint64
    stored = stored.view(kind) << kind(unused) >> kind(unused)
    return stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def by_header_rules(dataset: Dataset, hu: np.ndarray) -> np.ndarray:
    """HU by the rules of docs/reference/dicom.md, from those of a reader that always rescales."""
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    stored = np.rint((hu - float(intercept)) / float(slope)).astype(np.int64)
    if dataset.BitsAllocated == 12 and dataset.PixelRepresentation:
        stored = (stored + 2048) % 4096 - 2048  # of packed bits GDCM drops the sign
        hu = stored * float(slope) + float(intercept)
    hu = _by_mapping(dataset, stored, hu)
    low, high = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if low is None:
        return hu
    high = low if high is None else high
    bits = np.array([low & 0xFFFF, high & 0xFFFF], np.uint16)
    low, high = np.sort(bits.view(np.int16) if dataset.PixelRepresentation else bits).tolist()
    values = np.arange(low, high + 1)
    declared = _by_mapping(dataset, values, values * float(slope) + float(intercept))
    if any(-850 <= x <= 3000 for x in declared):
        return hu
    return np.where((stored >= low) & (stored <= high), np.clip(hu, -4096, -1000), hu)


def _by_mapping(dataset: Dataset, stored: np.ndarray, on_line: np.ndarray) -> np.ndarray:
    """HU of stored values, `on_line` unless they are wrapped or have a Modality LUT."""
    layout = (dataset.BitsStored, dataset.PixelRepresentation, dataset.get("RescaleSlope", 1))
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(dataset.ModalityLUTSequence[0], stored)
    if layout == (12, 0, 1) and dataset.get("RescaleIntercept", 0) > -100:
        return (stored + 1000) % 4096 - 1000
    return on_line


def _looked_up(item: Dataset, stored: np.ndarray) -> np.ndarray:
    """Through a Modality LUT, by PS3.3 C.11.1.1.1."""
    order = "<" if item.original_encoding[1] else ">"
    descriptor, data = (item.get_item(name).value for name in ("LUTDescriptor", "LUTData"))
    count, first, _ = np.frombuffer(descriptor, f"{order}u2").astype(int)
    table = np.frombuffer(data, f"{order}i2")[: count or 1 << 16]
    return table[np.clip(stored - first, 0, len(table) - 1)]

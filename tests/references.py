"""HU as decoders read them that are not ours."""

from pathlib import Path

import numpy as np
import pytest


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

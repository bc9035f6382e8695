"""What the header of one file says; read in processes that need no pandas."""

import math
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from tfrecords_tools.dicom.parsing import read_pixel_data, short_hash
from tfrecords_tools.dicom.reader import FileHeader, SliceFormat, read_header
from tfrecords_tools.dicom.refusal import RefusedSlice
from tfrecords_tools.storage.source_files import is_regular, open_source

# A slice of nothing but air and padding has few values, or compresses to almost nothing.
PLAIN_BYTES, PLAIN_VALUES, PLAIN_STRIDE = 1024, 16, 7


class ScannedFile(NamedTuple):
    """A file of a data set.

    Attributes:
        path: relative to the data set.
        bytes: size of the file.
        version: tells whether it was written anew, as `open_source` has it.
        header_bytes: of what stands before the pixels.
        header_hash: of that.
        format: how its pixels become HU; one object for all files where it is equal.
        slice_id: SOP Instance UID.
        study_id: Study Instance UID.
        series_id: Series Instance UID.
        patient_id: Patient ID.
        position_mm: along the slice normal.
        edge_mm: of the square that its pixels are put on; NaN where it gives no pixel spacing.
        pixel_hash: 0 where the pixels tell nobody apart, or were not read.
        reason: why it is left out; empty where it is not.
        detail: one line about that.
    """

    path: str
    bytes: int
    version: int
    header_bytes: int = 0
    header_hash: int = 0
    format: SliceFormat | None = None
    slice_id: str = ""
    study_id: str = ""
    series_id: str = ""
    patient_id: str = ""
    position_mm: float = 0.0
    edge_mm: float = math.nan
    pixel_hash: int = 0
    reason: str = ""
    detail: str = ""


def scan_files(root: str, paths: Sequence[str], hash_pixels: bool) -> list[ScannedFile]:
    """Reads the headers of files, and where asked for hashes their pixels.

    Args:
        root: that paths are relative to; empty where they are not.
        paths: of files.
        hash_pixels: whether to.

    Raises:
        OSError: if a file cannot be read.
        SourceError: if an object store does not give one.
    """
    formats: dict[SliceFormat, SliceFormat] = {}
    return [_scan_file(root, path, hash_pixels, formats) for path in paths]


def _scan_file(
    root: str, path: str, hash_pixels: bool, formats: dict[SliceFormat, SliceFormat]
) -> ScannedFile:
    whole_path = os.path.join(root, path)  # noqa: PTH118 - it may be a URI
    if not is_regular(whole_path):  # a pipe would be waited for
        return ScannedFile(
            path,
            0,
            0,
            reason="not_dicom",
            detail="is no regular file; links to folders are not followed",
        )
    with open_source(whole_path) as (stream, size, version):
        scanned = ScannedFile(path, size, version)
        try:
            header = read_header(stream)
            pixels = _pixel_hash(stream, header) if hash_pixels else 0
        except RefusedSlice as refusal:
            return scanned._replace(reason=refusal.reason, detail=refusal.detail)
    identity = header.slice
    return scanned._replace(
        header_bytes=header.mark.bytes,
        header_hash=header.mark.hash,
        # What is equal is one object here, and travels and is kept but once.
        format=formats.setdefault(header.format, header.format),
        slice_id=identity.slice_id,
        study_id=sys.intern(identity.study_id),
        series_id=sys.intern(identity.series_id),
        patient_id=sys.intern(identity.patient_id),
        position_mm=identity.position_mm,
        edge_mm=identity.edge_mm,
        pixel_hash=pixels,
    )


def _pixel_hash(file: BinaryIO, header: FileHeader) -> int:
    """A hash of stored pixels; 0 where they are so plain that two patients may have the same."""
    pixels, _ = read_pixel_data(file, header.format.pixels.syntax, header.mark)
    plain = len(pixels) < PLAIN_BYTES or len(set(pixels[::PLAIN_STRIDE])) < PLAIN_VALUES
    return 0 if plain else short_hash(pixels)

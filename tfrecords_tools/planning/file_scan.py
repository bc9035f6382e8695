"""The header of one file, as one row of a table; importing this loads no pandas."""

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from tfrecords_tools.dicom.parsing import MAX_BYTES, read_pixel_data, short_hash
from tfrecords_tools.dicom.reader import FileHeader, SliceFormat, read_header
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.storage.source_files import is_regular, open_source

# A slice of nothing but air and padding has few values, or compresses to almost nothing.
PLAIN_BYTES, PLAIN_VALUES, PLAIN_STRIDE = 1024, 16, 7


class ScannedFile(NamedTuple):
    """A file of a data set."""

    path: str  # relative to the root
    bytes: int
    version: int  # changes when the file is written again (see `open_source`)
    header_bytes: int = 0
    header_hash: int = 0
    format: SliceFormat | None = None  # how its pixels become HU; equal formats are one object
    slice_id: str = ""
    study_id: str = ""
    series_id: str = ""
    patient_id: str = ""
    position_mm: float = 0.0  # position along the slice normal
    edge_mm: float = math.nan  # of the slice padded to a square; NaN without pixel spacing
    pixel_hash: int = 0  # 0 if they were not read, or are too plain to identify anyone
    reason: str = ""  # why the file is rejected; empty if it is not
    detail: str = ""  # one line about the reason


def absolute_path(root: str, path: str) -> str:
    """The path or URI of a file below a root, which may be empty."""
    return os.path.join(root, path)  # noqa: PTH118 - it may be a URI


def content_sha256(root: str, path: str) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open_source(absolute_path(root, path)) as (stream, _size, _version):
        return hashlib.sha256(stream.read(MAX_BYTES)).hexdigest()


def scan_files(root: str, paths: Sequence[str], hash_pixels: bool) -> list[ScannedFile]:
    """Reads the headers of files below a root, and with `hash_pixels` their pixels too."""
    formats: dict[SliceFormat, SliceFormat] = {}
    return [_scan_file(root, path, hash_pixels, formats) for path in paths]


def _scan_file(
    root: str, path: str, hash_pixels: bool, formats: dict[SliceFormat, SliceFormat]
) -> ScannedFile:
    whole_path = absolute_path(root, path)
    if not is_regular(whole_path):  # reading a pipe would block
        detail = "is no regular file; links to folders are not followed"
        return ScannedFile(path, 0, 0, reason="not_dicom", detail=detail)
    with open_source(whole_path) as (stream, size, version):
        scanned = ScannedFile(path, size, version)
        try:
            header = read_header(stream)
            pixel_hash = _pixel_hash(stream, header) if hash_pixels else 0
        except RejectedSlice as rejection:
            return scanned._replace(reason=rejection.reason, detail=rejection.detail)
    identity = header.slice
    return scanned._replace(
        header_bytes=header.mark.bytes,
        header_hash=header.mark.hash,
        format=formats.setdefault(header.format, header.format),  # pickled and kept only once
        slice_id=identity.slice_id,
        study_id=sys.intern(identity.study_id),
        series_id=sys.intern(identity.series_id),
        patient_id=sys.intern(identity.patient_id),
        position_mm=identity.position_mm,
        edge_mm=identity.edge_mm,
        pixel_hash=pixel_hash,
    )


def _pixel_hash(file: BinaryIO, header: FileHeader) -> int:
    """A hash of the stored pixels; 0 if they are so plain that two patients may share them."""
    pixels, _ = read_pixel_data(file, header.format.pixels.syntax, header.mark)
    plain = len(pixels) < PLAIN_BYTES or len(set(pixels[::PLAIN_STRIDE])) < PLAIN_VALUES
    return 0 if plain else short_hash(pixels)

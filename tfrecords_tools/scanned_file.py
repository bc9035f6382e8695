"""What the header of one file says; read in processes that need no pandas."""

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfrecords_tools.dicom import RefusedSlice, read_header, read_stored_bytes

# A slice of nothing but air and padding has few values, or compresses to almost nothing.
PLAIN_BYTES, PLAIN_VALUES, PLAIN_STRIDE = 1024, 16, 7


class ScannedFile(NamedTuple):
    """A file of a data set.

    Attributes:
        path: relative to the data set.
        bytes: size of the file.
        modified_ns: when it was last written.
        header_hash: of what stands before the pixels.
        slice_id: SOP Instance UID.
        study_id: Study Instance UID.
        series_id: Series Instance UID.
        patient_id: Patient ID.
        position_mm: along the slice normal.
        pixel_hash: 0 where the pixels tell nobody apart, or were not read.
        reason: why it is left out; empty where it is not.
        detail: one line about that.
    """

    path: str
    bytes: int
    modified_ns: int
    header_hash: int = 0
    slice_id: str = ""
    study_id: str = ""
    series_id: str = ""
    patient_id: str = ""
    position_mm: float = 0.0
    pixel_hash: int = 0
    reason: str = ""
    detail: str = ""


def scan_files(root: Path, paths: Sequence[str], hash_pixels: bool) -> list[ScannedFile]:
    """Reads the headers of files, and where asked for hashes their pixels.

    Raises:
        OSError: if a file cannot be read.
    """
    return [_scan_file(root, path, hash_pixels) for path in paths]


def _scan_file(root: Path, path: str, hash_pixels: bool) -> ScannedFile:
    if not (root / path).is_file():  # a pipe would be waited for
        (root / path).lstat()
        return ScannedFile(path, 0, 0, reason="not_dicom", detail="is no regular file")
    with (root / path).open("rb") as file:
        status = os.fstat(file.fileno())
        scanned = ScannedFile(path, status.st_size, status.st_mtime_ns)
        try:
            return _with_header(scanned, file, hash_pixels)
        except RefusedSlice as refusal:
            return scanned._replace(reason=refusal.reason, detail=refusal.detail)


def _with_header(scanned: ScannedFile, file: BinaryIO, hash_pixels: bool) -> ScannedFile:
    header = read_header(file)
    before_pixels = min(file.tell(), scanned.bytes)  # a length that lies leads behind the end
    pixels = read_stored_bytes(file) if hash_pixels else b""
    file.seek(0)
    return scanned._replace(
        header_hash=_hash(file.read(before_pixels)),
        slice_id=header.slice_id,
        # What is equal is one object here, and travels and is kept but once.
        study_id=sys.intern(header.study_id),
        series_id=sys.intern(header.series_id),
        patient_id=sys.intern(header.patient_id),
        position_mm=header.position_mm,
        pixel_hash=_pixel_hash(pixels),
    )


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")  # fits an int64


def _pixel_hash(pixels: bytes) -> int:
    """A hash of stored pixels; 0 where they are so plain that two patients may have the same."""
    plain = len(pixels) < PLAIN_BYTES or len(set(pixels[::PLAIN_STRIDE])) < PLAIN_VALUES
    return 0 if plain else _hash(pixels)

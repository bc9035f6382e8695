"""Folders and zip archives of small CT slices, whole and spoilt."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from ich_keras.data.studies import find_studies
from tests.support.made_dicom import TRUE_HU, make_dataset, saved

CENTRAL = b"PK\1\2"  # begins the entry of a member in the directory at the end of an archive
LOCAL = b"PK\3\4"  # begins the member itself
FLAGS, METHOD, CRC, UNPACKED = 8, 10, 16, 24  # places in an entry of the directory


def slice_bytes(number: int, study: str = "ID_study", slice_id: str = "") -> bytes:
    """A whole CT slice, named `ID_<number>` unless told."""
    position = [-125, -120, 5.0 * number]
    elements = {"SOPInstanceUID": slice_id or f"ID_{number}", "StudyInstanceUID": study}
    stored = np.int16(TRUE_HU + number % 7)
    dataset = make_dataset(stored, RescaleIntercept="0", ImagePositionPatient=position, **elements)
    return saved(dataset).getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_entry(archive: bytes, number: int, place: int, value: int, size: int = 2) -> bytes:
    """An archive with another value in an entry of its directory, and in the member's own head."""
    packed = struct.pack("<Q", value)[:size]
    for mark, shift in ((CENTRAL, 0), (LOCAL, -2)):
        start = -1
        for _ in range(number + 1):
            start = archive.index(mark, start + 1)
        at = start + place + shift
        archive = archive[:at] + packed + archive[at + size :]
    return archive


def answered(*paths: Path) -> tuple[set[str], dict[str, str]]:
    """The slices whose pixels are read, and the rejected files, `<reason>: <detail>` by path."""
    studies, rejects = find_studies(paths)
    slices = set()
    for series in (series for study in studies for series in study.series):
        read, unreadable = series.read()
        rejects = rejects + unreadable
        slices |= {file.slice_id for file, _ in read}
    return slices, {x["path"]: f"{x['reason']}: {x['detail']}" for x in rejects}

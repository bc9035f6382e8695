"""What a worker knows about the slices that it writes; importing this loads no pandas."""

from typing import NamedTuple

from tfrecords_tools.dicom.reader import SliceFormat


class SourceFile(NamedTuple):
    """A file as it was when its header was read: the first fields of a `ScannedFile`."""

    path: str
    bytes: int
    version: int
    header_bytes: int
    header_hash: int
    format: SliceFormat


class PlannedSlice(NamedTuple):
    """A record to be written."""

    file: SourceFile  # holds the slice
    # files of the slices below and above, from the lowest to the highest, without `file`; where a
    # neighbour is missing, the nearest slice on that side or `file` itself
    neighbours: tuple[SourceFile, ...]
    slice_id: str  # the ids are those for the record
    study_id: str
    patient_key: str
    position_mm: float
    mask: str  # file name of its mask, or ""
    label: tuple[int, ...] | None  # 0 or 1 for each of LABELS, or None if unlabelled

"""What a conversion is going to write."""

from typing import NamedTuple

from tfrecords_tools.dicom.reader import SliceFormat


class SourceFile(NamedTuple):
    """A file as it was when its header was read.

    Attributes:
        path: relative to the source.
        bytes: size of the file.
        version: tells whether it was written anew, as `open_source` has it.
        header_bytes: of what stands before the pixels.
        header_hash: of that.
        format: how its pixels become HU.
    """

    path: str
    bytes: int
    version: int
    header_bytes: int
    header_hash: int
    format: SliceFormat


class PlannedSlice(NamedTuple):
    """A record to be.

    Attributes:
        file: that holds the slice.
        neighbours: files of the slices below and above, from the lowest to the highest, this one
            left out; the slice's own file where there is none.
        slice_id: for the record.
        study_id: for the record.
        patient_key: for the record.
        position_mm: for the record.
        label: 0 or 1 for each of LABELS, or None where unlabelled.
    """

    file: SourceFile
    neighbours: tuple[SourceFile, ...]
    slice_id: str
    study_id: str
    patient_key: str
    position_mm: float
    label: tuple[int, ...] | None

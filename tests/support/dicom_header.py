"""The header of a slice, without a file."""

from tfrecords_tools.dicom.header import SliceHeader


def header(**changes: object) -> SliceHeader:
    """That of a slice of 512 x 512 pixels of a head, with some fields changed."""
    usual: dict[str, object] = {
        "slice_id": "1.2.3",
        "patient_id": "p",
        "study_id": "1.2",
        "series_id": "1.2.1",
        "rows": 512,
        "columns": 512,
        "position": (0.0, 0.0, 0.0),
        "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "position_mm": 0.0,
        "pixel_spacing": (0.45, 0.45),
    }
    return SliceHeader(**(usual | changes))  # type: ignore[arg-type]

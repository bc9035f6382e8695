"""Checks and reads what a DICOM header says about a CT slice."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from tfrecords_tools.dicom.rejection import RejectedSlice, one_line, rejecting
from tfrecords_tools.dicom.values import decoded, integer, numbers, texts
from tfrecords_tools.tables.csv_cells import FORMULA

MIN_EDGE, MAX_EDGE = 32, 4096  # pixels
MAX_IDENTIFIER = 64  # characters, by PS3.5 6.2 for UI and LO
MAX_COSINE_ERROR = 0.01  # of the length of a direction; files give three digits or more
MAX_FIELD_MM = 1000  # wider than the bore of any scanner
MIN_AXIAL_COSINE = 0.7  # about 45 degrees; gantries tilt up to 30

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
SPLIT_FRAMES = "dcm4che's `emf2sf --out-dir DIR IN` splits it into single slices"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LOCALIZERS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW")
# These values describe an image, and names of CAPTURES are not searched in them.
_DOSE_LEVEL = re.compile(
    r"(LOW|REDUCED|HALF|QUARTER|FULL|STANDARD|NORMAL|ROUTINE|HIGH|\bI)[ _-]?DOSE"
    r"(?![ _-]?(INFO|REPORT|SHEET|SUMMARY|RECORD|PAGE|SCREEN|TABLE))"
)
CAPTURES = ("SCREEN SAVE", "DOSE", "REPORT", " PROT")  # the last is Siemens' patient protocol

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class SliceHeader:
    """Identity and position of a slice.

    Identifiers are as in the file, printable and at most 64 characters long, but untrusted: never
    use them as paths. All but `slice_id` are empty if missing; slices without a patient id may be
    of one patient and so belong together.
    """

    slice_id: str  # SOP Instance UID
    patient_id: str  # Patient ID
    study_id: str  # Study Instance UID
    series_id: str  # Series Instance UID
    rows: int
    columns: int
    # Image Position (Patient), mm. If missing, z is the Slice Location, or else the Instance
    # Number, or else 0.
    position: tuple[float, ...]
    orientation: tuple[float, ...]  # Image Orientation (Patient), cosines; if missing, axial
    position_mm: float  # `position` along the slice normal, mm, increasing towards the head
    pixel_spacing: tuple[float, ...] | None  # mm between rows and between columns; None if missing
    kernel: str = ""  # Convolution Kernel; "" if missing
    contrast: bool = False  # whether the file names a contrast agent
    placed: bool = True  # whether `position_mm` is in mm, and not just an order
    image_type: tuple[str, ...] = ()  # Image Type
    body_part: str = ""  # Body Part Examined; "" if missing

    @property
    def edge_mm(self) -> float:
        """Edge of the smallest square around the slice; NaN if no scanner has such a spacing."""
        if self.pixel_spacing is None:
            return math.nan
        height, width = self.rows * self.pixel_spacing[0], self.columns * self.pixel_spacing[1]
        return max(height, width) if 0 < min(height, width) < MAX_FIELD_MM else math.nan


def slice_header(dataset: Dataset) -> SliceHeader:
    """Reads what comes before the pixels; RejectedSlice if it is not of one axial CT slice."""
    _check_kind(dataset)
    _check_layout(dataset)
    position, orientation, position_mm = _geometry(dataset)
    return SliceHeader(
        slice_id=_slice_id(dataset),
        patient_id=_identifier(dataset, "PatientID"),
        study_id=_identifier(dataset, "StudyInstanceUID"),
        series_id=_identifier(dataset, "SeriesInstanceUID"),
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        position=position,
        orientation=orientation,
        position_mm=position_mm,
        pixel_spacing=_numbers_or_none(dataset, "PixelSpacing", 2),
        kernel=_remark(dataset, "ConvolutionKernel"),
        contrast=bool(_remark(dataset, "ContrastBolusAgent")),
        placed=bool(numbers(dataset, "ImagePositionPatient") or numbers(dataset, "SliceLocation")),
        image_type=tuple(map(one_line, texts(dataset, "ImageType"))),
        body_part=_remark(dataset, "BodyPartExamined"),
    )


def is_enhanced(dataset: Dataset) -> bool:
    """Whether the slices are frames of one file."""
    return _sop_class(dataset) in ENHANCED_CT


def _check_kind(dataset: Dataset) -> None:
    sop_class = _sop_class(dataset)
    modality = "".join(texts(dataset, "Modality")[:1])
    if not sop_class and not modality:
        raise RejectedSlice("not_dicom", "has neither a Modality nor a SOP class")
    if is_enhanced(dataset):
        raise RejectedSlice("multi_frame", f"an enhanced CT; {SPLIT_FRAMES}")
    if modality not in ("CT", ""):
        raise RejectedSlice("not_ct", f"Modality is {modality!r}, expected CT")
    if sop_class.startswith(SECONDARY_CAPTURE):
        raise RejectedSlice("secondary_capture", f"SOP class {sop_class}")
    if sop_class not in (CT_IMAGE, ""):
        raise RejectedSlice("not_ct", f"SOP class is {sop_class!r}, expected {CT_IMAGE}")
    image_type = [value.upper() for value in texts(dataset, "ImageType")]
    if any(name in value for name in LOCALIZERS for value in image_type):
        raise RejectedSlice("localizer", f"Image Type is {image_type}")
    described = [_DOSE_LEVEL.sub("", value) for value in image_type]
    if any(name in value for name in CAPTURES for value in described):
        raise RejectedSlice("secondary_capture", f"Image Type is {image_type}")


def _sop_class(dataset: Dataset) -> str:
    """SOP Class UID; the challenge's files have it in the file meta information only."""
    values = texts(dataset, "SOPClassUID") or texts(dataset.file_meta, "MediaStorageSOPClassUID")
    return "".join(values[:1])


def _check_layout(dataset: Dataset) -> None:
    frames = numbers(dataset, "NumberOfFrames")
    if frames not in ((), (1,)) or "SharedFunctionalGroupsSequence" in dataset:
        raise RejectedSlice("multi_frame", f"several frames or functional groups; {SPLIT_FRAMES}")
    samples = integer(dataset, "SamplesPerPixel")
    photometric = texts(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in (["MONOCHROME1"], ["MONOCHROME2"]):
        raise RejectedSlice("colour", f"{samples} samples per pixel, {photometric}")
    for keyword in ("Rows", "Columns"):
        if not MIN_EDGE <= integer(dataset, keyword) <= MAX_EDGE:
            size = integer(dataset, keyword)
            raise RejectedSlice("bad_size", f"{keyword} {size}, expected {MIN_EDGE} to {MAX_EDGE}")
    _check_bits(dataset)


def _check_bits(dataset: Dataset) -> None:
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", default=stored - 1)
    sign = integer(dataset, "PixelRepresentation")
    little_endian = dataset.original_encoding[1]
    # Decoders differ in the word order of big-endian pixels of 12 or of more than 16 bits.
    layouts = (8, 12, 16, 32) if little_endian else (8, 16)
    if (
        allocated not in layouts
        or not 0 < stored <= allocated
        or (allocated == 12 and stored != 12)
        or high != stored - 1
        or sign > 1
    ):
        raise RejectedSlice(
            "unsupported_bits",
            f"Bits Allocated {allocated}, Bits Stored {stored}, High Bit {high},"
            f" Pixel Representation {sign}{'' if little_endian else ', big endian'}",
        )


def _slice_id(dataset: Dataset) -> str:
    """SOP Instance UID, or its copy in the file meta information."""
    name = _identifier(dataset, "SOPInstanceUID")
    name = name or _identifier(dataset.file_meta, "MediaStorageSOPInstanceUID")
    if not name:
        raise RejectedSlice("bad_identifier", "SOPInstanceUID is missing")
    return name


def _identifier(dataset: Dataset, keyword: str) -> str:
    name = "\\".join(texts(dataset, keyword))
    if keyword == "PatientID" and not _is_printable(name):
        with rejecting("bad_identifier", keyword):
            name = decoded(dataset, keyword)
    if len(name) > MAX_IDENTIFIER or not _is_printable(name):
        raise RejectedSlice(
            "bad_identifier",
            f"{keyword} is longer than {MAX_IDENTIFIER} or has unprintable characters",
        )
    if keyword.endswith("UID") and name.startswith(FORMULA):
        raise RejectedSlice("bad_identifier", f"{keyword} begins like a spreadsheet formula")
    return name


def _is_printable(name: str) -> bool:
    """Whether a name holds no control characters; spaces of other scripts are no such ones."""
    return all(x.isprintable() or unicodedata.category(x) == "Zs" for x in name)


def _remark(dataset: Dataset, keyword: str) -> str:
    """Text that does not affect HU; "" if it is malformed."""
    try:
        return one_line(" ".join(texts(dataset, keyword)))
    except RejectedSlice:
        return ""


def _geometry(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Position, orientation, and the position along the normal towards the head."""
    orientation = _numbers_or_none(dataset, "ImageOrientationPatient", 6) or _AXIAL
    along_row, along_column = orientation[:3], orientation[3:]
    normal = _cross(along_row, along_column)
    lengths = [math.hypot(*vector) for vector in (along_row, along_column, normal)]
    if max(abs(length - 1) for length in lengths) > MAX_COSINE_ERROR:
        raise RejectedSlice(
            "bad_header", "ImageOrientationPatient is not two orthogonal unit vectors"
        )
    if abs(normal[2]) < MIN_AXIAL_COSINE:
        raise RejectedSlice("not_axial", f"Image Orientation (Patient) is {orientation}")
    position = _numbers_or_none(dataset, "ImagePositionPatient", 3) or (0.0, 0.0, _order(dataset))
    height = sum(x * n for x, n in zip(position, normal, strict=True))
    return position, orientation, math.copysign(1, normal[2]) * height


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    """The cross product; NumPy's takes twenty times as long for three numbers."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _order(dataset: Dataset) -> float:
    """A height for slices of a series without positions."""
    for keyword in ("SliceLocation", "InstanceNumber"):
        values = _numbers_or_none(dataset, keyword, 1)
        if values:
            return values[0]
    return 0.0


def _numbers_or_none(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    values = numbers(dataset, keyword)
    if len(values) not in (0, count):
        raise RejectedSlice("bad_header", f"{keyword} has {len(values)} values, expected {count}")
    return values or None

"""Checks and reads what a DICOM header says about a CT slice.

Elements are read from the bytes of the file, not converted by pydicom: `float` and `int` read 1_0
as 10 and accept digits of any script, and identifiers that are not valid UTF-8 must stay distinct,
which latin-1 guarantees and a replacement character does not.
"""

import functools
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from tfrecords_tools.dicom.refusal import RefusedSlice, one_line
from tfrecords_tools.tables.csv_cells import FORMULA

MIN_EDGE, MAX_EDGE = 32, 4096  # pixels
MAX_IDENTIFIER = 64  # characters, by PS3.5 6.2 for UI and LO
MAX_COSINE_ERROR = 0.01  # of the length of a direction; files give three digits or more
MAX_FIELD_MM = 1000  # wider than the bore of any scanner
MIN_AXIAL_COSINE = 0.7  # about 45 degrees; gantries tilt up to 30

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LOCALIZERS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW")
CAPTURES = ("SCREEN SAVE", "DOSE", "REPORT", " PROT")  # the last is Siemens' patient protocol

# By PS3.5 6.2; float() takes 1_0 for 10, and digits of any script.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class SliceHeader:
    """What identifies and places a slice.

    Identifiers are what the file says, printable and at most 64 characters long, but otherwise
    untrusted: never a path. All but `slice_id` may be empty where the file gives none; slices
    without a patient belong together, as they may be of one.

    Attributes:
        slice_id: SOP Instance UID.
        patient_id: Patient ID.
        study_id: Study Instance UID.
        series_id: Series Instance UID.
        rows: pixels.
        columns: pixels.
        position: Image Position (Patient), mm. Where the file gives none, the Slice Location,
            else the Instance Number, else 0 stands for z.
        orientation: Image Orientation (Patient), direction cosines; (1, 0, 0, 0, 1, 0) where the
            file gives none.
        position_mm: `position` along the slice normal, mm, growing towards the head.
        pixel_spacing: mm between rows and between columns; None where the file gives none.
        kernel: Convolution Kernel, "" where the file gives none.
        contrast: whether the file names a contrast agent.
    """

    slice_id: str
    patient_id: str
    study_id: str
    series_id: str
    rows: int
    columns: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    position_mm: float
    pixel_spacing: tuple[float, ...] | None
    kernel: str = ""
    contrast: bool = False

    @property
    def edge_mm(self) -> float:
        """Of the smallest square around the slice; NaN where the spacing is none of a scanner."""
        if self.pixel_spacing is None:
            return math.nan
        height, width = self.rows * self.pixel_spacing[0], self.columns * self.pixel_spacing[1]
        return max(height, width) if 0 < min(height, width) < MAX_FIELD_MM else math.nan


def slice_header(dataset: Dataset) -> SliceHeader:
    """Checks and reads all that stands before the pixels.

    Raises:
        RefusedSlice: if it does not describe one axial slice of HU.
    """
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
    )


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element of text, stripped; none where it is missing or empty."""
    content = _content(dataset, keyword)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # never fails, and keeps identifiers distinct
    values = [value.strip(" \0") for value in text.split("\\")]
    return values if any(values) else []


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of an element of decimal or integer strings."""
    values = texts(dataset, keyword)
    if not all(_NUMBER.fullmatch(value) for value in values):
        raise RefusedSlice("bad_header", f"{keyword} holds what is not a number")
    found = tuple(map(float, values))
    if not all(map(math.isfinite, found)):
        raise RefusedSlice("bad_header", f"{keyword} holds a number out of range")
    return found


def integers(dataset: Dataset, keyword: str) -> list[int]:
    """The values of an element of unsigned 16-bit integers."""
    content = _content(dataset, keyword)
    if len(content) % 2:
        raise RefusedSlice("bad_header", f"{keyword} has {len(content)} bytes, expected 2 a value")
    order = "<" if dataset.original_encoding[1] else ">"
    return [value for (value,) in struct.iter_unpack(f"{order}H", content)]


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """The one value of an element of unsigned 16-bit integers."""
    values = integers(dataset, keyword)
    if not values and default is not None:
        return default
    if len(values) != 1:
        raise RefusedSlice("bad_header", f"{keyword} has {len(values)} values, expected 1")
    return values[0]


@functools.cache
def _tag(keyword: str) -> BaseTag:
    """The tag of a keyword; pydicom looks for it in a roundabout way, each time."""
    return Tag(keyword)


@functools.cache
def allowed_vrs(tag: BaseTag) -> frozenset[str | None]:
    """The VRs in which a value may be written; None where it is implicit."""
    try:
        return frozenset((*dictionary_VR(tag).split(" or "), "UN", None))
    except KeyError:
        return frozenset((*EXPLICIT_VR_LENGTH_16, *EXPLICIT_VR_LENGTH_32, None))


def _content(dataset: Dataset, keyword: str) -> bytes:
    element = dataset.get_item(_tag(keyword), keep_deferred=True)
    if element is None:
        return b""
    if isinstance(element, RawDataElement):
        if element.VR not in allowed_vrs(element.tag):
            raise RefusedSlice("bad_header", f"{keyword} has the VR {element.VR}")
        return element.value or b""
    if not isinstance(element.value, str):
        raise RefusedSlice("bad_header", f"{keyword} is not a plain value")
    return element.value.encode("utf-8", "replace")  # pydicom has read this one already


def _check_kind(dataset: Dataset) -> None:
    sop_class = _sop_class(dataset)
    modality = "".join(texts(dataset, "Modality")[:1])
    if not sop_class and not modality:
        raise RefusedSlice("not_dicom", "names neither a Modality nor a SOP class")
    if sop_class in ENHANCED_CT:
        raise RefusedSlice("multi_frame", "an enhanced CT; export it as single slices")
    if modality not in ("CT", ""):
        raise RefusedSlice("not_ct", f"Modality is {modality!r}, expected CT")
    if sop_class.startswith(SECONDARY_CAPTURE):
        raise RefusedSlice("secondary_capture", f"SOP class {sop_class}")
    if sop_class not in (CT_IMAGE, ""):
        raise RefusedSlice("not_ct", f"SOP class is {sop_class!r}, expected {CT_IMAGE}")
    image_type = [value.upper() for value in texts(dataset, "ImageType")]
    if any(name in value for name in LOCALIZERS for value in image_type):
        raise RefusedSlice("localizer", f"Image Type is {image_type}")
    if any(name in value for name in CAPTURES for value in image_type):
        raise RefusedSlice("secondary_capture", f"Image Type is {image_type}")


def _sop_class(dataset: Dataset) -> str:
    """The SOP class; the challenge's files give it in the file meta only."""
    values = texts(dataset, "SOPClassUID") or texts(dataset.file_meta, "MediaStorageSOPClassUID")
    return "".join(values[:1])


def _check_layout(dataset: Dataset) -> None:
    frames = numbers(dataset, "NumberOfFrames")
    if frames not in ((), (1,)) or "SharedFunctionalGroupsSequence" in dataset:
        raise RefusedSlice("multi_frame", "more than one frame, or functional groups")
    samples = integer(dataset, "SamplesPerPixel")
    photometric = texts(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in (["MONOCHROME1"], ["MONOCHROME2"]):
        raise RefusedSlice("colour", f"{samples} samples a pixel, {photometric}")
    for keyword in ("Rows", "Columns"):
        if not MIN_EDGE <= integer(dataset, keyword) <= MAX_EDGE:
            size = integer(dataset, keyword)
            raise RefusedSlice("bad_size", f"{keyword} {size}, expected {MIN_EDGE} to {MAX_EDGE}")
    _check_bits(dataset)


def _check_bits(dataset: Dataset) -> None:
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", default=stored - 1)
    sign = integer(dataset, "PixelRepresentation")
    little_endian = dataset.original_encoding[1]
    # Of more than 16 bits, or of 12, decoders order the words of big endian differently.
    layouts = (8, 12, 16, 32) if little_endian else (8, 16)
    if (
        allocated not in layouts
        or not 0 < stored <= allocated
        or (allocated == 12 and stored != 12)
        or high != stored - 1
        or sign > 1
    ):
        raise RefusedSlice(
            "unsupported_bits",
            f"Bits Allocated {allocated}, Bits Stored {stored}, High Bit {high},"
            f" Pixel Representation {sign}{'' if little_endian else ', big endian'}",
        )


def _slice_id(dataset: Dataset) -> str:
    """SOP Instance UID; a file stripped of it may still have its copy in the file meta."""
    name = _identifier(dataset, "SOPInstanceUID")
    name = name or _identifier(dataset.file_meta, "MediaStorageSOPInstanceUID")
    if not name:
        raise RefusedSlice("bad_identifier", "SOPInstanceUID is missing")
    return name


def _identifier(dataset: Dataset, keyword: str) -> str:
    name = "\\".join(texts(dataset, keyword))
    if len(name) > MAX_IDENTIFIER or not name.isprintable():
        raise RefusedSlice(
            "bad_identifier",
            f"{keyword} is longer than {MAX_IDENTIFIER} or has unprintable characters",
        )
    if keyword.endswith("UID") and name.startswith(FORMULA):
        raise RefusedSlice("bad_identifier", f"{keyword} begins as a formula of a spreadsheet")
    return name


def _remark(dataset: Dataset, keyword: str) -> str:
    """Text on which no HU hangs: where it is malformed it is as if it were not there."""
    try:
        return one_line(" ".join(texts(dataset, keyword)))
    except RefusedSlice:
        return ""


def _geometry(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Position, orientation, and the position along the normal towards the head."""
    orientation = _numbers_or_none(dataset, "ImageOrientationPatient", 6) or _AXIAL
    along_row, along_column = orientation[:3], orientation[3:]
    normal = _cross(along_row, along_column)
    lengths = [math.hypot(*vector) for vector in (along_row, along_column, normal)]
    if max(abs(length - 1) for length in lengths) > MAX_COSINE_ERROR:
        raise RefusedSlice("bad_header", "ImageOrientationPatient holds no two unit vectors")
    if abs(normal[2]) < MIN_AXIAL_COSINE:
        raise RefusedSlice("not_axial", f"Image Orientation (Patient) is {orientation}")
    position = _numbers_or_none(dataset, "ImagePositionPatient", 3) or (0.0, 0.0, _order(dataset))
    height = sum(x * n for x, n in zip(position, normal, strict=True))
    return position, orientation, math.copysign(1, normal[2]) * height


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    """The cross product; of three numbers NumPy's takes twenty times as long."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _order(dataset: Dataset) -> float:
    """What orders the slices of a series that gives no position."""
    for keyword in ("SliceLocation", "InstanceNumber"):
        values = _numbers_or_none(dataset, keyword, 1)
        if values:
            return values[0]
    return 0.0


def _numbers_or_none(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    values = numbers(dataset, keyword)
    if len(values) not in (0, count):
        raise RefusedSlice("bad_header", f"{keyword} has {len(values)} values, expected {count}")
    return values or None

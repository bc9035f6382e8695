"""Damage between and within the elements of a file, and pixels as they are stored."""

import io
import struct

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.support.made_dicom import TRUE_HU, make_dataset, saved
from tfrecords_tools.dicom.parsing import MAX_BYTES, read_pixel_data
from tfrecords_tools.dicom.reader import read_header, read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice

STORED = np.int16(TRUE_HU + 1024)
WHOLE = saved(make_dataset(STORED)).read()
SLOPE = b"\x28\0\x53\x10DS\x02\0" + b"1 "
INTERCEPT = b"\x28\0\x52\x10DS\x0c\0" + b"-1024.000000"
PADDING = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0" + bytes(4)  # Data Set Trailing Padding


def fault(content: bytes) -> str:
    with pytest.raises(RejectedSlice, match="not_dicom: ") as caught:
        read_slice(io.BytesIO(content))
    return str(caught.value)


def replaced(old: bytes, new: bytes) -> bytes:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def test_a_second_file_meta_information_is_rejected() -> None:
    meta_end = WHOLE.index(b"\x08\0\x18\0")
    doubled = WHOLE[:meta_end] + WHOLE[132:meta_end] + WHOLE[meta_end:]
    assert "occurs twice" in fault(doubled)


def test_an_element_of_implicit_vr_among_explicit_ones_is_rejected() -> None:
    implicit = b"\x28\0\x53\x10\x02\0\0\0" + b"1 "
    assert "00281053 has the unknown VR None" in fault(replaced(SLOPE, implicit))


def test_elements_after_the_pixels_are_no_pixels() -> None:
    np.testing.assert_array_equal(read_slice(io.BytesIO(WHOLE + PADDING)).hu, TRUE_HU)
    assert "it ends within FFFCFFFC" in fault(WHOLE + PADDING[:-1])
    assert "FFFCFFFC follows FFFCFFFC" in fault(WHOLE + PADDING + PADDING)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_checked_too(syntax: str) -> None:
    content = saved(make_dataset(STORED, syntax=syntax)).read()
    np.testing.assert_array_equal(read_slice(io.BytesIO(content)).hu, TRUE_HU)
    fault(content + bytes(5) + b"\1")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    rows, columns = (struct.pack(f"{order}HH", 0x28, number) for number in (0x10, 0x11))
    assert content.count(rows) == content.count(columns) == 1
    with pytest.raises(RejectedSlice):
        read_slice(io.BytesIO(content.replace(rows, columns)))


def test_what_a_file_is_matters_more_than_what_is_wrong_with_it() -> None:
    """Of a damaged MR image nobody wants to read that it should be copied again."""
    content = replaced(SLOPE, SLOPE + SLOPE).replace(b"\x60\0CS\x02\0CT", b"\x60\0CS\x02\0MR")
    with pytest.raises(RejectedSlice, match="not_ct"):
        read_slice(io.BytesIO(content))


def test_pixel_data_is_returned_as_stored() -> None:
    file = io.BytesIO(WHOLE)
    header = read_header(file)
    content, vr = read_pixel_data(file, header.format.pixels.syntax, header.mark)
    assert (content, vr) == (STORED.tobytes(), "OW")


def test_a_machine_short_of_memory_does_not_reject_the_file() -> None:
    class Short(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise MemoryError

    with pytest.raises(MemoryError):
        read_slice(Short(WHOLE))


def test_a_length_that_lies_allocates_nothing() -> None:
    """Within a sequence, which pydicom reads in one go."""

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert size <= MAX_BYTES
            return super().read(size)

    lie = struct.pack("<HH2sHI", 0x0040, 0x0008, b"OB", 0, 0xFFFFFFF0)
    items = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + lie
    sequence = b"\x18\0\x12\0SQ\0\0" + b"\xff" * 4 + items
    with pytest.raises(RejectedSlice, match="not_dicom"):
        read_header(Counting(replaced(b"\x28\0\x02\0US", sequence + b"\x28\0\x02\0US")))

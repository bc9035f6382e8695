"""Files whose elements are not whole, or not in order: parsers read on, each in its own way."""

import io
import struct

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.support.made_dicom import TRUE_HU, make_dataset, saved
from tfrecords_tools.dicom.header import RefusedSlice
from tfrecords_tools.dicom.parsing import read_pixel_data
from tfrecords_tools.dicom.reader import read_header, read_slice

STORED = np.int16(TRUE_HU + 1024)
WHOLE = saved(make_dataset(STORED)).read()
SLOPE = b"\x28\0\x53\x10DS\x02\0" + b"1 "
INTERCEPT = b"\x28\0\x52\x10DS\x0c\0" + b"-1024.000000"
PADDING = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0" + bytes(4)  # Data Set Trailing Padding


def fault(content: bytes) -> str:
    with pytest.raises(RefusedSlice, match="not_dicom: ") as caught:
        read_slice(io.BytesIO(content))
    return str(caught.value)


def replaced(old: bytes, new: bytes) -> bytes:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def test_elements_out_of_order_are_refused() -> None:
    swapped = replaced(INTERCEPT + SLOPE, SLOPE + INTERCEPT)
    assert "00281052 stands behind 00281053" in fault(swapped)


def test_an_element_within_the_file_meta_information_of_no_group_2_is_refused() -> None:
    meta_end = WHOLE.index(b"\x08\0\x18\0")
    doubled = WHOLE[:meta_end] + WHOLE[132:meta_end] + WHOLE[meta_end:]
    assert "stands behind" in fault(doubled)


def test_an_element_of_implicit_vr_among_explicit_ones_is_refused() -> None:
    implicit = b"\x28\0\x53\x10\x02\0\0\0" + b"1 "
    assert "00281053 has the unknown VR b'\\x02\\x00'" in fault(replaced(SLOPE, implicit))


def test_elements_behind_the_pixels_are_no_pixels() -> None:
    np.testing.assert_array_equal(read_slice(io.BytesIO(WHOLE + PADDING)).hu, TRUE_HU)
    assert "it ends within FFFCFFFC" in fault(WHOLE + PADDING[:-1])
    assert "FFFCFFFC stands behind FFFCFFFC" in fault(WHOLE + PADDING + PADDING)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_watched_too(syntax: str) -> None:
    content = saved(make_dataset(STORED, syntax=syntax)).read()
    np.testing.assert_array_equal(read_slice(io.BytesIO(content)).hu, TRUE_HU)
    fault(content + bytes(5) + b"\1")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    spacing = struct.pack(f"{order}HH", 0x28, 0x30)
    assert content.count(spacing) == 1
    thickness = struct.pack(f"{order}HH", 0x18, 0x50)
    assert "00180050 stands behind" in fault(content.replace(spacing, thickness))


def test_what_a_file_is_matters_more_than_what_is_wrong_with_it() -> None:
    """Of a damaged MR image nobody wants to read that it should be copied again."""
    content = replaced(SLOPE, SLOPE + SLOPE).replace(b"\x60\0CS\x02\0CT", b"\x60\0CS\x02\0MR")
    with pytest.raises(RefusedSlice, match="not_ct"):
        read_slice(io.BytesIO(content))


def test_pixel_data_are_given_as_they_are_stored() -> None:
    file = io.BytesIO(WHOLE)
    header = read_header(file)
    content, vr = read_pixel_data(file, header.format.pixels.encoding, header.mark)
    assert (content, vr) == (STORED.tobytes(), "OW")

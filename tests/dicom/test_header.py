"""Identity and position of a slice."""

import io
import math
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.documents import table
from tests.support.made_dicom import TRUE_HU, make_dataset, read, saved
from tfrecords_tools.dicom import decoders, header, parsing, pixels, reader, rescale, values
from tfrecords_tools.dicom.reader import read_header, read_slice
from tfrecords_tools.dicom.rejection import DECODER_CRASH, REASONS, RejectedSlice
from tfrecords_tools.engines import crashes
from tfrecords_tools.writing import shard


def test_every_reason_is_used() -> None:
    modules = (reader, parsing, header, values, pixels, decoders, rescale, shard)
    sources = "".join(Path(x.__file__).read_text("utf-8") for x in modules)
    used = set(re.findall(r'(?:RejectedSlice|rejecting)\(\s*"(\w+)"', sources))
    used |= set(re.findall(r'"(\w+_pixels)"', sources))
    assert "given_up[path] = (DECODER_CRASH" in Path(crashes.__file__).read_text("utf-8")
    assert set(REASONS) == used | {DECODER_CRASH}


def test_every_reason_is_documented() -> None:
    rows = table("reference/dicom.md", "reason", "meaning", "what to do")
    assert {reason: meaning for reason, meaning, _ in rows} == REASONS


def test_the_identifiers_of_the_challenge_cause_no_warning() -> None:
    file = saved(make_dataset(np.int16(TRUE_HU + 1024)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        identity = read_slice(file).header
    assert identity.slice_id == "ID_00a1b2c3d"
    assert identity.patient_id == "ID_patient"
    assert identity.study_id == "ID_study"
    assert identity.series_id == "ID_series"


def test_the_header_of_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "slice"
    file.write_bytes(saved(make_dataset(np.int16(TRUE_HU + 1024))).read())
    identity = read_header(file).slice
    assert identity == read_slice(file).header
    assert (identity.rows, identity.columns) == (40, 48)
    assert identity.pixel_spacing == (0.5, 0.4)
    assert identity.position == (-125, -120, 12.5)
    assert identity.position_mm == 12.5


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"SliceLocation": "-7.25", "InstanceNumber": 3}, -7.25),
        ({"InstanceNumber": 3}, 3.0),
        ({}, 0.0),
    ],
)
def test_slices_without_position_are_ordered(elements: dict[str, Any], expected: float) -> None:
    missing = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    identity = read(np.int16(TRUE_HU + 1024), **missing, **elements).header
    assert identity.position_mm == expected
    assert identity.pixel_spacing is None


@pytest.mark.parametrize(
    ("spacing", "columns", "edge"),
    [
        (["0.5", "0.4"], 40, 20.0),
        (["0.5", "0.4"], 60, 24.0),
        (["0", "0.4"], 40, None),
        (["-1", "-1"], 40, None),
        (["30", "30"], 40, None),
        (None, 40, None),
    ],
)
def test_the_edge_is_that_of_the_square_around_the_slice(spacing, columns, edge) -> None:
    hu = np.resize(np.int16(TRUE_HU + 1024), (40, columns))
    found = read(hu, PixelSpacing=spacing).header.edge_mm
    assert math.isnan(found) if edge is None else found == pytest.approx(edge)


@pytest.mark.parametrize("flip", [1, -1])
def test_position_grows_towards_the_head_along_a_tilted_normal(flip: int) -> None:
    tilt = np.radians(20)
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    orientation = [1, 0, 0, 0, flip * np.cos(tilt), flip * np.sin(tilt)]
    for distance in (-30.0, 0.0, 44.5):
        identity = read(
            np.int16(TRUE_HU + 1024),
            ImageOrientationPatient=[f"{value:.6f}" for value in orientation],
            ImagePositionPatient=[f"{value:.6f}" for value in distance * normal],
        ).header
        assert identity.position_mm == pytest.approx(distance, abs=1e-3)


@pytest.mark.parametrize("name", ["M\u00fcller-\u00c9", "\u5c71\u7530", "a\\b"])
def test_identifiers_beyond_ascii_are_kept(name: str) -> None:
    dataset = make_dataset(np.int16(TRUE_HU + 1024), SpecificCharacterSet="ISO_IR 192")
    dataset.add_new("PatientID", "LO", name.split("\\"))
    assert read_slice(saved(dataset)).header.patient_id == name


def test_a_file_stripped_of_identifiers_keeps_its_slice_id() -> None:
    dataset = make_dataset(
        np.int16(TRUE_HU + 1024), SOPInstanceUID="", PatientID="", StudyInstanceUID=None
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    identity = read_slice(saved(dataset)).header
    assert (identity.slice_id, identity.patient_id, identity.study_id) == ("1.2.3", "", "")


def test_a_rejection_can_be_pickled() -> None:
    rejection = pickle.loads(pickle.dumps(RejectedSlice("colour", "line\nbreak \x1b[1m")))
    assert (rejection.reason, rejection.detail) == ("colour", "line break [1m")
    assert str(rejection) == "colour: line break [1m"


@pytest.mark.parametrize("text", ["1_0", "\uff11", "\u0661", "0x10", "1 0", "1e", ".", "+", "1d2"])
def test_numbers_that_only_python_accepts_are_rejected(text: str) -> None:
    """GDCM reads 1_0 as 1, float() as 10."""
    dataset = make_dataset(np.int16(TRUE_HU + 1024))
    content = saved(dataset).getvalue()
    head = b"\x28\x00\x53\x10DS"  # Rescale Slope
    value = text.encode()
    value += b" " * (len(value) % 2)
    old = head + b"\x02\x001 "
    assert old in content
    changed = content.replace(old, head + len(value).to_bytes(2, "little") + value)
    with pytest.raises(RejectedSlice, match="bad_header: RescaleSlope has a value that is not"):
        read_slice(io.BytesIO(changed))


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_numbers_out_of_range_are_rejected(text: str) -> None:
    with pytest.raises(RejectedSlice, match="bad_header: RescaleIntercept has a number out of"):
        read(np.int16(TRUE_HU + 1024), RescaleIntercept=text)


@pytest.mark.parametrize(
    ("whole", "damaged", "expected"),
    [
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00SS", "Rows has the VR SS"),
        (b"\x28\x00\x52\x10DS", b"\x28\x00\x52\x10UI", "RescaleIntercept has the VR UI"),
        (b"\x28\x00\x52\x10DS", b"\x28\x00\x52\x10LO", "RescaleIntercept has the VR LO"),
    ],
)
def test_a_value_of_another_vr_is_rejected(whole: bytes, damaged: bytes, expected: str) -> None:
    """GDCM ends the process on some of them."""
    content = saved(make_dataset(np.int16(TRUE_HU + 1024))).getvalue()
    assert whole in content
    with pytest.raises(RejectedSlice) as caught:
        read_slice(io.BytesIO(content.replace(whole, damaged)))
    assert str(caught.value).startswith(f"bad_header: {expected}; `gdcmconv --implicit")


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(1)", " =1"])
def test_an_identifier_that_a_spreadsheet_would_run_is_rejected(keyword: str, text: str) -> None:
    """It would be in `index.csv`, where quotes do not help."""
    with pytest.raises(RejectedSlice, match=f"bad_identifier: {keyword} begins like a spreadsheet"):
        read(np.int16(TRUE_HU + 1024), **{keyword: text})


def test_a_patient_id_may_be_anything_as_only_its_hash_is_written() -> None:
    assert read(np.int16(TRUE_HU + 1024), PatientID="=1").header.patient_id == "=1"

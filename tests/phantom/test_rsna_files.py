"""Phantom data sets on disk: layout, reproducibility, labels, and the quirks of real files."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.phantom.cohort import study_count
from tfrecords_tools.phantom.dicom_file import phantom_id
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.rsna_files import SynthError, synth
from tfrecords_tools.phantom.scanner.storage import RARE
from tfrecords_tools.phantom.study import make_study
from tfrecords_tools.phantom.visibility import MINIMUM_AREA
from tfrecords_tools.tables.label_csv import read_labels

PATIENTS, SLICES, SIZE = 24, 6, 64
STUDIES = [(patient, study) for patient in range(PATIENTS) for study in range(study_count(patient))]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "set"
    summary = synth(folder, patients=PATIENTS, slices=SLICES, size=SIZE, seed=5, workers=2)
    return folder, summary


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def dicom_files(folder: Path) -> list[Path]:
    return sorted((folder / "stage_2_train").iterdir())


def test_the_layout_equals_that_of_the_rsna_set(data):
    folder, summary = data
    labels = read_labels(folder / "stage_2_train.csv")
    assert summary.directory == folder
    assert summary.slices == len(STUDIES) * SLICES == len(labels)
    assert {path.stem for path in dicom_files(folder)} == set(labels.index)
    assert {path.stem for path in (folder / "masks").iterdir()} == set(labels.index)
    assert labels.sum().to_dict() == summary.positives


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(data, tmp_path):
    folder, _ = data
    synth(tmp_path / "again", patients=PATIENTS, slices=SLICES, size=SIZE, seed=5, workers=1)
    assert files(folder) == files(tmp_path / "again")


def test_more_patients_leave_the_earlier_ones_unchanged(data, tmp_path):
    folder, _ = data
    synth(tmp_path / "few", patients=3, slices=SLICES, size=SIZE, seed=5, workers=1)
    many = {path.name: path.read_bytes() for path in dicom_files(folder)}
    for path in dicom_files(tmp_path / "few"):
        assert path.read_bytes() == many[path.name]


def test_the_reader_returns_exactly_the_hu_of_the_phantom(data):
    folder, _ = data
    rejected = 0
    for patient, which in STUDIES:
        study = make_study(patient, study=which, slices=SLICES, size=SIZE, seed=5)
        for number in range(SLICES):
            slice_id = phantom_id("slice", 5, patient, which, number)
            try:
                ct = read_slice(folder / "stage_2_train" / f"{slice_id}.dcm")
            except RejectedSlice:
                rejected += 1
                continue
            np.testing.assert_array_equal(ct.hu, study.hu[number])
            np.testing.assert_allclose(
                ct.header.position, study.positions[number], rtol=0, atol=1e-5
            )
    assert rejected == 1  # the truncated one


def test_files_without_wrapped_values_agree_with_pydicoms_rescale(data):
    folder, _ = data
    compared = 0
    for path in dicom_files(folder):
        dataset = pydicom.dcmread(path)
        wrapped = dataset.BitsStored == 12 and float(dataset.RescaleIntercept) > -100
        try:
            ct = read_slice(path)
        except RejectedSlice:
            continue
        if not (wrapped and dataset.PixelRepresentation == 0):
            expected = dataset.pixel_array * 1.0 + float(dataset.RescaleIntercept)
            np.testing.assert_array_equal(ct.hu, expected)
            compared += 1
    assert compared > 100


def test_one_file_without_hemorrhage_is_truncated(data):
    folder, _ = data
    rejected = []
    for path in dicom_files(folder):
        try:
            read_slice(path)
        except RejectedSlice as rejection:
            rejected.append((path.stem, rejection.reason))
    assert [reason for _, reason in rejected] == ["truncated_pixels"]
    assert not read_labels(folder / "stage_2_train.csv").loc[rejected[0][0]].any()


def test_the_rare_ways_of_storing_occur(data):
    folder, _ = data
    seen = set()
    for path in dicom_files(folder):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        seen.add(
            (dataset.BitsStored, dataset.PixelRepresentation == 1, float(dataset.RescaleIntercept))
        )
    assert {(x.bits, x.signed, float(x.intercept)) for x in RARE} <= seen
    assert {(12, False, -1024.0), (16, True, -1024.0)} <= seen


def test_the_files_have_exactly_the_elements_of_the_real_ones(data):
    folder, _ = data
    dataset = pydicom.dcmread(dicom_files(folder)[0])
    assert len(dataset) == 22
    assert "InstanceNumber" not in dataset
    assert "SOPClassUID" not in dataset
    assert dataset.SOPInstanceUID.startswith("ID_")
    assert dataset.file_meta.MediaStorageSOPInstanceUID != dataset.SOPInstanceUID


def test_some_slices_are_not_square_and_some_share_a_position(data):
    folder, _ = data
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in dicom_files(folder)]
    assert any(header.Rows != header.Columns for header in headers)
    places = [(h.SeriesInstanceUID, tuple(h.ImagePositionPatient)) for h in headers]
    assert len(set(places)) < len(places)


def test_patients_are_counted_by_id_and_some_have_two_studies(data):
    folder, summary = data
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in dicom_files(folder)]
    assert len({header.PatientID for header in headers}) == summary.patients == PATIENTS
    assert len({header.StudyInstanceUID for header in headers}) == len(STUDIES) > PATIENTS


def test_labels_agree_with_the_masks_above_a_minimum_area(data):
    folder, _ = data
    labels = read_labels(folder / "stage_2_train.csv")
    for path in dicom_files(folder):
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        spacing = pydicom.dcmread(path, stop_before_pixels=True, force=True).PixelSpacing
        for bit, label in enumerate(SUBTYPES):
            area = ((mask >> bit) & 1).sum() * float(spacing[0]) * float(spacing[1])
            assert bool(labels.loc[path.stem, label]) == (area > 0)
            assert area == 0 or area >= MINIMUM_AREA * 0.999
        assert labels.loc[path.stem, "any"] == bool(mask.any())


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SynthError, match="is not an empty folder; give a new one"):
        synth(tmp_path, patients=1, slices=1, size=32)


def test_no_warning_is_printed(tmp_path):
    code = (
        "from pathlib import Path; from tfrecords_tools.phantom.rsna_files import synth\n"
        f"if __name__ == '__main__': synth(Path({str(tmp_path / 'set')!r}), patients=1,"
        " slices=2, size=32, workers=1)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "default", script], capture_output=True, text=True, check=True
    )
    assert "Warning" not in done.stderr


def test_tissues_change_no_other_file(tmp_path):
    plain, told = tmp_path / "plain", tmp_path / "told"
    for folder in (plain, told):
        synth(folder, patients=1, slices=3, size=48, workers=1, tissues=folder is told)
    files = [path.relative_to(plain) for path in plain.rglob("*") if path.is_file()]
    assert all((plain / path).read_bytes() == (told / path).read_bytes() for path in files)
    names = pd.read_csv(told / "tissues" / "classes.csv")
    assert list(names["tissue"]) == list(CLASSES)
    for path in (told / "stage_2_train").iterdir():
        classes = cv2.imread(str(told / "tissues" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert classes.shape == (48, 48) and set(np.unique(classes)) <= set(names["value"])
    assert not (plain / "tissues").exists()

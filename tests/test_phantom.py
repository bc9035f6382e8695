"""Phantom studies are what they say: HU, masks, labels, geometry, and the quirks of real files."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from tfrecords_tools.dicom import RefusedSlice, read_slice
from tfrecords_tools.labels import BLEEDINGS, LABELS, read_labels
from tfrecords_tools.phantom import make_study, synth
from tfrecords_tools.phantom.files import SynthError
from tfrecords_tools.phantom.lesions import company_of
from tfrecords_tools.phantom.scanner import RARE
from tfrecords_tools.phantom.study import MINIMUM_AREA

PATIENTS, SLICES, SIZE = 24, 6, 64


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


def test_the_layout_is_that_of_the_data_set(data):
    folder, summary = data
    labels = read_labels(folder / "stage_2_train.csv")
    assert summary.slices == PATIENTS * SLICES == len(labels)
    assert {path.stem for path in dicom_files(folder)} == set(labels.index)
    assert {path.stem for path in (folder / "masks").iterdir()} == set(labels.index)
    assert labels.sum().to_dict() == summary.positives


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(data, tmp_path):
    folder, _ = data
    synth(tmp_path / "again", patients=PATIENTS, slices=SLICES, size=SIZE, seed=5, workers=1)
    assert files(folder) == files(tmp_path / "again")


def test_another_seed_gives_other_heads(data):
    assert not np.array_equal(
        make_study(0, slices=2, size=SIZE, seed=5).hu, make_study(0, slices=2, size=SIZE, seed=6).hu
    )


def test_more_patients_leave_the_earlier_ones_as_they_are(data, tmp_path):
    folder, _ = data
    synth(tmp_path / "few", patients=3, slices=SLICES, size=SIZE, seed=5, workers=1)
    ids = {path.name for path in dicom_files(tmp_path / "few")}
    assert ids <= {path.name for path in dicom_files(folder)}


def test_the_reader_gets_exactly_the_phantoms_own_hu(data):
    folder, _ = data
    by_position = {}
    for path in dicom_files(folder):
        try:
            ct = read_slice(path)
        except RefusedSlice:
            continue
        by_position[path.stem] = ct
    found = 0
    from tfrecords_tools.phantom.files import phantom_id

    for patient in range(PATIENTS):
        study = make_study(patient, slices=SLICES, size=SIZE, seed=5)
        for number in range(SLICES):
            ct = by_position.get(phantom_id("slice", 5, patient, number))
            if ct is not None:
                np.testing.assert_array_equal(ct.hu, study.hu[number])
                found += 1
    assert found == PATIENTS * SLICES - 1  # all but the truncated one


def test_plain_files_agree_with_pydicoms_own_rescale(data):
    folder, _ = data
    compared = 0
    for path in dicom_files(folder):
        dataset = pydicom.dcmread(path)
        wrapped = dataset.BitsStored == 12 and float(dataset.RescaleIntercept) > -100
        try:
            ct = read_slice(path)
        except RefusedSlice:
            continue
        if not (wrapped and dataset.PixelRepresentation == 0):
            expected = dataset.pixel_array * 1.0 + float(dataset.RescaleIntercept)
            np.testing.assert_array_equal(ct.hu, expected)
            compared += 1
    assert compared > 100


def test_one_file_is_truncated_and_without_bleeding(data):
    folder, _ = data
    refused = []
    for path in dicom_files(folder):
        try:
            read_slice(path)
        except RefusedSlice as refusal:
            refused.append((path.stem, refusal.reason))
    assert [reason for _, reason in refused] == ["truncated_pixels"]
    assert not read_labels(folder / "stage_2_train.csv").loc[refused[0][0]].any()


def test_the_rare_ways_of_storing_are_there(data):
    folder, _ = data
    seen = set()
    for path in dicom_files(folder):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        seen.add(
            (dataset.BitsStored, dataset.PixelRepresentation == 1, float(dataset.RescaleIntercept))
        )
    assert {(x.bits, x.signed, float(x.intercept)) for x in RARE} <= seen
    assert {(12, False, -1024.0), (16, True, -1024.0)} <= seen


def test_the_files_have_the_elements_of_the_real_ones_and_no_others(data):
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


def test_two_patients_share_their_identity_when_they_are_one(data):
    folder, _ = data
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in dicom_files(folder)]
    patients = {header.PatientID for header in headers}
    studies = {header.StudyInstanceUID for header in headers}
    assert len(studies) == PATIENTS
    assert len(patients) < len(studies)


def test_labels_are_the_masks_from_a_minimum_area_on(data):
    folder, _ = data
    labels = read_labels(folder / "stage_2_train.csv")
    for path in dicom_files(folder):
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        spacing = pydicom.dcmread(path, stop_before_pixels=True, force=True).PixelSpacing
        for bit, label in enumerate(BLEEDINGS):
            area = ((mask >> bit) & 1).sum() * float(spacing[0]) * float(spacing[1])
            assert bool(labels.loc[path.stem, label]) == (area > 0)
            assert area == 0 or area >= MINIMUM_AREA * 0.999
        assert labels.loc[path.stem, "any"] == bool(mask.any())


def test_bleeding_lies_inside_the_skull_and_is_as_dense_as_blood():
    for kind in BLEEDINGS:
        patient = next(i for i in range(1000) if company_of(i, 0) == (kind,))
        study = make_study(patient, slices=8, size=128)
        bit = (study.masks >> BLEEDINGS.index(kind)) & 1
        assert bit.any(), kind
        assert 35 < np.median(study.hu[bit == 1]) < 90, kind


def test_an_epidural_is_thicker_for_its_reach_than_a_subdural():
    def compactness(kind: str) -> float:
        """Thickness over length: the axes of inertia of the largest slice of the bleeding."""
        found = []
        for patient in range(400):
            if company_of(patient, 0) == (kind,):
                masks = make_study(patient, slices=8, size=96).masks > 0
                largest = masks[masks.sum(axis=(1, 2)).argmax()]
                if largest.sum() > 30:
                    short, long = np.linalg.eigvalsh(np.cov(np.argwhere(largest).T))
                    found.append(np.sqrt(short / long))
            if len(found) == 4:
                break
        return float(np.mean(found))

    assert compactness("epidural") > compactness("subdural")


def test_layered_blood_lies_behind_the_fluid_above_it():
    patient = next(i for i in range(1000) if company_of(i, 0) == ("intraventricular",))
    study = make_study(patient, slices=16, size=128)
    number = study.masks.sum(axis=(1, 2)).argmax()
    rows = np.argwhere(study.masks[number])[:, 0]
    assert rows.mean() > study.masks.shape[1] * 0.4  # image rows run from front to back


def test_prevalences_come_near_those_of_the_data_set():
    # facts of stage 2: .004, .048, .035, .047, .063, .143
    labels = np.concatenate([make_study(i, slices=8, size=48).labels for i in range(96)])
    shares = dict(zip(LABELS, labels.mean(axis=0), strict=True))
    bounds = {
        "epidural": (0.001, 0.02),
        "intraparenchymal": (0.015, 0.08),
        "intraventricular": (0.015, 0.07),
        "subarachnoid": (0.02, 0.09),
        "subdural": (0.03, 0.12),
        "any": (0.09, 0.22),
    }
    for label, (low, high) in bounds.items():
        assert low <= shares[label] <= high, (label, shares[label])


def test_every_kind_is_in_every_set_of_a_few_hundred_patients():
    for seed in range(20):
        kinds = [kind for patient in range(320) for kind in company_of(patient, seed)]
        assert all(kinds.count(kind) >= 6 for kind in BLEEDINGS), seed


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SynthError, match="is not an empty folder; give a new one"):
        synth(tmp_path, patients=1, slices=1, size=32)


def test_no_warning_reaches_the_user(tmp_path):
    code = (
        "from pathlib import Path; from tfrecords_tools.phantom import synth\n"
        f"if __name__ == '__main__': synth(Path({str(tmp_path / 'set')!r}), patients=1,"
        " slices=2, size=32, workers=1)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "default", script], capture_output=True, text=True, check=True
    )
    assert "Warning" not in done.stderr

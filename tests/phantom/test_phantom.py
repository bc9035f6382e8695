"""Phantom studies are what they say: HU, masks, labels, geometry, and the quirks of real files."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest

from benchmarks.phantom_groups import GROUPS
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.refusal import RefusedSlice
from tfrecords_tools.phantom.cohort import study_count, subtypes_of
from tfrecords_tools.phantom.dicom_file import phantom_id
from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Points, Push
from tfrecords_tools.phantom.head.patient import sample_head
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.rsna_files import SynthError, synth
from tfrecords_tools.phantom.sampling import Ablation, sample_study
from tfrecords_tools.phantom.scanner.storage import RARE
from tfrecords_tools.phantom.study import MINIMUM_AREA, make_study
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


def test_the_layout_is_that_of_the_data_set(data):
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


def test_another_seed_gives_other_heads(data):
    assert not np.array_equal(
        make_study(0, slices=2, size=SIZE, seed=5).hu, make_study(0, slices=2, size=SIZE, seed=6).hu
    )


def test_more_patients_leave_the_earlier_ones_as_they_are(data, tmp_path):
    folder, _ = data
    synth(tmp_path / "few", patients=3, slices=SLICES, size=SIZE, seed=5, workers=1)
    many = {path.name: path.read_bytes() for path in dicom_files(folder)}
    for path in dicom_files(tmp_path / "few"):
        assert path.read_bytes() == many[path.name]


def test_the_reader_gets_exactly_the_phantoms_own_hu(data):
    folder, _ = data
    refused = 0
    for patient, which in STUDIES:
        study = make_study(patient, study=which, slices=SLICES, size=SIZE, seed=5)
        for number in range(SLICES):
            slice_id = phantom_id("slice", 5, patient, which, number)
            try:
                ct = read_slice(folder / "stage_2_train" / f"{slice_id}.dcm")
            except RefusedSlice:
                refused += 1
                continue
            np.testing.assert_array_equal(ct.hu, study.hu[number])
            np.testing.assert_allclose(
                ct.header.position, study.positions[number], rtol=0, atol=1e-5
            )
    assert refused == 1  # the truncated one


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


def test_patients_are_counted_by_their_identity_and_some_have_two_studies(data):
    folder, summary = data
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in dicom_files(folder)]
    assert len({header.PatientID for header in headers}) == summary.patients == PATIENTS
    assert len({header.StudyInstanceUID for header in headers}) == len(STUDIES) > PATIENTS


def test_labels_are_the_masks_from_a_minimum_area_on(data):
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


def test_bleeding_is_as_dense_as_blood_of_its_age():
    """Mostly fresh, 50 to 90 HU; some is old and on its way to CSF."""
    for kind in SUBTYPES:
        patients = [i for i in range(1000) if subtypes_of(i, 0) == (kind,)][:7]
        medians = []
        for patient in patients:
            study = make_study(patient, slices=8, size=96)
            found = (study.masks >> SUBTYPES.index(kind)) & 1
            if found.any():
                medians.append(float(np.median(study.hu[found == 1])))
        assert len(medians) >= 4, kind
        # Beside bone, partial volume and beam hardening add some HU.
        assert min(medians) > 8 and max(medians) < 110, (kind, medians)
        assert 50 < np.median(medians) < 90, (kind, medians)


def test_an_epidural_is_thicker_for_its_reach_than_a_subdural():
    def compactness(kind: str) -> float:
        """Thickness over length: the axes of inertia of the largest slice of the bleeding."""
        found = []
        for patient in range(400):
            if subtypes_of(patient, 0) == (kind,):
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
    patient = next(i for i in range(1000) if subtypes_of(i, 0) == ("intraventricular",))
    study = make_study(patient, slices=16, size=128)
    number = study.masks.sum(axis=(1, 2)).argmax()
    rows = np.argwhere(study.masks[number])[:, 0]
    assert rows.mean() > study.masks.shape[1] * 0.4  # image rows run from front to back


@pytest.mark.slow
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


@pytest.mark.parametrize(("patients", "fewest"), [(30, 1), (320, 12)])
def test_every_kind_is_in_every_set(patients, fewest):
    for seed in range(50):
        kinds = [kind for patient in range(patients) for kind in subtypes_of(patient, seed)]
        assert all(kinds.count(kind) >= fewest for kind in SUBTYPES), seed


def test_look_alikes_are_no_bleeding():
    """Healthy heads hold spots as dense as blood and denser, and no mask calls them one."""
    healthy = [patient for patient in range(40) if not subtypes_of(patient, 0)][:6]
    spots = 0
    for patient in healthy:
        study = make_study(patient, slices=12, size=128)
        assert not study.masks.any() and not study.labels.any()
        # The middle of the head, away from the skull: plexus, pineal, basal ganglia, falx.
        middle = study.hu[4:9, 50:80, 50:80]
        spots += int((middle > 90).sum())
    assert spots > 0


@pytest.fixture(scope="module")
def whole_studies():
    """A few patients, one of them bleeding, with all that belongs to them."""
    bleeds = next(i for i in range(40) if subtypes_of(i, 0) == ("subdural",))
    return {i: make_study(i, slices=4, size=48) for i in (0, 1, 2, bleeds)}


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_left_out_changes_the_picture_and_not_the_cohort(group, whole_studies):
    changed = 0
    for patient, whole in whole_studies.items():
        part = make_study(patient, slices=4, size=48, ablation=GROUPS[group])
        assert part.scan.storage == whole.scan.storage
        assert part.hu.shape == whole.hu.shape
        changed += not np.array_equal(part.hu, whole.hu)
    assert changed > 0


def test_without_look_alikes_a_healthy_brain_holds_nothing_dense():
    patient = next(
        i for i in range(80) if not subtypes_of(i, 0) and is_calm(i) and has_dense_spot(i)
    )
    assert not has_dense_spot(patient, GROUPS["look-alikes"])


def is_calm(patient: int) -> bool:
    """Whether no noise of the scan comes near the density of calcium."""
    return sample_study(patient, study=0, slices=12, seed=0).scan.noise < 3


def has_dense_spot(patient: int, ablation: Ablation | None = None) -> bool:
    """Whether something denser than blood lies deep in the brain."""
    heights = sample_study(patient, study=0, slices=12, seed=0).heights
    above_base = (heights > 5) & (heights < 45)
    study = make_study(patient, slices=12, size=96, ablation=ablation)
    return bool((study.hu[above_base, 40:64, 36:60] > 110).any())


def test_a_mass_pushes_the_ventricles_away():
    head = sample_head(np.random.default_rng(0))
    size = 128
    origin, step = np.array([-64.0, -64.0, 14.0]), np.eye(3)
    none = np.zeros((size, size), np.float32)
    points = Points(origin, step[1], step[0], (size, size), 2.5, none + 1, none, none)
    push = Push((40.0, 0.0, 14.0), (-8.0, 0.0, 0.0), 42.0)
    columns = []
    for moved in (points, replace(points, pushes=(push,))):
        ventricles = anatomy.render(head, points, moved, 0.0).brain.ventricles
        columns.append(np.average(np.arange(size), weights=ventricles.sum(axis=0)))
    assert columns[1] < columns[0] - 2  # away from the patient's left, mm


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SynthError, match="is not an empty folder; give a new one"):
        synth(tmp_path, patients=1, slices=1, size=32)


def test_no_warning_reaches_the_user(tmp_path):
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


def test_tissues_are_told_for_every_pixel():
    """Where a class stands, the image has its HU, and blood stands where the masks have it."""
    bleeding = next(i for i in range(40) if subtypes_of(i, 0) == ("intraparenchymal",))
    study = make_study(bleeding, slices=8, size=128, with_tissues=True)
    assert study.tissues is not None and study.tissues.max() < len(CLASSES)
    blood = study.tissues == CLASSES.index("blood")
    assert blood[study.masks > 0].mean() > 0.95
    typical = {name: np.median(study.hu[study.tissues == CLASSES.index(name)]) for name in CLASSES}
    assert typical["air"] < -900
    assert -130 < typical["fat"] < -40
    assert typical["bone"] > 300
    assert typical["ventricles"] < typical["white matter"] - 5
    assert typical["white matter"] < typical["grey matter"] < typical["blood"]


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

"""Hemorrhages set into a head that is known only by its HU.

A phantom study serves as the real head, since its true tissue is known.
"""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import ndimage

from benchmarks.real_head.implant import SMALLEST_AREA, implants, survey
from benchmarks.real_head.series import SeriesError, as_series, intracranial, read_series
from benchmarks.real_head.tissue_maps import tissues
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.phantom.cohort import study_count, subtypes_of
from tfrecords_tools.phantom.dicom_file import phantom_id
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.phantom.study import make_study
from tfrecords_tools.tables.label_csv import read_labels

PATIENT, SLICES = 4, 10
OLD_HEAD = 192  # a patient without hemorrhage, whose ventricles are wide open
PROGRAM = "benchmarks.implanted"
BRAIN = [CLASSES.index(name) for name in CLASSES[CLASSES.index("dura and sinuses") :]]


@pytest.fixture(scope="module")
def study():
    assert not subtypes_of(OLD_HEAD, 0)
    return make_study(OLD_HEAD, slices=14, size=192, with_tissues=True)


@pytest.fixture(scope="module")
def ground(study):
    return survey(as_series(study))


def dice(measured: np.ndarray, true: np.ndarray) -> float:
    return 2 * (measured & true).sum() / (measured.sum() + true.sum())


def test_the_space_within_the_skull_is_found(study):
    measured = intracranial(as_series(study))
    true = np.isin(study.tissues, BRAIN)
    assert dice(measured, true) > 0.93


@pytest.mark.slow
def test_ventricles_are_found(study, ground):
    measured = np.stack([tissue.brain.ventricles > 0.5 for _, tissue in ground.layers])
    true = study.tissues == CLASSES.index("ventricles")
    assert dice(measured, true) > 0.8


def test_an_old_infarct_beside_the_ventricles_is_not_csf(study, ground):
    """Blood in an infarct is neither intraventricular nor subarachnoid."""
    series = as_series(study)
    ventricles = study.tissues == CLASSES.index("ventricles")
    number = int(ventricles.sum(axis=(1, 2)).argmax())
    away = ndimage.distance_transform_edt(~ventricles[number]) * study.pixel
    white = study.tissues[number] == CLASSES.index("white matter")
    infarct = white & (away > 4) & (away < 14)
    csf, brain = (np.median(study.hu[number][where]) for where in (ventricles[number], white))
    hu = study.hu.copy()
    hu[number][infarct] -= 0.55 * (brain - csf)
    assert infarct.sum() * study.pixel**2 > 500
    measured = list(tissues(replace(series, hu=hu), intracranial(series), ground.fit))[number][
        1
    ].brain
    assert (measured.ventricles > 0.5)[infarct].mean() < 0.05
    assert (measured.sulci > 0.5)[infarct].mean() < 0.1
    assert dice(measured.ventricles > 0.5, ventricles[number]) > 0.8


def test_the_pose_of_the_head_is_found(study, ground):
    """The origin of the fitted phantom head lies where that of the study does."""
    assert ground.fit.error < 4
    scan = study.scan
    there = ground.fit.to_scanner(np.zeros(3))
    np.testing.assert_allclose(there[:2], scan.shift, atol=8)
    assert abs(there[2]) < 12


@pytest.mark.slow
def test_hemorrhages_keep_the_noise_and_change_nothing_else(study, ground):
    kept = []
    white = study.tissues == CLASSES.index("white matter")
    for implant in implants(ground, places=60):
        before = study.hu[implant.number]
        around = (before - implant.hu)[implant.share == 0]
        darker = 12 if implant.subtype == "intraparenchymal" else 0  # because of its rim of oedema
        assert around.min() > -1e-3 and around.max() <= darker + 1e-3
        core = ndimage.binary_erosion(implant.share > 0.99, iterations=4)  # away from its edges
        core &= ndimage.binary_erosion(white[implant.number], iterations=2)  # no pattern but noise
        if core.sum() < 30 or implant.subtype != "intraparenchymal":
            continue
        rough_before, rough_after = (
            (hu - ndimage.gaussian_filter(hu, 1.5))[core] for hu in (before, implant.hu)
        )
        assert np.corrcoef(rough_before, rough_after)[0, 1] > 0.8
        kept.append(rough_after.std() / rough_before.std())
    assert len(kept) > 1 and np.median(kept) == pytest.approx(1, abs=0.15)


def test_subtypes_alternate_are_large_enough_and_reproducible(ground):
    first, again = (list(implants(ground, places=6)) for _ in range(2))
    assert [implant.subtype for implant in first] == [*SUBTYPES, SUBTYPES[0]]
    for implant, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(implant.hu, other.hu)
        assert implant.mask.sum() * ground.series.pixel**2 >= SMALLEST_AREA


def test_hemorrhages_lie_where_their_subtype_occurs(study, ground):
    ventricles = study.tissues == CLASSES.index("ventricles")
    white = study.tissues == CLASSES.index("white matter")
    for implant in implants(ground, places=10, seed=3):
        depth = ndimage.distance_transform_edt(np.isin(study.tissues[implant.number], BRAIN))
        depth = np.median(depth[implant.mask]) * study.pixel
        if implant.subtype == "epidural":  # subdurals also lie along falx and tentorium
            assert depth < 15
        if implant.subtype == "intraventricular":
            assert ventricles[implant.number][implant.mask].mean() > 0.5
        if implant.subtype == "subarachnoid":
            assert white[implant.number][implant.mask].mean() < 0.5


@pytest.mark.slow
def test_the_program_writes_a_data_set_in_rsna_layout(tmp_path):
    assert study_count(PATIENT) == 1
    source, head, out = tmp_path / "synth", tmp_path / "head", tmp_path / "out"
    synth(source, patients=PATIENT + 1, slices=SLICES, size=128)
    head.mkdir()
    for number in range(SLICES):
        name = phantom_id("slice", 0, PATIENT, 0, number) + ".dcm"
        (source / "stage_2_train" / name).rename(head / name)
    command = [sys.executable, "-m", PROGRAM, head, out, "--places", "5"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    labels = read_labels(out / "stage_2_train.csv")
    assert len(labels) == SLICES + 5
    assert labels[list(LABELS)].sum().tolist() == [1, 1, 1, 1, 1, 5]
    before = {read_slice(path).hu.tobytes() for path in head.iterdir()}
    for slice_id, row in labels[list(LABELS)].iterrows():
        mask = cv2.imread(str(out / "masks" / f"{slice_id}.png"), cv2.IMREAD_UNCHANGED)
        bits = np.bitwise_or.reduce(mask, axis=None) >> np.arange(len(SUBTYPES)) & 1
        assert bits.tolist() == row[list(SUBTYPES)].tolist()
        written = read_slice(out / "stage_2_train" / f"{slice_id}.dcm").hu
        assert (written.tobytes() in before) == (not row["any"])


def test_a_series_without_a_skull_is_refused(study):
    series = as_series(study)
    with pytest.raises(SeriesError, match="closed vault"):
        intracranial(replace(series, hu=np.full_like(series.hu, -1000)))


def test_a_folder_that_holds_no_series_is_refused(tmp_path):
    with pytest.raises(SeriesError, match="0 CT slices"):
        read_series(tmp_path)


@pytest.mark.slow
def test_a_real_head_can_be_measured(realdata):
    """Its skull fits a phantom's to a few mm, and each subtype finds a place."""
    real = survey(read_series(realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"))
    assert real.fit.error < 6
    assert [implant.subtype for implant in implants(real, places=5)] == list(SUBTYPES)

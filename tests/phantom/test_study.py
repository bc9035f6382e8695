"""Phantom studies: HU, masks, tissues, and the effect of ablations."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from benchmarks.phantom_groups import GROUPS
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.extra_axial import Epidural, Subdural
from tfrecords_tools.phantom.head.geometry import Points, Push
from tfrecords_tools.phantom.head.lesion_sampling import sample_lesions
from tfrecords_tools.phantom.head.patient import sample_head
from tfrecords_tools.phantom.head.story import sample_story
from tfrecords_tools.phantom.head.tissues import CLASSES
from tfrecords_tools.phantom.sampling import Ablation, sample_study
from tfrecords_tools.phantom.study import make_study

PATIENTS, SLICES, SIZE = 24, 6, 64


def test_another_seed_gives_other_heads():
    assert not np.array_equal(
        make_study(0, slices=2, size=SIZE, seed=5).hu, make_study(0, slices=2, size=SIZE, seed=6).hu
    )


@pytest.mark.parametrize("count", [4, pytest.param(7, marks=pytest.mark.slow)])
def test_hemorrhages_are_as_dense_as_blood_of_their_age(count):
    """Usually fresh, 50 to 90 HU, less if it shares the slice; some is old and approaches CSF."""
    for kind in SUBTYPES:
        patients = [i for i in range(1000) if subtypes_of(i, 0) == (kind,)][: 3 * count]
        medians = []
        for patient in patients:
            study = make_study(patient, slices=8, size=128)
            mask = (study.masks >> SUBTYPES.index(kind)) & 1
            if mask.sum() > 140:  # thin layers contain some bone at this size of pixels
                medians.append(float(np.median(study.hu[mask == 1])))
        assert medians, kind
        # Beside bone, partial volume and beam hardening add some HU.
        assert min(medians) > 8 and max(medians) < 110, (kind, medians)
        assert 42 < np.median(medians) < 90, (kind, medians)


def test_an_epidural_is_thicker_for_its_length_than_a_subdural():
    def compactness(kind: str) -> float:
        """Thickness over length, of hemorrhages thicker than a film."""
        rng, ratios = np.random.default_rng(0), []
        for _ in range(60):
            head = sample_head(rng)
            for x in sample_lesions(rng, head, (kind,), sample_story(rng, "trauma", head.age)):
                if isinstance(x, Epidural | Subdural) and x.thickness > 5:
                    ratios.append(x.thickness / x.extent)
        return float(np.mean(ratios))

    assert compactness("epidural") > 2 * compactness("subdural")


def test_sunk_blood_lies_behind_the_fluid():
    patients = (i for i in range(1000) if subtypes_of(i, 0) == ("intraventricular",))
    studies = (make_study(i, slices=16, size=96) for i in patients)
    bloody = list(islice((study for study in studies if study.masks.any()), 4))
    rows = np.concatenate([np.argwhere(study.masks)[:, 1] for study in bloody])
    assert rows.mean() > 96 * 0.45  # image rows run from front to back


@pytest.mark.slow
def test_prevalences_approximate_those_of_the_rsna_set():
    # Prevalences in stage 2: .004, .048, .035, .047, .063, .143
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


def test_findings_are_not_labelled_as_hemorrhage():
    """Heads without hemorrhage have spots as dense as blood and denser, but no masks."""
    healthy = [patient for patient in range(40) if not subtypes_of(patient, 0)][:6]
    spots = 0
    for patient in healthy:
        study = make_study(patient, slices=12, size=128)
        assert not study.masks.any() and not study.labels.any()
        # The middle of the head, far from the skull: plexus, pineal, basal ganglia, falx.
        middle = study.hu[4:9, 50:80, 50:80]
        spots += int((middle > 90).sum())
    assert spots > 0


@pytest.fixture(scope="module")
def whole_studies():
    """Complete studies of a few patients, two of them with a hemorrhage."""
    positive = next(i for i in range(40) if subtypes_of(i, 0) == ("subdural",))
    thin = next(i for i in range(400) if has_wide_film(i))
    return {i: make_study(i, slices=4, size=48) for i in (0, 1, 2, positive, thin)}


def has_wide_film(patient: int) -> bool:
    """Whether a thin subdural covers much of a hemisphere."""
    lesions = sample_study(patient, study=0, slices=4, seed=0).lesions
    return any(isinstance(x, Subdural) and x.thickness < 5 < x.extent / 10 for x in lesions)


@pytest.mark.parametrize("group", GROUPS)
def test_an_ablation_changes_the_image_and_not_the_cohort(group, whole_studies):
    changed = 0
    for patient, whole in whole_studies.items():
        part = make_study(patient, slices=4, size=48, ablation=GROUPS[group])
        assert part.scan.storage == whole.scan.storage
        assert part.hu.shape == whole.hu.shape
        changed += not np.array_equal(part.hu, whole.hu)
    assert changed > 0


def test_without_findings_a_healthy_brain_has_no_dense_spot():
    patient = next(
        i for i in range(300) if not subtypes_of(i, 0) and is_usual(i) and has_dense_spot(i)
    )
    assert not has_dense_spot(patient, GROUPS["look-alikes"])


def is_usual(patient: int) -> bool:
    """Whether noise stays far below the density of calcium, and the head lies in the middle."""
    scan = sample_study(patient, study=0, slices=12, seed=0).scan
    return scan.noise < 3 and max(np.abs([*scan.angles, *scan.shift])) < 15


def has_dense_spot(patient: int, ablation: Ablation | None = None) -> bool:
    """Whether anything denser than blood lies deep in the brain."""
    heights = sample_study(patient, study=0, slices=12, seed=0).heights
    above_base = (heights > 5) & (heights < 45)
    study = make_study(patient, slices=12, size=96, ablation=ablation)
    return bool((study.hu[above_base, 40:58, 36:60] > 110).any())


def test_a_mass_displaces_the_ventricles():
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


def test_every_pixel_has_a_tissue():
    """The pixels of a class have its HU, and blood agrees with the masks."""
    large = ("intraparenchymal", "intraventricular")
    patients = (i for i in range(400) if subtypes_of(i, 0) == large and is_plain(i))
    studies = (make_study(i, slices=8, size=128, with_tissues=True) for i in patients)
    few = list(islice((study for study in studies if np.count_nonzero(study.masks) > 300), 3))
    hu, masks = np.stack([x.hu for x in few]), np.stack([x.masks for x in few])
    tissues = np.stack([x.tissues for x in few if x.tissues is not None])
    assert tissues.shape == hu.shape and tissues.max() < len(CLASSES)
    # Blood is visible, and in the mask, where it takes less than half of a pixel.
    assert (tissues == CLASSES.index("blood"))[masks > 0].mean() > 0.8
    typical = {name: np.median(hu[tissues == number]) for number, name in enumerate(CLASSES)}
    assert typical["air"] < -900
    assert -130 < typical["fat"] < -40
    assert typical["bone"] > 300
    assert typical["ventricles"] < typical["white matter"] - 5
    assert typical["white matter"] < typical["grey matter"] < typical["blood"]


def is_plain(patient: int) -> bool:
    """Whether the scan of an adult has little noise and the usual contrast."""
    parameters = sample_study(patient, study=0, slices=8, seed=0)
    head = parameters.head
    return parameters.scan.noise < 3.5 and head.age > 25 and head.contrast > 7

"""What a blow or an operation does to a head, with and without hemorrhage."""

from dataclasses import replace

import numpy as np
import pytest

from tests.phantom.head.test_devices import layer
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.head import surfaces
from tfrecords_tools.phantom.head.geometry import as_point, direction
from tfrecords_tools.phantom.head.patient import Cap, Swelling, sample_head
from tfrecords_tools.phantom.head.shapes import Ellipsoid
from tfrecords_tools.phantom.head.story import sample_story
from tfrecords_tools.phantom.head.trauma import Fracture, Wound, paint_wound, sample_wound
from tfrecords_tools.phantom.sampling import sample_study

LEFT = as_point(direction(90, 10))


@pytest.fixture(scope="module")
def head():
    return replace(sample_head(np.random.default_rng(3)), swellings=(), dent=None)


@pytest.fixture(scope="module")
def studies():
    """By patient, with the subtypes of hemorrhage."""
    patients = range(240)
    return [(sample_study(i, study=0, slices=4, seed=0), subtypes_of(i, 0)) for i in patients]


@pytest.mark.parametrize("bleeds", [True, False])
def test_fractures_air_and_bruises_occur_with_and_without_hemorrhage(studies, bleeds):
    some = [study for study, subtypes in studies if bool(subtypes) == bleeds]
    assert sum(bool(x.head.swellings) for x in some) > 0.2 * len(some)
    assert sum(bool(x.wound.fractures) for x in some) > 0.03 * len(some)
    assert sum(bool(x.wound.air) for x in some) > 0.03 * len(some)
    assert sum(not x.head.swellings for x in some) > 0.2 * len(some)


def test_a_fifth_of_the_patients_has_a_bruise_and_no_hemorrhage(studies):
    bruised = [x for x, subtypes in studies if x.head.swellings and not subtypes]
    assert len(bruised) > 0.16 * len(studies)


def test_a_fracture_opens_bone_and_leaves_the_brain():
    points = layer(0.0)
    for gap, loss in ((3.0, 500.0), (0.5, 100.0)):
        bone, brain = np.full((2, *points.shape), 1000, np.float32)
        brain[:] = 35.0
        wound = Wound((Fracture((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 40.0, gap),))
        paint_wound(wound, bone, points)
        paint_wound(wound, brain, points)
        assert (brain == 35).all()
        assert 1000 - bone.min() > loss
        assert bone.min() < 900 or gap < 1
        assert (bone[:, :80] == 1000).all()  # beyond its reach


def test_a_dent_moves_both_tables_inward_and_a_bruise_moves_the_skin_outward(head):
    points = layer(15.0)
    cap = Cap(LEFT, 15.0, 6.0, 0.5)
    whole = surfaces.distances(head, points)
    dented = surfaces.distances(replace(head, dent=cap), points)
    bruised = surfaces.distances(replace(head, swellings=(Swelling(cap, 60.0),)), points)
    for table in ("bone", "brain"):
        moved = getattr(whole, table) - getattr(dented, table)
        assert 5 < moved.max() < 6.5
    assert 5 < (bruised.scalp - whole.scalp).max() < 6.5
    assert np.array_equal(bruised.brain, whole.brain)


def test_air_replaces_soft_tissue_and_not_bone():
    points = layer(0.0)
    hu = np.full(points.shape, 35.0, np.float32)
    hu[:, 128:] = 800.0
    paint_wound(Wound(air=(Ellipsoid((0.0, 0.0, 0.0), (5.0, 5.0, 5.0)),)), hu, points)
    assert hu[:, :128].min() < -900
    assert (hu[:, 128:] == 800).all()


def test_disease_breaks_no_bone(head):
    rng = np.random.default_rng(0)
    for _ in range(20):
        story = sample_story(rng, "disease", head.age)
        _, wound = sample_wound(rng, head, story, ("subdural",))
        assert wound == Wound()

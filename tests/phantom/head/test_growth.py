"""Heads of all ages."""

from dataclasses import replace

import numpy as np

from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.geometry import Points
from tfrecords_tools.phantom.head.patient import Head, sample_head


def heads(count: int = 600) -> list[Head]:
    return [sample_head(np.random.default_rng([8, number])) for number in range(count)]


def test_most_patients_are_adults_and_some_are_infants():
    ages = np.array([head.age for head in heads()])
    assert ages.min() >= 0 and ages.max() <= 90
    assert 0.04 < (ages < 2).mean() < 0.10
    assert 0.15 < (ages < 18).mean() < 0.25
    assert 45 < np.median(ages) < 60


def test_heads_grow_and_brains_shrink_with_age():
    newborn, adult, old = (
        [head for head in heads() if low <= head.age < high]
        for low, high in ((0, 0.5), (18, 30), (75, 91))
    )
    assert max(head.size[0] for head in newborn) < min(head.size[0] for head in adult)
    assert np.mean([head.atrophy for head in adult]) < 0.1
    assert np.mean([head.atrophy for head in old]) > 0.5


def test_infants_have_thin_bone_with_gaps_and_no_sinuses():
    infant, adult = (
        [head for head in heads() if low <= head.age < high] for low, high in ((0, 0.5), (18, 91))
    )
    thickness = [[head.skull * head.size[0] for head in group] for group in (infant, adult)]
    assert max(thickness[0]) < 3.5 < min(thickness[1])
    assert min(head.suture for head in infant) > 0 == max(head.suture for head in adult)
    assert max(head.pneumatization for head in infant) < 0.1


def test_brains_of_children_fill_the_skull():
    child, old = (
        [head for head in heads() if low <= head.age < high] for low, high in ((3, 18), (60, 91))
    )
    assert np.mean([head.fullness for head in child]) > 0.6
    assert np.mean([head.fullness for head in old]) < 0.25
    assert np.mean([head.ventricles for head in child]) < np.mean([x.ventricles for x in old]) / 2


def test_a_craniectomy_leaves_a_sunken_gap_in_the_vault():
    head = next(
        x for x in heads() if x.opening is not None and x.opening.thickness > 8 and x.age > 20
    )
    assert head.opening is not None
    toward = np.array(head.opening.toward)
    none = np.zeros((8, 40), np.float32)
    # A layer that holds the ray through the middle of the opening.
    step = np.eye(3)[2] - toward * toward[2]
    outward = Points(
        70 * toward, step / np.linalg.norm(step), toward, none.shape, 1.0, none, none, none
    )
    hu, whole = (
        anatomy.render(each, outward, outward, 0.0).hu
        for each in (head, replace(head, opening=None))
    )
    assert hu.max() < 150 < 500 < whole.max()
    assert (hu > -500).sum() < (whole > -500).sum()

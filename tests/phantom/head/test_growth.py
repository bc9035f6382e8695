"""Heads of all ages."""

import numpy as np

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

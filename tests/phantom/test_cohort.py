"""Subtypes of hemorrhage in a cohort."""

import pytest

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.phantom.cohort import subtypes_of


@pytest.mark.parametrize(("patients", "fewest"), [(30, 1), (320, 12)])
def test_every_subtype_occurs_in_every_set(patients, fewest):
    for seed in range(50):
        kinds = [kind for patient in range(patients) for kind in subtypes_of(patient, seed)]
        assert all(kinds.count(kind) >= fewest for kind in SUBTYPES), seed

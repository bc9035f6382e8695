"""Slices, studies and patients as cases, against pandas."""

import numpy as np
import pandas as pd

from ich_keras.scores.bootstrap import resample
from ich_keras.scores.cases import slice_cases
from tests.support.made_predictions import made_up, predictions_of


def two_studies_a_patient():
    given = made_up(studies=20)
    shuffled = np.random.default_rng(0).permutation(len(given.labels))
    study = shuffled // 20
    patient = np.char.add("p", (study // 2).astype(str))
    return predictions_of(
        given.labels[shuffled], given.probabilities[shuffled], study=study, patient=patient
    )


def test_a_study_and_a_patient_have_the_maximum_of_their_slices():
    given = two_studies_a_patient()
    slices = slice_cases(given, draws=20, seed=1)
    for unit, groups in (("study", given.study_id), ("patient", given.patient_key)):
        cases = slices.maximum(unit, groups)
        assert cases.unit == unit
        for values, maxima in (
            (given.labels, cases.labels),
            (given.probabilities, cases.probabilities),
        ):
            expected = pd.DataFrame(values).groupby(groups).max()
            np.testing.assert_array_equal(maxima, expected.to_numpy())
        patients = pd.Series(given.patient_key).groupby(groups).first()
        expected = resample(patients.to_numpy(), 20, seed=1)  # as if there had never been slices
        np.testing.assert_array_equal(cases.resampling.patient, expected.patient)
        np.testing.assert_array_equal(cases.resampling.weights, expected.weights)


def test_slices_stay_as_they_are():
    given = two_studies_a_patient()
    assert slice_cases(given).labels is given.labels
    assert np.array_equal(slice_cases(given).probabilities, given.probabilities)

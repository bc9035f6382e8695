"""Studies and patients, against pandas."""

import numpy as np
import pandas as pd

from ich_keras.scores.study_level import of_patients, of_slices, of_studies
from tests.support.made_predictions import made_up, predictions_of


def two_studies_a_patient():
    given = made_up(studies=20)
    shuffled = np.random.default_rng(0).permutation(len(given.labels))
    study = shuffled // 20
    patient = np.char.add("p", (study // 2).astype(str))
    return predictions_of(
        given.labels[shuffled], given.probabilities[shuffled], study=study, patient=patient
    )


def test_a_study_and_a_patient_bear_the_maximum_of_their_slices():
    given = two_studies_a_patient()
    for found, groups in (
        (of_studies(given), given.study_id),
        (of_patients(given), given.patient_key),
    ):
        for values, rows in (
            (given.labels, found.labels),
            (given.probabilities, found.probabilities),
        ):
            expected = pd.DataFrame(values).groupby(groups).max()
            np.testing.assert_array_equal(rows, expected.to_numpy())
        expected = pd.Series(given.patient_key).groupby(groups).first()
        assert found.patients.tolist() == expected.tolist()


def test_slices_stay_as_they_are():
    given = two_studies_a_patient()
    assert of_slices(given).labels is given.labels
    assert of_slices(given).patients is given.patient_key

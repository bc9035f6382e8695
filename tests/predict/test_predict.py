"""The tables that `predict` writes."""

import numpy as np
import pandas as pd

from ich_keras.predict.detector import worth_a_look
from ich_keras.predict.tables import labels_at_thresholds, submission
from tfrecords_tools.classes import LABELS
from tfrecords_tools.tables.label_csv import read_labels


def answers(count: int) -> pd.DataFrame:
    table = pd.DataFrame(np.random.default_rng(0).random((count, 6)), columns=list(LABELS))
    return table.assign(slice_id=[f"ID_{i:09x}" for i in range(count)])


def test_the_submission_is_in_the_format_of_the_labels(tmp_path):
    slices = answers(5)
    slices[list(LABELS)] = slices[list(LABELS)].round()
    slices["any"] = slices[list(LABELS[:5])].max(axis=1)
    table = submission(slices)
    assert table["ID"][:6].tolist() == [f"ID_000000000_{label}" for label in LABELS]
    table.assign(Label=table["Label"].astype(int)).to_csv(tmp_path / "x.csv", index=False)
    back = read_labels(tmp_path / "x.csv")
    found = back.loc[slices["slice_id"], list(LABELS)]
    np.testing.assert_array_equal(found.to_numpy(), slices[list(LABELS)].to_numpy())


def test_the_three_most_probable_slices_are_worth_a_look():
    probabilities = np.zeros((5, 6))
    probabilities[:, -1] = [0.2, 0.9, 0.1, 0.5, 0.3]
    probabilities[2, 0] = 1.0  # `any` decides
    assert worth_a_look(probabilities).tolist() == [1, 3, 4]
    assert worth_a_look(probabilities[:2]).tolist() == [1, 0]


def test_labels_at_or_above_their_thresholds_are_listed():
    studies = pd.DataFrame([[0.5] * 6, [0.1] * 6], columns=list(LABELS))
    thresholds = {"epidural": 0.5, "subdural": 0.6, "any": 0.05, "subarachnoid": None}
    assert labels_at_thresholds(studies, thresholds) == ["epidural any", "any"]


def test_a_kind_is_never_found_without_any() -> None:
    """Each label has its own threshold; that of `any` may be the higher one, or missing."""
    studies = pd.DataFrame([[0.5] * 6, [0.1] * 6], columns=list(LABELS))
    for threshold, found in (
        (0.9, ["", ""]),
        (0.5, ["epidural any", ""]),
        (None, ["epidural any", ""]),
    ):
        thresholds = {"epidural": 0.4, "any": threshold}
        assert labels_at_thresholds(studies, thresholds) == found

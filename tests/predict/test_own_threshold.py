"""The guide to a threshold of one's own: its examples run, and choose what the program would."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich_keras.scores.postprocessing import sensitivity_threshold
from tests.support.documents import DOCS, blocks


@pytest.fixture
def labelled(tmp_path, monkeypatch) -> pd.DataFrame:
    """Forty studies, each with a series that is not judged, and their labels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    judged = pd.DataFrame(
        {
            "study_id": [f"1.2.{i}" for i in range(40)],
            "judged": True,
            "any": 0.3 * truth + 0.5 * rng.random(40),
        }
    )
    tables = pd.concat([judged, judged.assign(judged=False, any=0.0)])
    Path("labelled-answers").mkdir()
    tables.to_csv("labelled-answers/studies.csv", index=False)
    judged[["study_id"]].assign(any=truth).iloc[::-1].to_csv("own_labels.csv", index=False)
    return judged.assign(truth=truth)


def test_the_examples_choose_the_threshold_of_95_percent_sensitivity(labelled):
    names: dict = {}
    for block in blocks(DOCS / "guides" / "own_threshold.md"):
        if block.language == "python":
            exec(compile(block.text, "own_threshold.md", "exec"), names)
    truth, probabilities = labelled["truth"].to_numpy(), labelled["any"].to_numpy()
    assert names["threshold"] == pytest.approx(sensitivity_threshold(truth, probabilities))
    called = labelled["any"] >= float(str(names["threshold"]))  # typed as it was printed
    assert called[truth == 1].sum() == 19

"""Studies as clinics export them are answered as their clean slices are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich_keras.data.studies import find_studies
from ich_keras.predict.predict import predict
from tests.support import exports
from tests.support.pictures import dots
from tests.support.scored_run import scored_run
from tfrecords_tools.classes import LABELS
from tfrecords_tools.phantom.rsna_files import synth

SLICES = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with dots():
        return scored_run(tmp_path_factory.mktemp("scored"))[0]


def clean_studies(folder: Path, patients: int) -> list[list]:
    """The slices of phantom studies, of which no file is damaged."""
    synth(folder, patients=patients + 1, slices=SLICES, size=64, seed=11)
    studies, _ = find_studies([folder / "stage_2_train"])
    whole = [x for x in studies if len(x.files) == SLICES][:patients]
    return [exports.read_study([file.source.path for file in x.files]) for x in whole]


def answer(run, folder: Path, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The judged series and the rejected files, by the export that they are in."""
    with dots():
        predict(run, [folder], out)
    slices = pd.read_csv(out / "slices.csv")
    exported = slices.groupby("study")["file"].first().str.split("/").str[0]
    studies = pd.read_csv(out / "studies.csv").query("judged")
    rejects = pd.read_csv(out / "rejects.csv")
    return (
        studies.set_index(studies["study"].map(exported)),
        rejects.set_index(rejects["path"].str.split("/").str[0]),
    )


def check(run, studies: list[list], folder: Path) -> None:
    """Exports each study in its turn, and compares with the answer to the clean one."""
    kinds = list(exports.EXPORTS)
    for number, slices in enumerate(studies):
        for dataset in slices:
            dataset.PatientID = f"patient {number}"
        exports.save(slices, folder / "clean" / f"{number:03d}")
        exports.EXPORTS[kinds[number % len(kinds)]](slices, folder / "mixed" / f"{number:03d}")
    expected, _ = answer(run, folder / "clean", folder / "expected")
    found, rejects = answer(run, folder / "mixed", folder / "found")
    assert sorted(found.index) == sorted(expected.index)  # each study once
    found = found.loc[expected.index]
    np.testing.assert_allclose(found[list(LABELS)], expected[list(LABELS)], atol=1e-6)
    assert (found["found"].fillna("") == expected["found"].fillna("")).all()
    assert (found["slices"] == SLICES).all()
    damaged = {"with damaged files": 4, "in an archive": 1}  # the other files that were there
    for number in range(len(studies)):
        name, kind = f"{number:03d}", kinds[number % len(kinds)]
        assert (rejects.index == name).sum() == damaged.get(kind, 0), (kind, rejects)


def test_each_export_is_answered_as_its_clean_study(run, tmp_path):
    check(run, clean_studies(tmp_path / "data", len(exports.EXPORTS)), tmp_path)


@pytest.mark.slow
def test_a_hundred_mixed_studies_are_answered_as_their_clean_ones(run, tmp_path):
    check(run, clean_studies(tmp_path / "data", 100), tmp_path)

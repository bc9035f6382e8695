"""A label is given to the slices and studies that it names, and to no others."""

import pandas as pd
import pytest

from ich_keras.data.studies import find_studies
from ich_keras.evaluation.truth import labelled_studies, read_truth
from tests.support import exports
from tfrecords_tools.classes import LABELS
from tfrecords_tools.phantom.rsna_files import synth


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The slices of a phantom study, none of them damaged."""
    folder = tmp_path_factory.mktemp("head")
    synth(folder, patients=2, slices=4, size=64, seed=3, workers=1)
    studies, _ = find_studies([folder / "stage_2_train"])
    whole = next(x for x in studies if len(x.files) == 4)
    return exports.read_study([file.source.path for file in whole.files])


def labels(path, column, names):
    table = pd.DataFrame(0, columns=list(LABELS), index=pd.Index(names, name=column))
    table.to_csv(path)
    return read_truth(path)


def test_a_label_of_a_study_is_not_given_to_two_patients(head, tmp_path):
    exports.save(head, tmp_path / "files" / "a")
    other = lambda x, _: setattr(x, "PatientID", "another")  # noqa: E731
    exports.save(head, tmp_path / "files" / "b", other)
    truth = labels(tmp_path / "studies.csv", "study_id", [head[0].StudyInstanceUID])
    studies, rejects = find_studies([tmp_path / "files"])
    assert labelled_studies(studies, truth, rejects) == []
    assert len(rejects) == 8
    assert {x["reason"] for x in rejects} == {"duplicate_id"}
    assert "other patients have the same Study Instance UID" in rejects[0]["detail"]


def test_a_label_of_a_slice_is_not_given_to_several(head, tmp_path):
    def shared(dataset, number):
        if number < 2:
            dataset.SOPInstanceUID = "1.2.3"

    exports.save(head, tmp_path / "files", shared)
    ids = ["1.2.3", *(str(x.SOPInstanceUID) for x in head[2:])]
    truth = labels(tmp_path / "slices.csv", "slice_id", ids)
    studies, rejects = find_studies([tmp_path / "files"])
    (study,) = labelled_studies(studies, truth, rejects)
    assert sorted(file.slice_id for file in study.files) == sorted(ids[1:])
    assert [x["path"] for x in rejects] == ["000.dcm", "001.dcm"]


def test_labels_name_the_frames_of_an_enhanced_ct(head, tmp_path):
    exports.EXPORTS["as one enhanced ct"](head, tmp_path / "files")
    studies, rejects = find_studies([tmp_path / "files"])
    assert not rejects
    for unit, column, names in (
        ("slice", "slice_id", ["1.2.3.4#2", "1.2.3.4#3"]),
        ("study", "study_id", [head[0].StudyInstanceUID]),
    ):
        truth = labels(tmp_path / f"{unit}.csv", column, names)
        (study,) = labelled_studies(studies, truth, rejects)
        labelled = [file.slice_id for file in study.files if truth.has(file)]
        assert labelled == (names if unit == "slice" else [f"1.2.3.4#{n}" for n in (1, 2, 3, 4)])


def test_the_judged_series_of_a_labelled_study_comes_first(head, tmp_path):
    exports.EXPORTS["sharp kernel beside"](head, tmp_path / "files")
    truth = labels(tmp_path / "studies.csv", "study_id", [head[0].StudyInstanceUID])
    studies, rejects = find_studies([tmp_path / "files"])
    (study,) = labelled_studies(studies, truth, rejects)
    judged, other = study.series
    assert (judged.facts.kernel, other.facts.kernel) == ("", "H70h")

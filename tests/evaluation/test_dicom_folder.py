"""A run on DICOM files has the scores that it has on their shards, by slice and by study."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from unittest.mock import ANY

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from ich_keras.data.studies import find_studies
from ich_keras.evaluation.dicom_folder import evaluate_dicom
from ich_keras.evaluation.evaluate import evaluate
from ich_keras.experiment.experiment import load_experiment
from ich_keras.predict.predict import predict
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit
from tests.evaluation.test_cq500 import write_reads
from tests.support.pictures import dots
from tests.support.small_run import overrides
from tests.support.study_pages import blocks_of
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.errors import InputError
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.tables.label_csv import LabelError, read_labels


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Phantom studies, their shards, and a run on them."""
    folder = tmp_path_factory.mktemp("external")
    synth(folder / "data", patients=12, slices=6, size=64, seed=3)
    convert(folder / "data", folder / "shards", ConvertOptions(size=64, split="0.5,0.5,0", seed=0))
    run = RunFolder(folder / "run")
    experiment = load_experiment("demo", overrides(evaluation__bootstrap_draws="50"))
    with dots():
        fit(experiment, folder / "shards", run)
    return run, folder / "data", folder / "shards"


def test_slices_have_the_probabilities_and_scores_that_they_have_as_shards(world, tmp_path):
    run, data, shards = world
    as_shards = evaluate(run, shards).scores
    index = pd.read_csv(shards / "index.csv").query("split == 'val'")
    (tmp_path / "deep").mkdir()
    for slice_id in index["slice_id"]:
        shutil.copy(data / "stage_2_train" / f"{slice_id}.dcm", tmp_path / "deep")
    (tmp_path / "readme.txt").write_text("no slice")
    result = evaluate_dicom(run, tmp_path, data / "stage_2_train.csv", name="elsewhere")
    tables = [
        pd.read_csv(run.evaluation / f"{name}_predictions.csv").set_index("slice_id").sort_index()
        for name in ("val", "elsewhere")
    ]
    for label in LABELS:
        np.testing.assert_allclose(tables[0][label], tables[1][label], atol=1e-5)
        assert (tables[0][f"{label}_true"] == tables[1][f"{label}_true"]).all()
    for name in ("slices", "patients", "positives", "always_negative_accuracy_mean"):
        assert result.scores[name] == as_shards[name]
    assert result.scores["rejected"] == 1
    labels = read_labels(data / "stage_2_train.csv")
    assert result.scores["labels_without_files"] == len(labels) - len(index)
    assert "operating_points" in result.scores  # of the run's own validation
    pictures = [
        cv2.imread(str(run.figures / f"errors_{name}.png")) for name in ("val", "elsewhere")
    ]
    assert pictures[0].shape == pictures[1].shape
    assert np.mean(pictures[0] != pictures[1]) < 0.01  # the same slices and class maps
    check_pages(run, index)


def check_pages(run: RunFolder, index: pd.DataFrame) -> None:
    """There are pages of studies with errors, with true labels, and the report links them."""
    pages = run.pages("elsewhere")
    assert pages
    studies = {x[list(LABELS)].to_numpy().tobytes() for _, x in _along(index).groupby("study_id")}
    for page in pages:
        truth = np.array(json.loads(blocks_of(page)["study"])["truth"])
        assert truth.tobytes() in studies
        assert f'href="evaluation/elsewhere_pages/{page.name}"' in run.report.read_text("utf-8")


def _along(index: pd.DataFrame) -> pd.DataFrame:
    return index.sort_values(["study_id", "z_mm"])


@pytest.mark.usefixtures("undrawn")
def test_slices_without_a_label_are_neighbours_and_not_scored(world, tmp_path):
    run, data, _ = world
    labels = read_labels(data / "stage_2_train.csv")
    every_third = labels[::3]
    every_third.rename_axis("slice_id").to_csv(tmp_path / "labels.csv")
    scores = evaluate_dicom(run, data, tmp_path / "labels.csv", name="third").scores
    table = pd.read_csv(run.evaluation / "third_predictions.csv")
    assert set(table["slice_id"]) <= set(every_third.index)
    assert scores["slices"] == len(table)
    rejects = pd.read_csv(run.evaluation / "third_rejects.csv")
    assert len(rejects) == scores["rejected"] > 0


@pytest.mark.usefixtures("undrawn")
def test_undefined_scores_are_a_dash_in_the_table(world, tmp_path, caplog):
    run, data, _ = world
    labels = read_labels(data / "stage_2_train.csv")
    healthy = labels[labels["any"] == 0].rename_axis("slice_id")
    healthy.to_csv(tmp_path / "labels.csv")
    with caplog.at_level("INFO", logger="ich_keras"):
        scores = evaluate_dicom(run, data, tmp_path / "labels.csv", name="healthy").scores
    assert scores["mean_auc"]["value"] is None
    table = caplog.text.partition("healthy: ")[2]
    assert "None" not in table and "nan" not in table
    row = next(line for line in table.splitlines() if line.split()[:1] == ["any"])
    assert row.split()[1:7] == ["0", "-", "-", "-", "-", "-"]


@pytest.mark.usefixtures("undrawn")
def test_a_file_that_occurs_twice_is_predicted_once(world, tmp_path):
    _, data, _ = world
    path = next((data / "stage_2_train").iterdir())
    for name in ("a.dcm", "b.dcm"):
        shutil.copy(path, tmp_path / name)
    studies, rejects = find_studies([tmp_path])
    assert [len(x.files) for x in studies] == [1]
    assert [(x["path"], x["reason"]) for x in rejects] == [("b.dcm", "duplicate_id")]
    assert rejects[0]["detail"] == "the slice of a.dcm again"


def two_series(data: Path, out: Path) -> str:
    """A phantom study with a second series: the same positions, other pixels.

    Returns:
        Its Study Instance UID.
    """
    datasets = [pydicom.dcmread(x) for x in sorted((data / "stage_2_train").iterdir())]
    study = datasets[0].StudyInstanceUID
    for dataset in datasets:
        if dataset.StudyInstanceUID != study:
            continue
        for name in ("first", "second"):
            (out / name).mkdir(parents=True, exist_ok=True)
            dataset.save_as(out / name / f"{dataset.SOPInstanceUID}.dcm")
            dataset.SeriesInstanceUID = "ID_00000000f"
            dataset.SOPInstanceUID = f"ID_f{dataset.SOPInstanceUID[4:]}"
            dataset.PixelData = np.flip(dataset.pixel_array, axis=0).tobytes()
    return study


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_each_series_is_smoothed_separately(world, tmp_path):
    run, data, shards = world
    evaluate(run, shards)
    study = two_series(data, tmp_path / "study")
    tables = {}
    for name in ("first", "second", "."):
        out = tmp_path / ("both" if name == "." else name)
        predict(run, [tmp_path / "study" / name], out, smooth=True)
        tables[name] = pd.read_csv(out / "slices.csv").set_index("slice_id")
    both = tables["."]
    assert set(both["study_id"]) == {study} and len(both) == 12
    for name in ("first", "second"):
        alone = tables[name]
        np.testing.assert_allclose(
            both.loc[alone.index, list(LABELS)], alone[list(LABELS)], rtol=1e-5
        )
    assert not np.allclose(tables["first"]["any"], tables["second"]["any"])


def cq500_folder(data: Path, out: Path) -> dict[str, pd.Series]:
    """The phantom studies in the layout of CQ500, each with a bone and a soft series.

    Returns:
        The labels of each scan, the maximum over its slices.
    """
    labels, scans = read_labels(data / "stage_2_train.csv"), {}
    by_study: dict[str, list[pydicom.Dataset]] = {}
    for path in sorted((data / "stage_2_train").iterdir()):
        dataset = pydicom.dcmread(path)
        if len(dataset.PixelData) < dataset.Rows * dataset.Columns * 2:
            continue  # the phantoms have a truncated file, as the real data set has
        by_study.setdefault(str(dataset.StudyInstanceUID), []).append(dataset)
    for number, datasets in enumerate(by_study.values()):
        scan = f"CQ500CT{number}"
        for series, kernel, noise in (("CT BONE", "BONE", 300), ("CT Plain", "STANDARD", 0)):
            folder = out / f"{scan} {scan}" / "Unknown Study" / series
            folder.mkdir(parents=True)
            for i, dataset in enumerate(datasets):
                changed = deepcopy(dataset)
                changed.ConvolutionKernel = kernel
                changed.SeriesInstanceUID = f"{number}.{len(kernel)}"
                changed.SOPInstanceUID = f"{number}.{len(kernel)}.{i}"
                changed.PatientID = scan
                pixels = changed.pixel_array + noise
                changed.PixelData = pixels.astype(changed.pixel_array.dtype).tobytes()
                changed.save_as(folder / f"CT{i:06d}.dcm")
        ids = [str(x.SOPInstanceUID) for x in datasets]
        scans[f"CQ500-CT-{number}"] = labels.loc[ids, list(LABELS)].max()
    return scans


@pytest.fixture(scope="module")
def cq500(world, tmp_path_factory):
    _, data, _ = world
    folder = tmp_path_factory.mktemp("cq500")
    return folder, cq500_folder(data, folder / "scans")


@pytest.mark.slow
def test_scans_of_cq500_are_scored_on_their_soft_series_against_the_majority(world, cq500):
    run, data, _ = world
    folder, scans = cq500
    wrong = "111111"
    rows = [(x, *["".join(map(str, labels))] * 2, wrong) for x, labels in scans.items()]
    reads = write_reads(folder / "reads.csv", *rows, ("CQ500-CT-400", *["000000"] * 3))
    scores = evaluate_dicom(run, folder / "scans", reads, name="cq500").scores
    assert (scores["unit"], scores["studies"]) == ("study", len(scans))
    assert scores["positives"] == pd.DataFrame(scans).T.sum().to_dict()
    assert scores["labels_without_files"] == 1
    evaluate_dicom(run, data, data / "stage_2_train.csv", name="slices")
    plain = pd.read_csv(run.evaluation / "slices_predictions.csv")
    scored = pd.read_csv(run.evaluation / "cq500_predictions.csv")
    assert scores["slices"] == len(scored) == len(plain)  # of one series per scan
    for label in LABELS:  # the same pixels as the originals, so the same probabilities
        np.testing.assert_allclose(sorted(scored[label]), sorted(plain[label]), atol=1e-5)
    page = run.report.read_text()
    assert f"studies of {scores['patients']} patients" in page


@pytest.mark.usefixtures("undrawn")
def test_labels_of_studies_are_matched_by_their_identifier(world, tmp_path):
    run, data, shards = world
    index = pd.read_csv(shards / "index.csv", dtype={"study_id": str})
    table = index.groupby("study_id")[list(LABELS)].max().reset_index()
    table.to_csv(tmp_path / "studies.csv", index=False)
    scores = evaluate_dicom(run, data, tmp_path / "studies.csv", name="studies").scores
    assert scores["studies"] == len(table)
    assert scores["positives"]["any"] == table["any"].sum()
    assert json.loads((run.evaluation / "studies.json").read_text()) == scores


@pytest.mark.parametrize("unit", ["slice", "study"])
def test_without_kinds_only_any_is_judged(world, tmp_path, unit):
    run, data, shards = world
    index = pd.read_csv(shards / "index.csv", dtype={"study_id": str})
    table = index.groupby(f"{unit}_id")["any"].max()
    table.to_csv(tmp_path / "any.csv")
    result = evaluate_dicom(run, data, tmp_path / "any.csv", name=f"any-{unit}")
    scored = pd.read_csv(run.evaluation / f"any-{unit}_predictions.csv", dtype={"study_id": str})
    assert scored[[f"{label}_true" for label in SUBTYPES]].isna().all(axis=None)
    assert (scored["any_true"] == scored[f"{unit}_id"].map(table)).all()
    cases = scored.groupby(f"{unit}_id")[["any", "any_true"]].max()
    for name, function in (("auc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = function(cases["any_true"], cases["any"])
        assert result.scores[name] == {"any": {"value": pytest.approx(expected), "interval": ANY}}
    ((_, alarms), (missed, _)) = confusion_matrix(cases["any_true"], cases["any"] >= 0.5)
    assert result.scores["false_positives"] == {"any": alarms}
    assert result.scores["false_negatives"] == {"any": missed}
    assert result.sentence().startswith(f"any-{unit}: AUC of any 0.")
    check_page_without_kinds(run, f"any-{unit}")


def check_page_without_kinds(run: RunFolder, name: str) -> None:
    """No score of the report is of a kind, and the pages of errors know no true kind."""
    page = run.report.read_text("utf-8")
    section = page.partition(f"Scores, “{name}”")[2].partition("</section>")[0]
    assert "the kinds of hemorrhage are not known" in section
    assert "<td>any</td>" in section and not [x for x in SUBTYPES if x in section]
    assert run.pages(name)
    for path in run.pages(name):
        rows = json.loads(blocks_of(path)["study"])["truth"]
        assert {tuple(row[:5]) for row in rows} == {(None,) * 5}
        assert {row[5] for row in rows} <= {0, 1}


@pytest.mark.usefixtures("undrawn")
def test_labels_of_other_files_are_refused_in_one_line(world, tmp_path):
    run, data, _ = world
    reads = write_reads(tmp_path / "reads.csv", ("CQ500-CT-1", *["000000"] * 3))
    with pytest.raises(InputError, match=r"knows none of the \d+ CT slices in .*belong together"):
        evaluate_dicom(run, data, reads, name="x")
    assert (run.evaluation / "x_rejects.csv").is_file()  # which may say why
    with pytest.raises(InputError, match=r"nothing to evaluate in .*reads.csv: not_dicom \(1\)"):
        evaluate_dicom(run, reads, data / "stage_2_train.csv", name="x")
    (tmp_path / "odd.csv").write_text("who,what\n1,2\n")
    with pytest.raises(LabelError, match="has the columns who, what"):
        evaluate_dicom(run, data, tmp_path / "odd.csv", name="x")

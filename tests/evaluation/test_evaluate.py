"""The files of `evaluate` follow from its predictions."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.evaluation.report_figures import FIGURES
from ich_keras.evaluation.score_files import score_table
from ich_keras.run.folder import RunFolder
from tests.support.pictures import dots
from tests.support.scored_run import scored_run
from tests.support.shard_files import write_shards
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tfrecords_tools.errors import UsageError
from tfrecords_tools.windows import Window

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    with dots():
        return scored_run(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def on_test(scored):
    """The scores of the test split of the same run."""
    run, shards, _ = scored
    with dots():
        return evaluate(run, shards, split="test").scores


def test_the_scores_follow_from_the_predictions_by_scikit_learn(scored):
    run, _, result = scored
    table = pd.read_csv(run.evaluation / "val_predictions.csv")
    areas = []
    for label in LABELS:
        truth, probability = table[f"{label}_true"], table[label]
        area = roc_auc_score(truth, probability)
        areas.append(area)
        assert result.scores["auc"][label]["value"] == pytest.approx(area, abs=1e-6)
        missed = int(((probability < 0.5) & (truth == 1)).sum())
        assert result.scores["false_negatives"][label] == missed
    assert result.scores["mean_auc"]["value"] == pytest.approx(sum(areas) / 6, abs=1e-6)
    assert json.loads((run.evaluation / "val.json").read_text()) == result.scores


def test_the_labels_of_the_predictions_are_those_of_the_index(scored):
    run, shards, _ = scored
    table = pd.read_csv(run.evaluation / "val_predictions.csv").set_index("slice_id")
    index = pd.read_csv(shards / "index.csv").set_index("slice_id")
    index = index[index["split"] == "val"]
    assert set(table.index) == set(index.index)
    for label in LABELS:
        assert (table[f"{label}_true"] == index.loc[table.index, label]).all()


def test_the_printed_table_has_the_numbers_of_the_json(scored):
    _, _, result = scored
    lines = score_table(result.scores).splitlines()
    assert len(lines) == 1 + len(LABELS)
    for line, label in zip(lines[1:], LABELS, strict=True):
        assert line.split()[0] == label
        assert f"{result.scores['auc'][label]['value']:.4f}" in line
        assert f"{result.scores['always_negative_accuracy'][label]:.4f}" in line


def test_the_sentence_has_the_baseline_after_the_accuracy(scored):
    _, _, result = scored
    assert f"(always negative {result.scores['always_negative_accuracy_mean']:.4f})" in (
        result.sentence()
    )


def test_the_same_evaluation_gives_the_same_bytes(scored):
    run, shards, _ = scored
    before = {path.name: path.read_bytes() for path in run.evaluation.iterdir()}
    evaluate(run, shards)
    assert {path.name: path.read_bytes() for path in run.evaluation.iterdir()} == before


def test_thresholds_of_validation_are_applied_to_test_only(scored, on_test):
    run, _, on_validation = scored
    assert "operating_points" not in on_validation.scores
    fitted = json.loads(run.fitted(32).read_text())
    assert fitted["source"]["size"] == 32
    for level in ("slice", "study"):
        for rule, points in on_test["operating_points"][level].items():
            for label, point in points.items():
                assert point["threshold"] == fitted["thresholds"][level][rule][label]


def test_what_was_fitted_to_another_checkpoint_is_fitted_again(scored):
    run, shards, _ = scored
    good = run.fitted(32).read_text()
    stale = json.loads(good)
    stale["source"]["checkpoint_step"] += 1
    stale["smoothing"]["temperature"] = 9.0
    run.fitted(32).write_text(json.dumps(stale))
    evaluate(run, shards, split="test")
    assert run.fitted(32).read_text() == good


def test_without_the_shards_of_the_training_there_are_no_thresholds_and_a_warning(
    scored, tmp_path, caplog
):
    run, shards, _ = scored
    lonely = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, lonely.path)
    shutil.rmtree(lonely.path / "fitted")
    content = json.loads(lonely.input.read_text())
    lonely.input.write_text(json.dumps(content | {"shards": str(tmp_path / "gone")}))
    with caplog.at_level("WARNING", "ich_keras"):
        scores = evaluate(lonely, shards, split="test").scores
    assert "operating_points" not in scores
    assert "no thresholds of validation" in caplog.text


@pytest.mark.slow
def test_each_size_of_the_same_checkpoint_is_a_row(scored):
    run, shards, result = scored
    evaluate(run, shards, size=16, name="sizes")
    evaluate(run, shards, name="sizes")
    table = pd.read_csv(run.evaluation / "sizes_sizes.csv")
    assert table["size"].tolist() == [16, 32]
    assert table["mean_auc"][1] == pytest.approx(result.scores["mean_auc"]["value"])
    evaluate(run, shards, size=16, name="sizes")
    assert pd.read_csv(run.evaluation / "sizes_sizes.csv")["size"].tolist() == [16, 32]


def test_another_name_does_not_change_the_scores_of_the_split(scored):
    run, shards, _ = scored
    before = (run.evaluation / "val.json").read_bytes()
    evaluate(run, shards, split="train", name="elsewhere")
    assert (run.evaluation / "val.json").read_bytes() == before
    assert json.loads((run.evaluation / "elsewhere.json").read_text())["split"] == "train"
    assert (run.figures / "roc_elsewhere.png").is_file()


def test_compared_with_itself_a_run_has_no_difference(scored):
    run, shards, result = scored
    evaluate(run, shards, against=run)
    compared = json.loads((run.comparisons / "val.json").read_text())["scores"]
    assert compared["mean_auc"]["first"] == pytest.approx(result.scores["mean_auc"]["value"])
    assert compared["mean_auc"]["difference"]["value"] == 0


@pytest.mark.usefixtures("on_test")
def test_every_figure_is_there_and_in_the_report(scored):
    run, _, _ = scored
    drawn = {path.stem for path in run.figures.glob("*_test.png")}
    kinds = ("roc", "reliability", "thresholds", "class_maps", "class_grid", "errors")
    assert drawn == {f"{kind}_test" for kind in kinds}
    page = run.report.read_text()
    assert "Thresholds chosen on validation" in page
    assert all(f"{FIGURES[kind][0]}, “test”" in page for kind in kinds)
    # Class grids of the training and figures of the other split are left out.
    titles = [title for title, _ in FIGURES.values()]
    assert not any(f"{title}, step" in page or f"{title}, “val”" in page for title in titles)


def test_shards_with_other_windows_are_refused(scored, tmp_path):
    run, _, _ = scored
    shards = write_shards(tmp_path, train=7, val=7).folder
    manifest = read_manifest(shards)
    windows = (Window("brain", 35.0, 80.0), *manifest.format.windows[1:])
    changed = replace(manifest.format, windows=windows)
    write_manifest(shards / MANIFEST_NAME, replace(manifest, format=changed))
    with pytest.raises(UsageError, match=r"the run was trained on.*convert with those"):
        evaluate(run, shards)


def test_a_split_without_labels_is_refused_with_advice(scored):
    run, shards, _ = scored
    with pytest.raises(UsageError, match="use `ich-keras predict`"):
        evaluate(run, shards, split="unlabelled")

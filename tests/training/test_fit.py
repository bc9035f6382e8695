"""A run learns, keeps its best network, resumes, and refuses other experiments and shards."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ich_keras.data.shards import DatasetError
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.network import load_model
from ich_keras.run.folder import RunError, RunFolder, choose_run, read_input, trained_run
from ich_keras.training.fit import TrainingError, fit
from ich_keras.training.stepper import Stepper
from ich_keras.training.train_step import make_optimizer
from ich_keras.training.validation import validation_scores
from tests.support import small_run
from tests.support.pictures import dots
from tests.support.shard_files import write_shards
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, read_manifest, write_manifest
from tfrecords_tools.errors import UsageError

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=56, val=28).folder


def experiment(*overrides):
    return load_experiment("demo", [*small_run.overrides(), *overrides])


def rewrite_manifest(folder, **changes):
    write_manifest(folder / MANIFEST_NAME, replace(read_manifest(folder), **changes))


def weights(run: RunFolder) -> list[np.ndarray]:
    with np.load(run.last / "state.npz", allow_pickle=False) as state:
        return [state[name] for name in sorted(state.files) if name != "position"]


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    with dots():
        return run, fit(experiment(), shards, run)


def test_the_folder_holds_what_the_contract_names(finished):
    run, _ = finished
    for path in (run.experiment, run.environment, run.history, run.best, run.tensorboard):
        assert path.exists(), path
    assert list(run.last.iterdir())
    assert {path.name for path in run.figures.glob("*.png")} == {"class_grid_12.png", "curves.png"}
    assert not list(run.path.rglob(".partial-*"))
    recorded = json.loads(run.environment.read_text(encoding="utf-8"))
    assert recorded["packages"]["tensorflow"] == tf.__version__
    assert recorded["seed"] == 1498


def sessions(run: RunFolder) -> list[dict]:
    return json.loads(run.environment.read_text(encoding="utf-8"))["sessions"]


def test_what_auto_became_is_recorded(finished):
    run, _ = finished
    recorded = json.loads(run.environment.read_text(encoding="utf-8"))
    assert recorded["precision"] == load_model(run.best).dtype_policy.name
    assert recorded["strategy"] in ("one", "mirrored")
    assert recorded["jit_compile"] is False  # the demo is deterministic
    (session,) = recorded.pop("sessions")
    assert session.pop("step") == 0
    data = {"data_fingerprint": read_input(run).fingerprint, "seed": 1498}
    assert recorded == session | data


@pytest.mark.slow
def test_each_session_records_its_environment_and_warns_of_a_changed_one(
    shards, tmp_path, monkeypatch, caplog
):
    run = RunFolder(tmp_path / "run")
    fit(experiment(), shards, run, until=4)
    monkeypatch.setattr("ich_keras.run.environment.commit", lambda: "0123abc+changes")
    monkeypatch.setattr(
        "ich_keras.training.train_step.choose_precision", lambda _: "mixed_bfloat16"
    )
    fit(experiment(), shards, run)
    fit(experiment(), shards, run)  # is complete, so that it is no session
    first, second = sessions(run)
    assert (first["step"], second["step"]) == (0, 4)
    assert (first["precision"], second["precision"]) == ("float32", "mixed_bfloat16")
    assert second["git_commit"] == "0123abc+changes" != first["git_commit"]
    assert first["packages"] == second["packages"]
    start = json.loads(run.environment.read_text(encoding="utf-8"))
    assert (start["precision"], start["git_commit"]) == ("float32", first["git_commit"])
    assert "resumed at step 4 in another environment:" in caplog.text
    assert "precision float32, now mixed_bfloat16" in caplog.text


@pytest.mark.slow
def test_an_environment_without_sessions_becomes_the_first_one(shards, tmp_path, caplog):
    run = RunFolder(tmp_path / "run")
    fit(experiment(), shards, run, until=4)
    old = json.loads(run.environment.read_text(encoding="utf-8"))
    for key in ("sessions", "strategy", "precision", "jit_compile"):  # as older versions wrote it
        del old[key]
    run.environment.write_text(json.dumps(old), encoding="utf-8")
    fit(experiment(), shards, run, until=8)
    first, second = sessions(run)
    assert (first["step"], second["step"]) == (0, 4)
    assert first["packages"] == old["packages"]
    assert (first["precision"], second["precision"]) == (None, "float32")
    recorded = json.loads(run.environment.read_text(encoding="utf-8"))
    assert {key: recorded[key] for key in old} == old
    assert "another environment" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[]", '{"sessions": [{}]}', '{"sessions": null}'])
def test_a_damaged_environment_is_one_line(shards, tmp_path, content):
    run = RunFolder(tmp_path / "run")
    fit(experiment(), shards, run, until=4)
    run.environment.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"^[^\n]*environment\.json: damaged [^\n]*remove it[^\n]*$"):
        fit(experiment(), shards, run, until=8)
    run.environment.unlink()
    fit(experiment(), shards, run, until=8)
    assert [session["step"] for session in sessions(run)] == [4]


def test_the_resolved_experiment_gives_the_same_run_again(finished):
    run, _ = finished
    assert load_experiment(str(run.experiment)) == experiment()


def test_history_counts_steps_and_marks_validations(finished):
    run, result = finished
    with run.history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert next(iter(rows[0])) == "step"
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [4, 8, 12]
    assert len(result.validations) == 3


def test_the_network_is_summarised_in_pixels_and_in_mm(shards, tmp_path, caplog):
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    rewrite_manifest(folder, pixel_mm=0.75)  # of slices of 32 px; at 16 px a pixel is twice as wide
    with caplog.at_level("INFO"):
        fit(experiment("data.size=16", "training.max_steps=4"), folder, RunFolder(tmp_path / "run"))
    field = int(re.search(r"receptive field of (\d+) px or", caplog.text)[1])
    assert f"receptive field of {field} px or {round(1.5 * field)} mm" in caplog.text


def test_the_best_checkpoint_is_that_of_the_best_validation(finished):
    run, result = finished
    best = max(result.validations, key=lambda row: row["val_mean_auc"])
    assert result.position.best_step == best["step"]
    assert result.position.best_value == best["val_mean_auc"]
    assert load_model(run.best).output_shape == (None, 6)


def test_the_same_run_again_gives_the_same_bits(finished, shards, tmp_path):
    run, _ = finished
    again = RunFolder(tmp_path / "again")
    fit(experiment(), shards, again)
    for one, other in zip(weights(run), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


class Stopped(BaseException):
    """Stands in for a signal that ends the process."""


@pytest.mark.parametrize("stop_at", [pytest.param(5, marks=pytest.mark.slow), 9])
def test_an_interrupted_run_ends_like_an_undisturbed_one(
    finished, shards, tmp_path, monkeypatch, stop_at
):
    run = RunFolder(tmp_path / "run")

    def stopping(stepper, steps):
        if stepper.step + steps >= stop_at:
            raise Stopped
        return call(stepper, steps)

    call = Stepper._call
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Stepper, "_call", stopping)
        fit(experiment(), shards, run)
    result = fit(experiment(), shards, run)
    assert [session["step"] for session in sessions(run)] == [0, stop_at // 4 * 4]
    whole, whole_result = finished
    for one, other in zip(weights(whole), weights(run), strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.position.best_value == whole_result.position.best_value
    assert result.position.best_step == whole_result.position.best_step
    columns = ("step", "loss", "val_loss", "val_mean_auc")
    with whole.history.open() as one, run.history.open() as other:
        for row, same in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            assert [row[x] for x in columns] == [same[x] for x in columns]


def test_a_complete_run_is_left_as_it_is(finished, shards):
    run, result = finished
    before = run.history.read_bytes(), run.best.stat().st_mtime_ns
    again = fit(experiment(), shards, run)
    assert again.position == result.position
    assert (run.history.read_bytes(), run.best.stat().st_mtime_ns) == before


def test_another_experiment_or_other_shards_are_refused(finished, shards, tmp_path):
    run, _ = finished
    with pytest.raises(
        RunError, match=r"another experiment, which differs in model\.dropout 0\.2, now"
    ):
        fit(experiment("model.dropout=0.1"), shards, run)
    other = write_shards(tmp_path, train=16, val=7).folder
    rewrite_manifest(other, fingerprint="1" * 64)
    with pytest.raises(RunError, match="trained on other shards"):
        fit(experiment(), other, run)
    with pytest.raises(RunError, match="holds a run already"):
        fit(experiment(), shards, run, resume=False)


def test_patience_ends_a_run(shards, tmp_path):
    settings = ("training.learning_rate=1e-12", "training.patience=1", "training.max_steps=200")
    result = fit(experiment(*settings), shards, RunFolder(tmp_path / "run"))
    assert result.position.stale == 1
    assert result.position.step < 200


def test_a_loss_that_is_not_finite_stops_the_run_and_says_when(shards, tmp_path):
    run = RunFolder(tmp_path / "run")
    settings = ("model.normalization=none", "training.learning_rate=1e30", "training.optimizer=sgd")
    with pytest.raises(TrainingError, match=r"the loss is nan between steps \d+ and \d+; lower"):
        fit(experiment(*settings), shards, run)


def test_a_requested_gpu_that_is_missing_is_reported_first(shards, tmp_path, caplog, monkeypatch):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with caplog.at_level("WARNING"):
        fit(experiment("training.max_steps=4"), shards, RunFolder(tmp_path / "run"))
    assert caplog.messages[0].startswith("NO GPU: TensorFlow sees no GPU, although CUDA_VISIBLE")


def test_a_network_that_always_answers_no_gets_a_warning(shards, tmp_path, caplog):
    run = RunFolder(tmp_path / "run")
    settings = ("training.learning_rate=1e-12", "training.max_steps=4")
    result = fit(experiment(*settings), shards, run)
    assert "step 4: on the validation slices: always negative" in caplog.text
    assert "at step 4, WHERE IT IS ALWAYS NEGATIVE;" in result.sentence()
    with run.history.open(encoding="utf-8", newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == ["", "always negative"]
    assert fit(experiment(*settings), shards, run).sentence() == result.sentence()  # on a re-run


def test_a_warm_start_takes_the_weights_of_another_size(finished, shards, tmp_path):
    run, _ = finished
    settings = (f"model.weights={run.best}", "data.size=16", "training.learning_rate=1e-12")
    warm = RunFolder(tmp_path / "warm")
    fit(experiment(*settings, "training.max_steps=4", "training.log_every=4"), shards, warm)
    kernels = [load_model(x.best).get_layer("stem").kernel for x in (run, warm)]
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-6)
    with pytest.raises(RunError, match="is of another network"):
        other = experiment(f"model.weights={run.best}", "model.widths=[4, 4]")
        fit(other, shards, RunFolder(tmp_path / "other"))
    with pytest.raises(RunError, match="no such file"):
        fit(experiment("model.weights=nowhere.keras"), shards, RunFolder(tmp_path / "none"))


@pytest.mark.parametrize(
    "override",
    [
        "training.loss=focal",
        "training.strategy=mirrored",
        pytest.param("seed=0", marks=pytest.mark.slow),
    ],
)
def test_other_losses_strategies_and_seeds_run(shards, tmp_path, override):
    result = fit(experiment(override, "training.max_steps=4"), shards, RunFolder(tmp_path / "run"))
    assert result.position.step == 4


def test_it_learns_what_can_be_learned(shards, tmp_path):
    settings = (
        "model.widths=[8, 16]",
        "model.dropout=0.0",
        "training.batch_size=16",
        "training.learning_rate=1e-2",
        "training.max_steps=100",
        "training.validate_every=50",
        "training.log_every=50",
    )
    result = fit(experiment(*settings), shards, RunFolder(tmp_path / "run"))
    assert result.position.best_value > 0.85  # a coin scores 0.5


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0), ("constant", 0.015)])
def test_the_learning_rate_warms_up_and_decays_or_stays(schedule, last):
    settings = ["training.max_steps=1000", f"training.schedule={schedule}"]
    optimizer = make_optimizer(load_experiment("faithful_halfres", settings).training)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 128, 256, 1000)]
    assert rates == pytest.approx([0, 0.0075, 0.015, last], abs=1e-6)
    assert optimizer.get_config()["learning_rate"]  # callbacks record it


def test_without_a_warm_up_the_first_step_has_the_whole_learning_rate():
    settings = ["training.warmup_steps=0", "training.schedule=constant"]
    optimizer = make_optimizer(load_experiment("faithful_halfres", settings).training)
    assert float(optimizer._learning_rate(0)) == pytest.approx(0.015)


def test_runs_are_numbered(tmp_path):
    assert choose_run("x", fresh=False, parent=tmp_path).path == tmp_path / "x" / "1"
    (tmp_path / "x" / "2").mkdir(parents=True)
    assert choose_run("x", fresh=False, parent=tmp_path).path == tmp_path / "x" / "2"
    assert choose_run("x", fresh=True, parent=tmp_path).path == tmp_path / "x" / "3"


def test_a_folder_that_is_not_a_run_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"not a trained run, experiment\.yaml is missing"):
        trained_run(tmp_path)


def test_the_run_knows_its_input(finished):
    run, _ = finished
    trained = read_input(run)
    assert trained.network.size == 32
    assert [window.name for window in trained.network.windows] == ["brain", "subdural", "bone"]


def test_shards_without_labels_are_refused(tmp_path):
    shards = write_shards(tmp_path / "shards", unlabelled=28).folder
    message = r"holds 28 slices of unlabelled, and a training needs labelled slices of train"
    with pytest.raises(DatasetError, match=message):
        fit(experiment(), shards, RunFolder(tmp_path / "run"))


def test_a_split_that_cannot_be_monitored_is_refused_before_the_first_step(tmp_path):
    shards = write_shards(tmp_path, train=16, val=7).folder
    splits = read_manifest(shards).splits
    healthy = replace(splits["val"], positives=dict.fromkeys(LABELS, 0))
    rewrite_manifest(shards, splits={**splits, "val": healthy})
    with pytest.raises(DatasetError, match="no slice of the split val bleeds"):
        fit(experiment(), shards, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def healthy_first(tmp_path_factory):
    """Shards whose first validation slices are healthy, which the split as a whole is not."""
    none = dict.fromkeys((f"val{i:04d}" for i in range(8)), (0,) * 6)
    return write_shards(tmp_path_factory.mktemp("healthy"), labels=none, train=56, val=28).folder


def test_a_validation_without_positives_has_no_mean_auc_and_ends_nothing(healthy_first, tmp_path):
    run = RunFolder(tmp_path / "run")
    settings = experiment("training.validation_slices=8")
    result = fit(settings, healthy_first, run)
    assert "without a best score" in result.sentence()
    with run.history.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val_loss"]]
    assert [row["val_mean_auc"] for row in rows] == ["", "", ""]
    position = json.loads(run.position.read_text(), parse_constant=pytest.fail)
    assert (position["best_value"], position["best_step"], position["stale"]) == (None, 12, 3)
    before = weights(run)
    fit(settings, healthy_first, run)  # is complete
    assert all(np.array_equal(x, y) for x, y in zip(before, weights(run), strict=True))
    load_model(run.best)


def test_validations_without_the_score_use_up_patience(healthy_first, tmp_path):
    settings = experiment("training.validation_slices=8", "training.patience=2")
    assert fit(settings, healthy_first, RunFolder(tmp_path)).position.step == 8


@pytest.mark.slow
def test_a_run_that_an_undefined_score_broke_resumes(healthy_first, tmp_path):
    run = RunFolder(tmp_path / "run")
    settings = experiment("training.validation_slices=8")
    fit(settings, healthy_first, run, until=4)
    with np.load(run.last / "state.npz") as state:
        content = dict(state)
    content["position"] = np.array(str(content["position"]).replace("null", "NaN"))
    np.savez(run.last / "state.npz", **content)
    assert fit(settings, healthy_first, run).position.best_value is None


def test_a_validation_takes_as_many_slices_as_the_experiment_sets(shards, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "ich_keras.training.validation.validation_scores",
        lambda predictions, loss: seen.append(predictions) or validation_scores(predictions, loss),
    )
    fit(
        experiment("training.validation_slices=10", "evaluation.batch_size=4"),
        shards,
        RunFolder(tmp_path),
    )
    assert [len(x.labels) for x in seen] == [10, 10, 10]
    assert all(np.array_equal(x.slice_id, seen[0].slice_id) for x in seen)


@pytest.mark.slow
def test_a_run_without_validations_in_between_is_the_same_network(
    finished, shards, tmp_path, caplog
):
    run = RunFolder(tmp_path / "run")
    fit(experiment(), shards, run, until=8, validate_each_interval=False)
    result = fit(experiment(), shards, run, validate_each_interval=False)
    assert [x["step"] for x in result.validations] == ["8", 12]
    for one, other in zip(weights(finished[0]), weights(run), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_share_of_validation_is_logged_before_and_after(shards, tmp_path, caplog):
    with caplog.at_level("INFO", logger="ich_keras"):
        fit(experiment(), shards, RunFolder(tmp_path))
    assert (
        "a validation takes 28 slices, all validations about 23 % of the multiply-adds"
        in caplog.text
    )
    assert len(re.findall(r"the validation took \d+ s, \d+ % of the time", caplog.text)) == 1


def test_slices_smaller_than_a_cell_of_the_class_map_are_refused(shards, tmp_path):
    with pytest.raises(DatasetError, match=r"slices of 32 pixels are smaller than a cell .* 64"):
        fit(experiment("model.widths=[4, 4, 4, 4, 4, 4]"), shards, RunFolder(tmp_path))


def test_shards_without_masks_are_trained_on_by_their_labels_with_a_warning(
    shards, tmp_path, caplog
):
    runs = [RunFolder(tmp_path / name) for name in ("none", "weight")]
    for run, weight in zip(runs, (0, 1), strict=True):
        fit(experiment(f"training.map_weight={weight}"), shards, run, until=1)
    assert caplog.text.count("holds no masks, so class maps are trained by the labels") == 1
    for one, other in zip(*map(weights, runs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_larger_than_all_slices_is_said(shards, tmp_path, caplog):
    fit(experiment("training.batch_size=512"), shards, RunFolder(tmp_path / "run"), until=1)
    assert "training.batch_size 512 is more than all slices to train on" in caplog.text

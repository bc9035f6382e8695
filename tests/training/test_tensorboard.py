"""What TensorBoard finds in the folder of a run."""

from collections import defaultdict

import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from ich_keras.experiment.experiment import load_experiment, with_values
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit
from ich_keras.training.tensorboard import EventLog, describe_search
from tests.support import small_run
from tests.support.pictures import dots
from tests.support.shard_files import write_shards


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """Plugin to tag to the values that were written for it, with their steps."""
    folder = tmp_path_factory.mktemp("run")
    shards = write_shards(folder / "shards", train=56, val=28).folder
    run = RunFolder(folder / "run")
    with dots():
        fit(load_experiment("demo", small_run.overrides()), shards, run)
    values = defaultdict(lambda: defaultdict(list))
    (file,) = run.tensorboard.iterdir()
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            values[value.metadata.plugin_data.plugin_name][value.tag].append((event.step, value))
    return values


def test_scalars_are_at_the_steps_of_the_history(values):
    steps = {tag: [step for step, _ in rows] for tag, rows in values["scalars"].items()}
    assert steps["loss"] == [2, 4, 6, 8, 10, 12]
    assert steps["validation/mean_auc"] == [4, 8, 12]


def test_precision_and_recall_of_each_label_at_each_validation(values):
    curves = values["pr_curves"]
    assert len(curves) == 6
    assert [step for step, _ in curves["validation/any/pr_curves"]] == [4, 8, 12]
    counts = tf.make_ndarray(curves["validation/any/pr_curves"][0][1].tensor)
    true_positives, false_positives = counts[:2, 0]  # at threshold 0 all are called positive
    assert true_positives + false_positives == 28


def test_the_class_grid_is_a_picture(values):
    assert [step for step, _ in values["images"]["class grid"]] == [12]


def test_the_hyperparameters_are_those_of_the_experiment(values):
    (_, value), *_ = values["hparams"]["_hparams_/session_start_info"]
    content = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
    noted = content.session_start_info.hparams
    assert noted["training.batch_size"].number_value == 8
    assert noted["training.loss"].string_value == "bce"
    assert noted["model.widths"].string_value == "[4, 8]"


def test_samples_of_a_point_are_one_group_and_other_points_are_not(tmp_path):
    base = load_experiment("demo")
    runs = {
        "first": base,
        "second": with_values(base, {"seed": 7}),
        "other": with_values(base, {"model.dropout": 0.1}),
    }
    groups = {}
    for name, experiment in runs.items():
        EventLog(tmp_path / name, experiment).close()
        content = plugin_content(tmp_path / name, "_hparams_/session_start_info")
        groups[name] = content.session_start_info.group_name
    assert groups["first"] == groups["second"] != groups["other"]


def test_the_table_of_a_search_has_its_keys_and_its_objective(tmp_path):
    describe_search(tmp_path, ["model.dropout"], "val_loss")
    described = plugin_content(tmp_path, "_hparams_/experiment").experiment
    assert [x.name for x in described.hparam_infos] == ["model.dropout"]
    assert [x.name.tag for x in described.metric_infos] == ["validation/loss"]


def plugin_content(folder, tag):
    (file,) = folder.iterdir()
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            if value.tag == tag:
                content = value.metadata.plugin_data.content
                return plugin_data_pb2.HParamsPluginData.FromString(content)
    raise AssertionError(f"no {tag}")

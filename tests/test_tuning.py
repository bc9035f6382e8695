"""Every kind of search proposes points of the space, trains each once, and names the best."""

import csv

import pytest
import yaml

from ich_keras import tuning
from ich_keras.config import load_experiment, load_search
from ich_keras.tuning import tune
from tests.shard_files import write_shards
from tfrecords_tools.errors import InputError

SEARCH = """
experiment: {base}
objective: val_loss
tuner: {tuner}
{limits}
search:
  training.learning_rate: {{float: {{min: 1e-4, max: 1e-2, log: true}}}}
  model.dropout: {{choice: [0.0, 0.2]}}
"""
BASE = """
name: small
model: {widths: [4]}
training:
  max_steps: 4
  batch_size: 8
  learning_rate: 1e-3
  validate_every: 2
  log_every: 2
  figure_every: 1000
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=28, val=14).folder


def write_search(folder, tuner, limits):
    (folder / "base.yaml").write_text(BASE)
    path = folder / "search.yaml"
    path.write_text(SEARCH.format(base="base.yaml", tuner=tuner, limits=limits))
    return str(path)


@pytest.mark.parametrize(
    ("tuner", "limits"),
    [("random", "trials: 3"), ("bayesian", "trials: 3"), ("hyperband", ""), ("grid", "trials: 2")],
)
def test_each_tuner_ends_with_the_best_of_its_points(shards, tmp_path, tuner, limits):
    search = load_search(write_search(tmp_path, tuner, limits))
    result = tune(search, shards, tmp_path / "out")
    with (tmp_path / "out" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.trials
    assert result.value == pytest.approx(min(float(row["val_loss"]) for row in rows))
    for row in rows:
        assert 1e-4 <= float(row["training.learning_rate"]) <= 1e-2
        assert float(row["model.dropout"]) in (0.0, 0.2)
    best = load_experiment(str(tmp_path / "out" / "best.yaml"))
    assert best.training.learning_rate == result.point["training.learning_rate"]
    assert best.model.dropout == result.point["model.dropout"]


def test_a_search_begun_again_trains_nothing_twice(shards, tmp_path, monkeypatch):
    search = load_search(write_search(tmp_path, "random", "trials: 3"))
    first = tune(search, shards, tmp_path / "out")
    steps = []
    original = tuning.fit
    monkeypatch.setattr(
        tuning,
        "fit",
        lambda *a: (steps.append((a[2].last / "state.npz").exists()), original(*a))[1],
    )
    assert tune(search, shards, tmp_path / "out") == first
    assert steps == [True, True, True]


def test_the_samples_of_a_point_differ_in_their_seed(shards, tmp_path):
    limits = "trials: 1\nsamples_per_point: 2"
    tune(load_search(write_search(tmp_path, "random", limits)), shards, tmp_path / "out")
    files = sorted((tmp_path / "out" / "trials").rglob("experiment.yaml"))
    seeds = [yaml.safe_load(path.read_text())["seed"] for path in files]
    assert len(set(seeds)) == 2


def test_a_programming_error_ends_the_search_instead_of_failing_a_trial(
    shards, tmp_path, monkeypatch
):
    def broken(*_arguments):
        raise KeyError("a slip")

    monkeypatch.setattr(tuning, "fit", broken)
    search = load_search(write_search(tmp_path, "random", "trials: 3"))
    with pytest.raises(RuntimeError, match="a slip"):
        tune(search, shards, tmp_path / "out")


def test_a_fault_of_the_data_is_said_once_and_plainly(tmp_path):
    shards = write_shards(tmp_path, train=28).folder
    search = load_search(write_search(tmp_path, "random", "trials: 3"))
    with pytest.raises(InputError, match="holds 28 slices of train, and a training needs"):
        tune(search, shards, tmp_path / "out")


def test_a_diverging_point_fails_alone(shards, tmp_path):
    path = write_search(tmp_path, "grid", "")
    text = (tmp_path / "search.yaml").read_text()
    (tmp_path / "search.yaml").write_text(
        text.replace("{float: {min: 1e-4, max: 1e-2, log: true}}", "{choice: [1e-3, 1e30]}")
    )
    settings = ["model.normalization=none", "training.optimizer=sgd"]
    tune(load_search(path, settings), shards, tmp_path / "out")
    with (tmp_path / "out" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    failed = {float(row["training.learning_rate"]) for row in rows if row["failure"]}
    assert failed == {1e30}
    assert len(rows) == 4

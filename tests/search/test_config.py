"""Searches: what is read, and each refusal by its message."""

from pathlib import Path

import pytest

from ich_keras.experiment.experiment import load_experiment, with_values
from ich_keras.experiment.yaml_files import ConfigError
from ich_keras.search.config import load_search
from tests.support.experiment_files import MINIMAL, SEARCH, experiment, message, search


@pytest.mark.parametrize(("name", "batch_size"), [("basic", 4), ("halfres", 12)])
def test_the_searches_are_those_of_the_write_up(name, batch_size):
    loaded = load_search(f"{name}_hparams")
    assert loaded.base == load_experiment(name)
    assert {key: dimension.choice for key, dimension in loaded.search.items()} == {
        "training.learning_rate": (0.0005, 0.001, 0.01, 0.015, 0.02),
        "model.dropout": (0.15, 0.2, 0.25),
    }
    assert (loaded.tuner, loaded.objective, loaded.samples_per_point) == ("grid", "val_loss", 4)
    assert loaded.train_steps == 20_000
    assert loaded.base.training.batch_size == batch_size
    assert loaded.base.training.validation_slices == 1000 * batch_size


def test_a_search_is_read_around_its_experiments(folder):
    Path("over.yaml").write_text("seed: 7\n", encoding="utf-8")
    loaded = search(SEARCH.replace("base.yaml", "[base.yaml, over.yaml]"))
    assert loaded.name == "x"
    assert loaded.base == with_values(load_experiment("base.yaml"), {"seed": 7})
    assert loaded.search["training.learning_rate"].choice == (0.001, 0.002)


def test_overrides_of_a_search_reach_it_and_its_experiment(folder):
    loaded = search(SEARCH, "train_steps=3", "training.batch_size=7", "seed=9")
    assert loaded.train_steps == 3
    assert (loaded.base.training.batch_size, loaded.base.seed) == (7, 9)


def test_integers_and_floats_of_a_choice_all_become_floats(folder):
    loaded = search(SEARCH.replace("2e-3", "1"))
    assert [type(x) for x in loaded.search["training.learning_rate"].choice or ()] == [float, float]


def test_fit_and_tune_refer_to_each_other(folder):
    assert message(experiment, SEARCH) == (
        "x.yaml: is a search; start it with `ich-keras tune x.yaml`"
    )
    assert message(search, MINIMAL) == (
        "x.yaml: has no search; train it with `ich-keras fit x.yaml`"
    )


LEARNING_RATE = "search.training.learning_rate"
KIND = "expected numbers, strings or booleans, all of one type"


@pytest.mark.parametrize(
    ("dimension", "refusal"),
    [
        ("{choice: []}", f"{LEARNING_RATE}.choice: expected at least 1 item, got []"),
        ("{choice: [1e-3, x]}", f"{LEARNING_RATE}.choice: {KIND}, got [0.001, 'x']"),
        ("{choice: [1, true]}", f"{LEARNING_RATE}.choice: {KIND}, got [1, True]"),
        ("{choice: [null]}", f"{LEARNING_RATE}.choice: {KIND}, got [None]"),
        ("{choice: [1, 1]}", f"{LEARNING_RATE}.choice: expected no value twice, got [1, 1]"),
        (
            "{float: {min: 2, max: 1}}",
            f"{LEARNING_RATE}.float: expected min below max, got min 2 and max 1",
        ),
        (
            "{float: {min: 0, max: 1, log: true}}",
            f"{LEARNING_RATE}.float: expected min above 0 if log is true, got 0",
        ),
        (
            "{float: {min: 1, max: 4, log: true, step: 1}}",
            f"{LEARNING_RATE}.float: expected step above 1 if log is true, got 1",
        ),
        (
            "{int: {min: 1.5, max: 3}}",
            f"{LEARNING_RATE}.int.min: expected a valid integer, got 1.5",
        ),
        (
            "{choice: [1], fixed: 2}",
            f"{LEARNING_RATE}: expected exactly one of choice, int, float, fixed",
        ),
        (
            "{fixed: null}",
            f"{LEARNING_RATE}: expected exactly one of choice, int, float, fixed",
        ),
        (
            "{fixed: [1]}",
            f"{LEARNING_RATE}: expected fixed to be a number, a string or a boolean",
        ),
        (
            "{float: {min: -1, max: 1}}",
            "search: training.learning_rate: expected greater than 0, got -1.0",
        ),
        ("{choice: [a]}", "search: training.learning_rate: expected a valid number, got 'a'"),
    ],
)
def test_a_dimension_that_cannot_be_searched_is_refused(folder, dimension, refusal):
    text = f"experiment: base.yaml\nsearch:\n  training.learning_rate: {dimension}\n"
    assert message(search, text) == f"x.yaml: {refusal}"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            SEARCH.replace("learning_rate", "learning_rte"),
            "x.yaml: search: unknown key training.learning_rte,"
            " did you mean training.learning_rate?",
        ),
        (SEARCH + "triels: 5\n", "x.yaml: unknown key triels, did you mean trials?"),
        (
            SEARCH + "tuner: random\n",
            "x.yaml: trials: expected a number, tuner random has no end of its own",
        ),
        (
            SEARCH + "tuner: hyperband\ntrials: 3\n",
            "x.yaml: trials: expected none, tuner hyperband has a number of its own",
        ),
        ("experiment: base.yaml\nsearch: {}\n", "x.yaml: search: expected at least 1 item"),
        (SEARCH[22:], "x.yaml: experiment: expected an experiment file"),
        (
            SEARCH.replace("base.yaml", "{name: a}"),
            "x.yaml: experiment: expected a file or a list of files, got {'name': 'a'}",
        ),
        (
            SEARCH.replace("base.yaml", "nope.yaml"),
            "x.yaml: experiment: no such file nope.yaml, neither beside this file nor shipped",
        ),
    ],
)
def test_a_search_that_cannot_start_is_refused(folder, text, refusal):
    assert message(search, text) == refusal


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("trails=3", "unknown key trails, did you mean trials?"),
        ("training.batch=3", "unknown key training.batch, did you mean training.batch_size?"),
        ("train_steps=0", "train_steps: expected greater than or equal to 1, got 0"),
        ("model.dropout=2", "model.dropout: expected less than 1, got 2"),
    ],
)
def test_an_override_of_a_search_that_does_not_fit_is_refused(folder, override, refusal):
    assert message(search, SEARCH, override) == f"--set {override}: {refusal}"


PAIR_SEARCH = """
experiment: base.yaml
search:
{search}
"""


@pytest.mark.parametrize(
    ("search", "refused"),
    [
        (
            {"training.jit_compile": "{fixed: true}", "training.strategy": "{fixed: mirrored}"},
            True,
        ),
        ({"training.jit_compile": "{fixed: true}"}, False),
        (  # one pair of searched keys among many points that fit
            {
                "model.dropout": "{choice: [0.1, 0.2]}",
                "training.jit_compile": "{choice: [false, true]}",
                "training.strategy": "{choice: [one, mirrored]}",
            },
            True,
        ),
        (  # the pair never meets
            {
                "training.strategy": "{choice: [mirrored, one]}",
                "training.jit_compile": "{fixed: true, when: {training.strategy: [one]}}",
            },
            False,
        ),
    ],
)
def test_a_search_with_a_point_that_does_not_fit_is_refused(tmp_path, search, refused):
    base = "name: base\ntraining: {max_steps: 1, batch_size: 1, learning_rate: 1.0}\n"
    (tmp_path / "base.yaml").write_text(base)
    lines = "\n".join(f"  {key}: {value}" for key, value in search.items())
    path = tmp_path / "search.yaml"
    path.write_text(PAIR_SEARCH.format(search=lines))
    if refused:
        with pytest.raises(ConfigError, match=r"search\.yaml: search: training: jit_compile true"):
            load_search(str(path))
    else:
        load_search(str(path))


def test_values_of_a_key_with_two_nested_conditions_are_checked(tmp_path):
    base = "name: base\ntraining: {max_steps: 1, batch_size: 1, learning_rate: 1.0}\n"
    (tmp_path / "base.yaml").write_text(base)
    path = tmp_path / "search.yaml"
    search = {
        "training.optimizer": "{choice: [adamw, sgd]}",
        "model.dropout": "{choice: [0.1, 0.2], when: {training.optimizer: [sgd]}}",
        "data.balance": "{choice: [0.5, 2.0], when: {model.dropout: [0.2]}}",
    }
    lines = "\n".join(f"  {key}: {value}" for key, value in search.items())
    path.write_text(PAIR_SEARCH.format(search=lines))
    with pytest.raises(
        ConfigError, match=r"data\.balance: expected less than or equal to 1, got 2"
    ):
        load_search(str(path))


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("search: {data.shards: {choice: [a, b]}}", "search.data.shards: every point is trained"),
        (
            "search: {training.max_steps: {choice: [10, 20]}}",
            "search.training.max_steps: trainings of different lengths are not compared; set train",
        ),
        (
            "search: {training.validation_slices: {choice: [1, 2]}}",
            "search.training.validation_slices: scores on different slices cannot be compared",
        ),
        (
            "search: {training.loss: {choice: [mse, bce]}}",
            "objective val_loss and search.training.loss: values of different losses cannot be",
        ),
        (
            "search: {training.label_weights.any: {float: {min: 1, max: 3}}}",
            "objective val_loss and search.training.label_weights.any: values of different losses",
        ),
        (
            "tuner: hyperband\ntrain_steps: 2999\nsearch: {model.dropout: {choice: [0.1, 0.2]}}",
            "tuner hyperband and training.validate_every 1000: expected at least 3 validations in",
        ),
        (
            "search: {training.batch_size: {int: {min: 2, max: 4, step: 3}}}",
            "search.training.batch_size.int: expected step at most 2, from min to max, got 3",
        ),
        (
            "search: {training.batch_size: {int: {min: 2, max: 4, step: 3, log: true}}}",
            "search.training.batch_size.int: expected step at most 2, from min to max, got 3",
        ),
    ],
)
def test_a_search_whose_points_cannot_be_compared_or_do_not_differ_is_refused(
    folder, text, refusal
):
    assert message(search, f"experiment: base.yaml\n{text}\n").startswith(f"x.yaml: {refusal}")


@pytest.mark.parametrize(
    "text",
    [
        "objective: val_mean_auc\nsearch: {training.loss: {choice: [mse, bce]}}",
        "search: {training.loss: {fixed: bce}}",
        "search: {training.max_steps: {fixed: 10}, model.dropout: {choice: [0.1, 0.2]}}",
        "tuner: hyperband\ntrain_steps: 3000\nsearch: {model.dropout: {choice: [0.1, 0.2]}}",
    ],
)
def test_a_search_whose_points_can_be_compared_is_accepted(folder, text):
    search(f"experiment: base.yaml\n{text}\n")


def test_a_search_beside_no_experiment_starts_from_a_shipped_one(folder):
    """As the example of docs/reference/tuning.md, in a folder of its own."""
    found = search(SEARCH.replace("base.yaml", "halfres.yaml"))
    assert found.base.model == load_experiment("halfres").model

"""Experiments: each key is checked, each refusal has its message, and all is read back."""

import itertools
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ich_keras.experiment.experiment import (
    Experiment,
    experiment_to_yaml,
    load_experiment,
    with_values,
)
from ich_keras.experiment.sections import key_paths
from ich_keras.experiment.yaml_files import ConfigError
from ich_keras.search.config import load_search
from tests.support.experiment_files import MINIMAL, SEARCHES, SHIPPED, experiment, message

# --- the shipped files ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_file_loads_and_begins_with_command_cost_and_score(path):
    loaded = load_search(path.name) if path in SEARCHES else load_experiment(path.name)
    assert loaded.name == path.stem
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    for part in ("#   ich-keras ", "# Cost: ", "# Score: "):
        assert f"\n{part}" in comment


def test_the_files_of_the_write_up_and_the_demo_are_shipped():
    stems = {"basic", "halfres", "demo"}
    assert {path.stem for path in SHIPPED} >= stems | {f"{stem}_hparams" for stem in stems}


@pytest.mark.parametrize(
    ("name", "size", "widths", "dropout", "batch_size", "learning_rate"),
    [
        ("faithful_basic", 512, (128, 128, 128, 128), 0.0, 4, 2e-4),
        ("faithful_halfres", 256, (256, 192, 128, 64), 0.15, 12, 0.015),
    ],
)
def test_the_hyperparameters_are_those_of_the_write_up(
    name, size, widths, dropout, batch_size, learning_rate
):
    loaded = load_experiment(name)
    assert (loaded.data.size, loaded.model.widths, loaded.model.dropout) == (size, widths, dropout)
    assert (loaded.training.batch_size, loaded.training.learning_rate) == (
        batch_size,
        learning_rate,
    )
    assert (loaded.seed, loaded.training.loss) == (1498, "mse")
    assert (loaded.training.warmup_steps, loaded.training.weight_decay) == (256, 1e-5)
    assert loaded.training.figure_every == 10_000
    assert loaded.data.windows == ("brain",)


@pytest.mark.parametrize("name", ["basic", "halfres"])
def test_only_windows_widths_and_learning_rate_differ_from_the_write_up(name):
    ours, faithful = (load_experiment(x).model_dump() for x in (name, f"faithful_{name}"))
    for values in (ours, faithful):
        del values["name"], values["data"]["windows"]
        del values["model"]["widths"], values["training"]["learning_rate"]
    assert ours == faithful


def test_validation_steps_of_older_versions_become_slices(tmp_path, caplog):
    path = tmp_path / "old.yaml"
    path.write_text(
        "name: old\ntraining: {max_steps: 1, batch_size: 1, learning_rate: 1.0,"
        " validation_steps: 5}\nevaluation: {batch_size: 32}\n"
    )
    assert load_experiment(str(path)).training.validation_slices == 160
    assert (
        f"{path}: training.validation_steps is now training.validation_slices: 160" in caplog.text
    )
    path.write_text(path.read_text().replace("validation_steps: 5", "validation_steps: many"))
    with pytest.raises(ConfigError, match=r"unknown key training\.validation_steps, did you mean"):
        load_experiment(str(path))
    searched = tmp_path / "search.yaml"
    path.write_text(path.read_text().replace(", validation_steps: many", ""))
    searched.write_text(
        "experiment: old.yaml\nvalidation_steps: 7\nsearch: {model.dropout: {choice: [0.1, 0.2]}}\n"
    )
    assert load_search(str(searched)).validation_slices == 7 * 32


def test_the_demo_takes_shards_of_any_size():
    assert load_experiment("demo").data.size is None


# --- each key checked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("modle: {}\n", "x.yaml: unknown key modle, did you mean model?"),
        (
            "data: {windos: [brain]}\n",
            "x.yaml: unknown key data.windos, did you mean data.windows?",
        ),
        (
            "learning_rate: 1\n",
            "x.yaml: unknown key learning_rate, did you mean training.learning_rate?",
        ),
        (
            "data.size: 64\n",
            "x.yaml: unknown key data.size; in a file, write size below data, without a dot",
        ),
        (
            "zzz: 1\n",
            "x.yaml: unknown key zzz; known keys are name, seed, data, model, training, evaluation",
        ),
        ("data:\n", "x.yaml: data: expected `key: value` lines, got nothing"),
        ("data: 5\n", "x.yaml: data: expected `key: value` lines, got 5"),
        ("data: {size: 8}\n", "x.yaml: data.size: expected greater than or equal to 16, got 8"),
        ("data: {size: '64'}\n", "x.yaml: data.size: expected a valid integer, got '64'"),
        ("data: {windows: brain}\n", "x.yaml: data.windows: expected a list, got 'brain'"),
        ("data: {windows: []}\n", "x.yaml: data.windows: expected at least 1 item, got []"),
        ("model: {widths: [8, x]}\n", "x.yaml: model.widths: expected a valid integer, got 'x'"),
        ("model: {dropout: true}\n", "x.yaml: model.dropout: expected a valid number, got True"),
        ("model: {dropout: 1.0}\n", "x.yaml: model.dropout: expected less than 1, got 1.0"),
        ("seed: 010\n", "x.yaml: seed: expected a valid integer, got '010'"),
        ("seed: 4294967296\n", "x.yaml: seed: expected less than 4294967296, got 4294967296"),
        (
            "model: {pooling: mean}\n",
            "x.yaml: model.pooling: expected 'max', 'average' or 'logsumexp', got 'mean'",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(folder, text, refusal):
    assert message(experiment, MINIMAL + text) == refusal


def test_a_missing_value_is_named(folder):
    refusal = message(experiment, "name: a\ntraining: {max_steps: 5, batch_size: 2}\n")
    assert refusal == "x.yaml: training.learning_rate: is missing"


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_name_that_is_no_folder_is_refused(folder, name):
    assert message(experiment, MINIMAL.replace("name: a", f"name: '{name}'")).startswith(
        "x.yaml: name: expected text of the form "
    )


def test_all_faults_are_said_at_once_each_on_its_line(folder):
    refusal = message(experiment, MINIMAL + "data: {size: a}\nmodle: {}\n", "data.neighbours=x")
    assert refusal.splitlines() == [
        "x.yaml: data.size: expected a valid integer, got 'a'",
        "--set data.neighbours=x: data.neighbours: expected a valid integer, got 'x'",
        "x.yaml: unknown key modle, did you mean model?",
    ]


# --- --set ---------------------------------------------------------------------------------------


def test_overrides_replace_values_of_the_file_and_the_last_wins(folder):
    loaded = experiment(
        MINIMAL + "data: {size: 64, windows: [brain]}\n",
        "data.size=96",
        "data.size=128",
        "model.widths=[8, 16]",
        "data.augmentation.flip=true",
        "training.jit_compile=auto",
    )
    assert (loaded.data.size, loaded.data.windows) == (128, ("brain",))
    assert loaded.model.widths == (8, 16)
    assert loaded.data.augmentation.flip
    assert loaded.training.jit_compile == "auto"
    assert experiment(MINIMAL + "data: {size: 64}\n", "data.size=").data.size is None


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("seed", "expected key.path=value"),
        ("=1", "expected key.path=value"),
        ("data.size=[1", "the value is not YAML"),
        (
            "training.learning_rte=1",
            "unknown key training.learning_rte, did you mean training.learning_rate?",
        ),
        ("max_steps=1", "unknown key max_steps, did you mean training.max_steps?"),
        (
            "seed.x=1",
            "unknown key seed.x; known keys are name, seed, data, model, training, evaluation",
        ),
        ("data=5", "data: expected `key: value` lines, got 5"),
        (
            "training.jit_compile=yes",
            "training.jit_compile: expected a valid boolean or 'auto', got 'yes'",
        ),
        (
            "training.weight_decay=1e999",
            "training.weight_decay: expected a finite number, got inf",
        ),
    ],
)
def test_a_refused_override_is_quoted_as_typed(folder, override, refusal):
    assert message(experiment, MINIMAL, override) == f"--set {override}: {refusal}"


# --- read back and changed -----------------------------------------------------------------------

SHARE = st.floats(0, 1, exclude_max=True)
COUNT = st.integers(1, 10**9)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)
TRAPS = st.sampled_from(["1e3", "no", "null", "010", "1_000", "2026-01-01", ".5", "true", "0x1"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": TRAPS.filter(lambda text: text[0].isalnum())
        | st.from_regex(r"\A[a-z0-9_][A-Z0-9_.-]{0,9}\Z"),
        "seed": st.integers(0, 2**32 - 1),
        "data.shards": st.none() | TEXT | TRAPS,
        "data.windows": st.none() | st.lists(TEXT | TRAPS, min_size=1, max_size=4, unique=True),
        "data.augmentation.grey": SHARE,
        "model.widths": st.lists(COUNT, min_size=1, max_size=5),
        "model.dropout": SHARE,
        "training.learning_rate": st.floats(1e-300, 1e300),
        "training.jit_compile": st.sampled_from(["auto", False]),
        "training.patience": st.none() | COUNT,
    },
)


@settings(deadline=None, max_examples=40)
@given(CHANGES)
def test_a_resolved_experiment_reads_back_to_an_equal_one(tmp_path_factory, changes):
    changed = with_values(load_experiment("demo"), changes)
    for key, value in changes.items():
        found = changed
        for part in key.split("."):
            found = getattr(found, part)
        assert found == (tuple(value) if isinstance(value, list) else value)
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    path.write_text(experiment_to_yaml(changed), encoding="utf-8")
    assert load_experiment(str(path)) == changed


def leaf_paths(content, prefix=""):
    """The key path of every value that is not a mapping."""
    if not isinstance(content, dict):
        return [prefix[:-1]]
    return [path for key, value in content.items() for path in leaf_paths(value, f"{prefix}{key}.")]


def test_a_resolved_experiment_is_complete_and_plain_yaml():
    written = yaml.safe_load(experiment_to_yaml(load_experiment("halfres")))
    paths = leaf_paths(written)
    sections = {path.rpartition(".")[0] for path in paths} | {"data"}
    assert {*paths} == {*key_paths(Experiment)} - sections
    assert written["training"]["weight_decay"] == 1e-5  # a number to any reader of YAML


def test_changed_values_are_checked():
    loaded = load_experiment("demo")
    assert with_values(loaded, {"model.dropout": 0.5}).model.dropout == 0.5
    assert loaded.model.dropout == 0.0
    assert message(with_values, loaded, {"model.dropout": 2}) == (
        "model.dropout: expected less than 1, got 2"
    )
    assert message(with_values, loaded, {"model.droput": 0}) == (
        "unknown key model.droput, did you mean model.dropout?"
    )


def test_an_experiment_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        load_experiment("demo").training.max_steps = 1  # type: ignore[misc]


def test_reading_an_experiment_loads_nothing_heavy():
    code = (
        "import sys; from ich_keras.experiment.experiment import load_experiment\n"
        "load_experiment('halfres')\n"
        "print([m for m in ('tensorflow', 'keras', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PAIRS = [
    (
        ["training.jit_compile=true", "training.strategy=mirrored"],
        "training: jit_compile true and strategy mirrored exclude each other",
    ),
    (
        ["data.size=32", "model.widths=[4, 4, 4, 4, 4, 4]"],
        "data.size 32 and model.widths of 6 stages exclude each other",
    ),
    (["data.windows=[brain, brain]"], "data.windows: expected no window twice"),
]


@pytest.mark.parametrize(("overrides", "refusal"), PAIRS)
def test_values_that_exclude_each_other_are_refused(overrides, refusal):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as error:
        load_experiment("demo", overrides)
    assert refusal in str(error.value)


def test_xla_and_determinism_go_together():
    load_experiment("demo", ["training.jit_compile=true", "training.deterministic=true"])

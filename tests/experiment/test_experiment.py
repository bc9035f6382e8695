"""Experiment files: what is merged, what is read back, and each refusal by its message."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ich_keras.experiment.experiment import (
    ConfigError,
    Experiment,
    Search,
    experiment_to_yaml,
    find_experiment,
    load_experiment,
    load_search,
    with_values,
)
from ich_keras.experiment.sections import key_paths
from ich_keras.experiment.yaml_files import Values, merge
from tests.support.paths import ROOT

EXPERIMENTS = ROOT / "experiments"
SHIPPED = sorted((EXPERIMENTS / "classification").glob("*.yaml"))
SEARCHES = [path for path in SHIPPED if path.stem.endswith("_hparams")]

MINIMAL = "name: a\ntraining: {max_steps: 5, batch_size: 2, learning_rate: 1e-3}\n"
SEARCH = "experiment: base.yaml\nsearch: {training.learning_rate: {choice: [1e-3, 2e-3]}}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with an experiment in it, so that messages hold short paths."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(MINIMAL, encoding="utf-8")
    return tmp_path


def experiment(text: str, *overrides: str) -> Experiment:
    Path("x.yaml").write_text(text, encoding="utf-8")
    return load_experiment("x.yaml", overrides)


def search(text: str, *overrides: str) -> Search:
    Path("x.yaml").write_text(text, encoding="utf-8")
    return load_search("x.yaml", overrides)


def message(load, *arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments)
    return str(caught.value)


# --- the shipped files ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_file_loads_and_opens_with_command_cost_and_score(path):
    loaded = load_search(path.name) if path in SEARCHES else load_experiment(path.name)
    assert loaded.name == path.stem
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    for part in ("#   ich-keras ", "# Cost: ", "# Score: "):
        assert f"\n{part}" in comment


def test_there_are_the_files_of_the_write_up_and_the_demo():
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
def test_beside_the_write_up_only_windows_widths_and_learning_rate_differ(name):
    ours, faithful = (load_experiment(x).model_dump() for x in (name, f"faithful_{name}"))
    for values in (ours, faithful):
        del values["name"], values["data"]["windows"]
        del values["model"]["widths"], values["training"]["learning_rate"]
    assert ours == faithful


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


def test_batches_of_a_validation_are_read_as_slices(tmp_path, caplog):
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


# --- found by name -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["halfres", "halfres.yaml", "classification/halfres.yaml"])
def test_a_shipped_experiment_is_found_by_its_name_far_from_the_checkout(folder, name):
    assert find_experiment(name) == EXPERIMENTS / "classification" / "halfres.yaml"


def test_a_file_of_the_working_directory_goes_before_a_shipped_one(folder):
    Path("halfres.yaml").write_text(MINIMAL, encoding="utf-8")
    assert load_experiment("halfres.yaml").name == "a"


@pytest.mark.parametrize("name", ["halfers", "experiments/classification/halfres.yaml"])
def test_an_unknown_name_lists_the_known_ones_and_the_nearest(folder, name):
    told = message(load_experiment, name)
    assert told.startswith(f"no experiment {name}: no such file")
    assert "did you mean halfres.yaml?" in told
    assert told.endswith("there are " + ", ".join(path.name for path in SHIPPED))


# --- include -------------------------------------------------------------------------------------


def test_the_later_include_wins_and_the_file_itself_last(folder):
    Path("inner").mkdir()
    Path("inner/one.yaml").write_text(
        "include: two.yaml\nseed: 1\ndata: {size: 64, windows: [brain, bone]}\n", encoding="utf-8"
    )
    Path("inner/two.yaml").write_text("seed: 2\nmodel: {dropout: 0.2}\n", encoding="utf-8")
    Path("three.yaml").write_text("data: {windows: [stroke], size: 96}\n", encoding="utf-8")
    loaded = experiment("include: [inner/one.yaml, three.yaml]\ndata: {size: 128}\n" + MINIMAL)
    assert loaded.seed == 1
    assert loaded.model.dropout == 0.2
    assert loaded.data.windows == ("stroke",)  # replaced, not joined
    assert loaded.data.size == 128


@pytest.mark.parametrize(
    ("include", "told"),
    [
        ("nope.yaml", "x.yaml: include: no such file nope.yaml; paths are relative to this file"),
        ("x.yaml", "x.yaml: include: x.yaml is what includes this file"),
        ("loop.yaml", "loop.yaml: include: x.yaml is what includes this file"),
        ("5", "x.yaml: include: expected a file or a list of files, got 5"),
        ("", "x.yaml: include: expected a file or a list of files, got None"),
        ("{a: 1}", "x.yaml: include: expected a file or a list of files, got {'a': 1}"),
    ],
)
def test_an_include_that_cannot_be_read_is_refused(folder, include, told):
    Path("loop.yaml").write_text("include: x.yaml\n", encoding="utf-8")
    assert message(experiment, f"include: {include}\n{MINIMAL}").endswith(told)


def test_a_fault_is_said_of_the_file_that_holds_it(folder):
    Path("common.yaml").write_text("data: {size: big}\n", encoding="utf-8")
    told = message(experiment, "include: common.yaml\ndata: {windows: [brain]}\n" + MINIMAL)
    assert told == "common.yaml: data.size: expected a valid integer, got 'big'"


KEYS = st.sampled_from("abc")
MAPPINGS = st.recursive(
    st.dictionaries(KEYS, st.integers() | st.lists(st.integers()), min_size=1),
    lambda inner: st.dictionaries(KEYS, st.integers() | inner, min_size=1),
    max_leaves=8,
)


def leaves(content, path=()):
    """Key path to value, for every value that is not a mapping; the reference for merging."""
    if not isinstance(content, dict):
        return {path: content}
    found = {}
    for key, value in content.items():
        found |= leaves(value, (*path, key))
    return found


@given(MAPPINGS, MAPPINGS)
def test_merging_keeps_what_the_later_one_does_not_speak_of(base, over):
    merged = leaves(merge(Values(base, {}), Values(over, {})).content)
    later = leaves(over)

    def hidden(path):
        """Whether the later mapping has a value at, above or below the path."""
        return any(path[: len(other)] == other or other[: len(path)] == path for other in later)

    kept = {path: value for path, value in leaves(base).items() if not hidden(path)}
    assert merged == kept | later


# --- YAML ----------------------------------------------------------------------------------------


def test_numbers_are_read_as_in_yaml_1_2(folder):
    # PyYAML by itself gives the text '1e-3'.
    assert experiment(MINIMAL).training.learning_rate == 0.001
    assert experiment(MINIMAL, "training.learning_rate=2E-4").training.learning_rate == 0.0002
    assert experiment(MINIMAL, "training.max_steps=38_000").training.max_steps == 38_000
    assert experiment(MINIMAL, "model.dropout=0").model.dropout == 0.0


def test_words_stay_words(folder):
    # PyYAML by itself gives False and a date.
    assert experiment(MINIMAL.replace("name: a", "name: no")).name == "no"
    assert experiment(MINIMAL.replace("name: a", "name: 2026-01-01")).name == "2026-01-01"
    assert experiment(MINIMAL, "data.shards=off").data.shards == "off"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.yaml: expected `key: value` lines"),
        ("- a\n", "x.yaml: expected `key: value` lines"),
        (MINIMAL + "name: b\n", "x.yaml: line 3: name stands twice"),
        (MINIMAL + "model: {blocks: 1, blocks: 2}\n", "x.yaml: line 3: blocks stands twice"),
        (MINIMAL + "1: 2\n", "x.yaml: line 3: expected a name before the colon"),
        (MINIMAL + "? [a]\n: 2\n", "x.yaml: line 3: expected a name before the colon"),
        (
            MINIMAL + "\tseed: 1\n",
            "x.yaml: line 3: found character '\\t' that cannot start any token; indent with spaces",
        ),
    ],
)
def test_what_is_not_a_mapping_of_names_is_refused_with_its_line(folder, text, told):
    assert message(experiment, text) == told


def test_a_file_that_is_not_text_is_refused(folder):
    Path("x.yaml").write_bytes(b"\xff\xfe\x00")
    assert message(load_experiment, "x.yaml").startswith("x.yaml: not YAML: ")


# --- each key checked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
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
            "x.yaml: unknown key data.size; in a file, a section a line",
        ),
        (
            "zzz: 1\n",
            "x.yaml: unknown key zzz; known are name, seed, data, model, training, evaluation",
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
def test_a_value_that_does_not_fit_is_refused(folder, text, told):
    assert message(experiment, MINIMAL + text) == told


def test_a_missing_value_is_named(folder):
    told = message(experiment, "name: a\ntraining: {max_steps: 5, batch_size: 2}\n")
    assert told == "x.yaml: training.learning_rate: is missing"


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_name_that_is_no_folder_is_refused(folder, name):
    assert message(experiment, MINIMAL.replace("name: a", f"name: '{name}'")).startswith(
        "x.yaml: name: expected text of the form "
    )


def test_all_faults_are_said_at_once_each_on_its_line(folder):
    told = message(experiment, MINIMAL + "data: {size: a}\nmodle: {}\n", "data.neighbours=x")
    assert told.splitlines() == [
        "x.yaml: data.size: expected a valid integer, got 'a'",
        "--set data.neighbours=x: data.neighbours: expected a valid integer, got 'x'",
        "x.yaml: unknown key modle, did you mean model?",
    ]


# --- --set ---------------------------------------------------------------------------------------


def test_overrides_go_before_the_file_and_the_last_wins(folder):
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
    ("override", "told"),
    [
        ("seed", "expected key.path=value"),
        ("=1", "expected key.path=value"),
        ("data.size=[1", "the value is not YAML"),
        (
            "training.learning_rte=1",
            "unknown key training.learning_rte, did you mean training.learning_rate?",
        ),
        ("max_steps=1", "unknown key max_steps, did you mean training.max_steps?"),
        ("seed.x=1", "unknown key seed.x; known are name, seed, data, model, training, evaluation"),
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
def test_an_override_that_does_not_fit_is_refused_as_it_was_typed(folder, override, told):
    assert message(experiment, MINIMAL, override) == f"--set {override}: {told}"


# --- searches ------------------------------------------------------------------------------------


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


def test_whole_and_broken_numbers_of_a_choice_are_one_kind(folder):
    loaded = search(SEARCH.replace("2e-3", "1"))
    assert [type(x) for x in loaded.search["training.learning_rate"].choice or ()] == [float, float]


def test_fit_and_tune_point_at_each_other(folder):
    assert message(experiment, SEARCH) == (
        "x.yaml: is a search; start it with `ich-keras tune x.yaml`"
    )
    assert message(search, MINIMAL) == (
        "x.yaml: has no search; train it with `ich-keras fit x.yaml`"
    )


LEARNING_RATE = "search.training.learning_rate"
KIND = "expected numbers, texts or booleans, all of one kind"


@pytest.mark.parametrize(
    ("dimension", "told"),
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
            f"{LEARNING_RATE}.float: expected min above 0 where log is true, got 0",
        ),
        (
            "{float: {min: 1, max: 4, log: true, step: 1}}",
            f"{LEARNING_RATE}.float: expected step above 1 where log is true, got 1",
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
            f"{LEARNING_RATE}: expected fixed to be a number, a text or a boolean",
        ),
        (
            "{float: {min: -1, max: 1}}",
            "search: training.learning_rate: expected greater than 0, got -1.0",
        ),
        ("{choice: [a]}", "search: training.learning_rate: expected a valid number, got 'a'"),
    ],
)
def test_a_dimension_that_cannot_be_searched_is_refused(folder, dimension, told):
    text = f"experiment: base.yaml\nsearch:\n  training.learning_rate: {dimension}\n"
    assert message(search, text) == f"x.yaml: {told}"


@pytest.mark.parametrize(
    ("text", "told"),
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
        (SEARCH[22:], "x.yaml: experiment: expected a file to search around"),
        (
            SEARCH.replace("base.yaml", "{name: a}"),
            "x.yaml: experiment: expected a file or a list of files, got {'name': 'a'}",
        ),
        (
            SEARCH.replace("base.yaml", "nope.yaml"),
            "x.yaml: experiment: no such file nope.yaml; paths are relative to this file",
        ),
    ],
)
def test_a_search_that_cannot_start_is_refused(folder, text, told):
    assert message(search, text) == told


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trails=3", "unknown key trails, did you mean trials?"),
        ("training.batch=3", "unknown key training.batch, did you mean training.batch_size?"),
        ("train_steps=0", "train_steps: expected greater than or equal to 1, got 0"),
        ("model.dropout=2", "model.dropout: expected less than 1, got 2"),
    ],
)
def test_an_override_of_a_search_that_does_not_fit_is_refused(folder, override, told):
    assert message(search, SEARCH, override) == f"--set {override}: {told}"


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


def test_a_resolved_experiment_is_complete_and_plain_yaml():
    written = yaml.safe_load(experiment_to_yaml(load_experiment("halfres")))
    paths = [".".join(path) for path in leaves(written)]
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
        ["training.jit_compile=true"],
        "training: jit_compile true and deterministic true exclude each other",
    ),
    (
        ["training.jit_compile=true", "training.deterministic=false", "training.strategy=mirrored"],
        "training: jit_compile true and strategy mirrored exclude each other",
    ),
    (
        ["data.size=32", "model.widths=[4, 4, 4, 4, 4, 4]"],
        "data.size 32 and model.widths of 6 stages exclude each other",
    ),
    (["data.windows=[brain, brain]"], "data.windows: expected no window twice"),
]


@pytest.mark.parametrize(("overrides", "said"), PAIRS)
def test_keys_that_cannot_go_together_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as error:
        load_experiment("demo", overrides)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "overrides", [["training.jit_compile=true", "training.deterministic=false"]]
)
def test_keys_that_can_go_together_are_taken(overrides):
    load_experiment("demo", overrides)


PAIR_SEARCH = """
experiment: base.yaml
search:
{search}
"""


@pytest.mark.parametrize(
    ("search", "refused"),
    [
        (
            {"training.jit_compile": "{fixed: true}", "training.deterministic": "{fixed: false}"},
            False,
        ),
        ({"training.jit_compile": "{fixed: true}"}, True),
        (  # one pair of searched keys among many points that fit
            {
                "model.dropout": "{choice: [0.1, 0.2]}",
                "training.jit_compile": "{choice: [false, true]}",
                "training.deterministic": "{choice: [false, true]}",
            },
            True,
        ),
        (  # the pair never meets
            {
                "training.deterministic": "{choice: [false, true]}",
                "training.jit_compile": "{fixed: true, when: {training.deterministic: [false]}}",
            },
            False,
        ),
    ],
)
def test_a_search_is_refused_if_one_of_its_points_cannot_be(tmp_path, search, refused):
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


def test_values_of_a_key_behind_two_conditions_are_checked_too(tmp_path):
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

"""Experiment files: how they are found, merged and read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_keras.experiment.experiment import load_experiment
from ich_keras.experiment.yaml_files import Values, find_experiment, merge
from tests.support.experiment_files import EXPERIMENTS, MINIMAL, SHIPPED, experiment, message

# --- found by name -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["halfres", "halfres.yaml", "classification/halfres.yaml"])
def test_a_shipped_experiment_is_found_by_its_name_far_from_the_checkout(folder, name):
    assert find_experiment(name) == EXPERIMENTS / "classification" / "halfres.yaml"


def test_a_file_in_the_working_directory_takes_precedence_over_a_shipped_one(folder):
    Path("halfres.yaml").write_text(MINIMAL, encoding="utf-8")
    assert load_experiment("halfres.yaml").name == "a"


@pytest.mark.parametrize("name", ["halfers", "experiments/classification/halfres.yaml"])
def test_an_unknown_name_lists_the_known_ones_and_the_nearest(folder, name):
    refusal = message(load_experiment, name)
    assert refusal.startswith(f"no experiment {name}: no such file")
    assert "did you mean halfres.yaml?" in refusal
    assert refusal.endswith("choose one of: " + ", ".join(path.name for path in SHIPPED))


# --- include -------------------------------------------------------------------------------------


def test_later_includes_win_and_the_file_itself_comes_last(folder):
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
    ("include", "refusal"),
    [
        (
            "nope.yaml",
            "x.yaml: include: no such file nope.yaml, neither beside this file nor shipped",
        ),
        ("x.yaml", "x.yaml: include: x.yaml already includes this file"),
        ("loop.yaml", "loop.yaml: include: x.yaml already includes this file"),
        ("5", "x.yaml: include: expected a file or a list of files, got 5"),
        ("", "x.yaml: include: expected a file or a list of files, got None"),
        ("{a: 1}", "x.yaml: include: expected a file or a list of files, got {'a': 1}"),
    ],
)
def test_an_include_that_cannot_be_read_is_refused(folder, include, refusal):
    Path("loop.yaml").write_text("include: x.yaml\n", encoding="utf-8")
    assert message(experiment, f"include: {include}\n{MINIMAL}").endswith(refusal)


def test_a_fault_is_said_of_the_file_that_holds_it(folder):
    Path("common.yaml").write_text("data: {size: big}\n", encoding="utf-8")
    refusal = message(experiment, "include: common.yaml\ndata: {windows: [brain]}\n" + MINIMAL)
    assert refusal == "common.yaml: data.size: expected a valid integer, got 'big'"


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
def test_merging_keeps_what_the_later_mapping_does_not_set(base, over):
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


def test_words_are_read_as_text(folder):
    # PyYAML by itself gives False and a date.
    assert experiment(MINIMAL.replace("name: a", "name: no")).name == "no"
    assert experiment(MINIMAL.replace("name: a", "name: 2026-01-01")).name == "2026-01-01"
    assert experiment(MINIMAL, "data.shards=off").data.shards == "off"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "x.yaml: expected `key: value` lines"),
        ("- a\n", "x.yaml: expected `key: value` lines"),
        (MINIMAL + "name: b\n", "x.yaml: line 3: name appears twice"),
        (MINIMAL + "model: {blocks: 1, blocks: 2}\n", "x.yaml: line 3: blocks appears twice"),
        (MINIMAL + "1: 2\n", "x.yaml: line 3: expected a name before the colon"),
        (MINIMAL + "? [a]\n: 2\n", "x.yaml: line 3: expected a name before the colon"),
        (
            MINIMAL + "\tseed: 1\n",
            "x.yaml: line 3: found character '\\t' that cannot start any token; indent with spaces",
        ),
    ],
)
def test_a_file_that_is_no_mapping_of_names_is_refused_with_its_line(folder, text, refusal):
    assert message(experiment, text) == refusal


def test_a_file_that_is_not_text_is_refused(folder):
    Path("x.yaml").write_bytes(b"\xff\xfe\x00")
    assert message(load_experiment, "x.yaml").startswith("x.yaml: not YAML: ")

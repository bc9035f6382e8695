"""Hostile folders and archives: no crash, no hang, and no slice or file lost without a word."""

import json
import sys
from pathlib import Path

import pytest

from ich_keras.data import sources
from tests.fuzzing.fuzz_trees import fuzz_trees
from tests.fuzzing.hostile_trees import make_tree
from tests.fuzzing.tree_judge import DUE, TREE, judge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits by process and by /proc")

SEED = 0  # other folders are for `make fuzz`


@pytest.mark.parametrize("inputs", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_hostile_folders_cost_only_their_hostile_files(inputs):
    faults = [x for x in fuzz_trees(SEED, range(inputs)) if x.outcome != "answered"]
    assert not faults, "\n".join(map(str, faults))


def tree(tmp_path: Path) -> Path:
    (tmp_path / TREE).mkdir()
    due = make_tree(tmp_path / TREE, SEED, 0)
    (tmp_path / DUE).write_text(json.dumps(sorted(due)))
    return tmp_path


def test_a_lost_slice_would_be_found_out(tmp_path, monkeypatch):
    folder = tree(tmp_path)
    assert judge(folder)[0] == "answered"
    monkeypatch.setattr(sources, "_is_data", lambda name: "whole" not in name)
    assert judge(folder)[0] == "slices lost"


def test_a_file_left_out_without_a_word_would_be_found_out(tmp_path, monkeypatch):
    folder = tree(tmp_path)
    (folder / TREE / "readme.txt").write_text("no slice")
    assert judge(folder)[0] == "answered"
    monkeypatch.setattr(sources, "_is_data", lambda name: not name.endswith(".txt"))
    assert judge(folder) == ("files lost", "Counter({'readme.txt': 1})")

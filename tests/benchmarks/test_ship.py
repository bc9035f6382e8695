"""The folder of a shipped network is made of its run alone."""

import json

import numpy as np
import pytest

from benchmarks.ship import NOTICE, ship
from ich_keras.evaluation.run_scorer import RunScorer
from ich_keras.run.folder import RunFolder
from ich_keras.run.shipped import find_run
from ich_keras.run.state import read_position
from ich_keras.scores.cases import make_cases
from ich_keras.scores.metrics import evaluate_scores


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A trained run, which the shipped network is too, with scores."""
    run = RunFolder(find_run("phantom").path, tmp_path / "results")
    labels = np.eye(6, dtype=int).repeat(20, axis=0)
    labels[:100, 5] = 1
    cases = make_cases(labels, labels * 0.8, np.arange(120), draws=10)
    scores = evaluate_scores(cases, 0.5) | {"checkpoint_step": read_position(run).best_step}
    run.evaluation.mkdir(parents=True)
    (run.evaluation / "hospital-a.json").write_text(json.dumps(scores), encoding="utf-8")
    return run


def test_the_same_run_gives_the_same_folder_which_is_a_run_again(run, tmp_path):
    contents = []
    for networks in (tmp_path / "first", tmp_path / "second"):
        shipped = ship(run, "mine", networks)
        files = sorted(x for x in shipped.path.rglob("*") if x.is_file())
        contents.append({x.relative_to(networks): x.read_bytes() for x in files})
    assert contents[0] == contents[1]
    assert RunScorer(shipped).experiment.name == "mine"
    assert shipped.notice == NOTICE
    card = shipped.card.read_text("utf-8")
    assert "### hospital-a" in card
    assert "| subdural | 20 | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |" in card


def test_scores_of_another_checkpoint_are_not_in_the_card(run, tmp_path):
    path = run.evaluation / "hospital-a.json"
    old = json.loads(path.read_text("utf-8")) | {"checkpoint_step": 1}
    path.write_text(json.dumps(old), encoding="utf-8")
    card = ship(run, "mine", tmp_path / "networks").card.read_text("utf-8")
    assert "### hospital-a" not in card

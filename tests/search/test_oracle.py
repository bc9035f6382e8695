"""KerasTuner oracles that survive interruptions, drop dead workers and stop after failures."""

import errno
import json
import os
import random
import shutil
import threading
from dataclasses import asdict
from unittest.mock import Mock

import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import HyperbandOracle

from ich_keras.run.folder import RunError, write_json
from ich_keras.search.config import load_search
from ich_keras.search.journal import Begin, Journal
from ich_keras.search.oracle import JournaledOracle, make_oracle
from ich_keras.search.space import experiment_of, number_of_points, point_of
from ich_keras.search.training_process import Outcome
from ich_keras.search.tune import _Chief
from ich_keras.search.worker import SearchTask
from tests.support.small_search import GRID, write_grid, write_search, write_space

TUNERS = {
    "grid": "",
    "random": "trials: 12",
    "bayesian": "trials: 7",
    "hyperband": "train_steps: 18",
}
CONDITIONAL = """
experiment: base.yaml
tuner: grid
search:
  training.optimizer: {choice: [adamw, sgd]}
  model.dropout: {choice: [0.1, 0.2], when: {training.optimizer: [sgd]}}
"""


def opened(search, folder, identity=None) -> JournaledOracle:
    identity = identity or search.model_dump(mode="json")
    oracle = make_oracle(search, Journal(folder / "journal.jsonl", identity))
    oracle._set_project_dir(str(folder / "oracle"), "test")
    oracle.restore()
    return oracle


def loss_of(trial) -> float:
    """Returns a score that depends on the point alone."""
    return random.Random(repr(sorted(trial.hyperparameters.values.items()))).random()


def end(oracle, trial, loss=None) -> None:
    loss = loss_of(trial) if loss is None else loss
    oracle.update_trial(trial.trial_id, {"val_loss": loss})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def finish(oracle, workers) -> dict[str, dict]:
    """Lets workers take turns until no trial is left; returns the values of every trial."""
    asking = list(workers)
    under_way: dict = {}
    while asking or under_way:
        for worker in list(asking):
            trial = oracle.create_trial(worker)
            if trial.status == TrialStatus.STOPPED:
                asking.remove(worker)
            elif trial.status == TrialStatus.RUNNING:
                under_way[worker] = trial
        for worker in list(under_way):
            end(oracle, under_way.pop(worker))
    return {x: trial.hyperparameters.values for x, trial in oracle.trials.items()}


def space(folder, tuner):
    if tuner == "grid":
        dropout = "\n  model.dropout: {choice: [0.0, 0.2]}\n"
        text = GRID.format(rates="1e-4, 1e-3, 1e-2, 1e-1, 1", limits="")
        return load_search(write_search(folder, text.rstrip() + dropout))
    return load_search(write_space(folder, tuner, TUNERS[tuner]))


@pytest.mark.parametrize(
    "tuner",
    [pytest.param(x, marks=pytest.mark.slow if x == "bayesian" else ()) for x in TUNERS],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_interrupted_after_any_event_tries_the_same_points(tmp_path, tuner, workers):
    names = [f"worker_{i}" for i in range(workers)]
    search = space(tmp_path, tuner)
    (tmp_path / "whole").mkdir()
    expected = finish(opened(search, tmp_path / "whole"), names)
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    assert len(expected) > 5
    every = 5 if tuner == "bayesian" else 3  # each event refits its Gaussian process
    for events in range(1, len(lines), every):
        folder = tmp_path / str(events)
        folder.mkdir()
        (folder / "journal.jsonl").write_text("".join(lines[:events]) + lines[events][:10])
        found = finish(opened(search, folder), names)
        if workers == 1 or tuner in ("grid", "random"):  # the others follow from who was first
            assert sorted(map(str, found.values())) == sorted(map(str, expected.values()))
        ended = (folder / "journal.jsonl").read_text().count('"event": "end"')
        assert ended == len(found)
        before = [x for x in lines[1:events] if '"begin"' in x]
        assert (folder / "journal.jsonl").read_text().splitlines(keepends=True)[1:events] == lines[
            1:events
        ]
        assert len(found) >= len(before)


FEW = """
experiment: base.yaml
tuner: {tuner}
{limits}
search:
  training.learning_rate: {{choice: [1e-4, 1e-3, 1e-2, 1e-1]}}
  model.dropout: {{choice: [0.0, 0.1, 0.2]}}
"""


def few_points(folder, tuner, limits="", seed=0):
    """Twelve points, so that random draws soon find no new one."""
    text = FEW.format(tuner=tuner, limits=limits)
    return load_search(write_search(folder, text), [f"seed={seed}"])


def until_idle(oracle, workers) -> str:
    """Begins trials and ends all but one until a worker is idle; returns its name."""
    busy = oracle.create_trial("busy")
    while True:
        for worker in workers:
            trial = oracle.create_trial(worker)
            if trial.status == TrialStatus.IDLE:
                assert busy.status == TrialStatus.RUNNING
                return worker
            end(oracle, trial)


@pytest.mark.parametrize("tuner", ["grid", "hyperband"])
def test_requests_of_an_idle_worker_change_nothing(tmp_path, shards, tuner):
    search = few_points(tmp_path, tuner, "train_steps: 18" if tuner == "hyperband" else "")
    lead = _Chief(SearchTask(search, shards, tmp_path / "out"))
    worker = until_idle(lead.oracle, ["one", "two"])
    files = [tmp_path / "out" / name for name in ("journal.jsonl", "trials.csv")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    for _ in range(50):
        assert lead.oracle.create_trial(worker).status == TrialStatus.IDLE
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    (tmp_path / "again").mkdir()
    shutil.copy(files[0], tmp_path / "again" / "journal.jsonl")
    identity = json.loads(files[0].read_text().splitlines()[0])
    again = opened(search, tmp_path / "again", identity)
    end(lead.oracle, lead.oracle.ongoing_trials["busy"])
    assert finish(again, ["one"]) == finish(lead.oracle, ["one"])


def test_the_results_of_an_ended_trial_are_read_once(tmp_path, shards):
    task = SearchTask(few_points(tmp_path, "grid", ""), shards, tmp_path / "out")
    chief = _Chief(task)
    trial = chief.oracle.create_trial("one")
    samples = task.samples(chief.oracle, trial)
    end(chief.oracle, trial, loss=0.5)
    assert np.isnan(chief.rows()[0].mean)  # the results are not visible yet
    for sample in samples:
        sample.outcome.parent.mkdir(parents=True, exist_ok=True)
        write_json(sample.outcome, asdict(Outcome("done", scores={"val_loss": 0.5})))
    (row,) = chief.rows()
    assert (row.mean, row.state) == (0.5, "done")
    for sample in samples:
        sample.outcome.unlink()
    assert chief.rows() == [row]


def test_the_journal_restores_the_points_after_a_worker_was_stopped(tmp_path):
    """Random draws may find no new point for one worker, but one for the next."""
    stopped_early = 0
    for seed in range(15):
        folder = tmp_path / str(seed)
        folder.mkdir()
        search = few_points(folder, "random", "trials: 12", seed)
        oracle = opened(search, folder)
        oracle.create_trial("busy")
        for number in range(30):  # workers that come one after the other
            trial = oracle.create_trial(f"worker_{number}")
            if trial.status == TrialStatus.RUNNING:
                end(oracle, trial)
        stopped_early += len(oracle.trials) < 12
        assert list(opened(search, folder).trials) == list(oracle.trials)
    assert stopped_early


def test_a_journal_with_idle_events_of_older_versions_is_read(tmp_path):
    """Every request changed the oracle of older versions, which therefore recorded it."""
    search = few_points(tmp_path, "hyperband", "train_steps: 18")
    oracle = opened(search, tmp_path)
    oracle.create_trial("busy")
    idle = 0
    while idle < 20:
        trial = HyperbandOracle.create_trial(oracle, "one")
        kind = "begin" if trial.status == TrialStatus.RUNNING else "idle"
        values, trial_id = trial.hyperparameters.values, trial.trial_id
        oracle.journal.add(Begin(event=kind, status=trial.status, trial=trial_id, values=values))
        if trial.status == TrialStatus.RUNNING:
            end(oracle, trial)
        idle += kind == "idle"
    before = {x: trial.hyperparameters.values for x, trial in oracle.trials.items()}
    found = finish(opened(search, tmp_path), ["one"])
    assert list(before.items()) == list(found.items())[: len(before)]


def test_interrupted_trials_are_handed_out_first(tmp_path):
    search = load_search(write_grid(tmp_path))
    first = opened(search, tmp_path)
    begun = [first.create_trial(f"worker_{i}").trial_id for i in range(2)]
    again = opened(search, tmp_path)
    assert [again.create_trial(f"another_{i}").trial_id for i in range(2)] == begun
    assert again.create_trial("third").trial_id not in begun


def test_the_trial_of_a_worker_that_is_gone_goes_to_another(tmp_path):
    oracle = opened(load_search(write_grid(tmp_path)), tmp_path)
    left = oracle.create_trial("gone")
    oracle.drop_worker("gone")
    taken = oracle.create_trial("other")
    assert taken.trial_id == left.trial_id
    end(oracle, taken, 0.1)
    end(oracle, left, 0.2)  # it comes back too late
    assert oracle.get_trial(left.trial_id).score == 0.1
    assert len(finish(oracle, ["other"])) == 3
    assert not oracle.tuner_ids
    assert not oracle.ongoing_trials


def test_a_trial_that_ends_after_its_worker_was_dropped_is_not_handed_out_again(tmp_path):
    oracle = opened(load_search(write_grid(tmp_path)), tmp_path)
    left = oracle.create_trial("late")
    oracle.drop_worker("late")
    end(oracle, left)
    assert oracle.create_trial("other").trial_id != left.trial_id


def test_a_full_disk_is_reported_and_leaves_no_thread_waiting(tmp_path, monkeypatch):
    oracle = opened(load_search(write_grid(tmp_path)), tmp_path)
    trial = oracle.create_trial("worker")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "journal.jsonl")
    monkeypatch.setattr(oracle.journal, "add", Mock(side_effect=full))
    with pytest.raises(OSError, match="No space left"):
        end(oracle, trial)
    assert oracle.failure is full
    other = threading.Thread(target=oracle.silent_workers, args=(60,), daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


def test_a_worker_without_a_sign_of_life_is_silent(tmp_path):
    oracle = opened(load_search(write_grid(tmp_path)), tmp_path)
    trials = [oracle.create_trial(name) for name in ("busy", "silent")]
    oracle.last_seen = dict.fromkeys(oracle.last_seen, -1000.0)
    oracle.get_trial(trials[0].trial_id)  # as a worker does while it trains
    assert oracle.silent_workers(60) == ["silent"]


def test_three_failures_in_a_row_end_the_search_for_every_worker(tmp_path):
    search = load_search(write_grid(tmp_path, "1, 2, 3, 4, 5, 6"))
    oracle = opened(search, tmp_path)
    for loss in (0.5, float("nan"), float("nan"), 0.5, *[float("nan")] * 3):
        trial = oracle.create_trial("worker")
        if trial.status == TrialStatus.STOPPED:
            break
        end(oracle, trial, loss)
    assert not oracle.stop_reason  # six points, of which no three in a row
    (tmp_path / "more").mkdir()
    oracle = opened(search, tmp_path / "more")
    other = oracle.create_trial("other")
    for _ in range(3):
        end(oracle, oracle.create_trial("worker"), float("nan"))
    assert oracle.stop_reason == "3 trials in a row failed"
    assert oracle.create_trial("worker").status == TrialStatus.STOPPED
    end(oracle, other, 0.1)
    assert oracle.create_trial("other").status == TrialStatus.STOPPED
    assert not oracle.tuner_ids


def test_a_key_is_searched_only_under_its_condition(tmp_path):
    search = load_search(write_search(tmp_path, CONDITIONAL))
    oracle = opened(search, tmp_path)
    finish(oracle, ["worker"])
    points = [dict(point_of(search, x.hyperparameters)) for x in oracle.trials.values()]
    assert sorted(points, key=str) == [
        {"training.optimizer": "adamw"},
        {"training.optimizer": "sgd", "model.dropout": 0.1},
        {"training.optimizer": "sgd", "model.dropout": 0.2},
    ]


@pytest.mark.parametrize(("tuner", "points"), [("grid", 10), ("random", 12), ("hyperband", None)])
def test_the_number_of_trials_is_known_in_advance_if_possible(tmp_path, tuner, points):
    assert number_of_points(space(tmp_path, tuner)) == points


def test_a_seed_of_0_is_a_seed(tmp_path):
    search = load_search(write_space(tmp_path, "random", "trials: 12"), ["seed=0"])
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(finish(opened(search, tmp_path / name), ["worker"]))
    assert found[0] == found[1]


def test_a_damaged_journal_is_one_line(tmp_path):
    search = load_search(write_grid(tmp_path))
    (tmp_path / "journal.jsonl").write_text("{not json}\n")
    with pytest.raises(RunError, match=r"journal\.jsonl: damaged .* another --run"):
        opened(search, tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"event": "end", "status": "COMPLETED", "trial": "7", "score": 1}', "trial 7 ended but"),
        ('{"event": "end", "status": "COMPLETED", "trial": "0"}', "an event: end score Field requ"),
        ('{"event": "begin", "status": "RUNNING", "trial": "0"}', "an event: begin values Field"),
        ('{"event": "nap", "status": "RUNNING", "trial": "0"}', "an event: Input tag 'nap'"),
        ("7", "an event: "),
    ],
)
def test_a_damaged_event_is_one_line(tmp_path, line, reason):
    search = load_search(write_grid(tmp_path))
    opened(search, tmp_path)
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(RunError, match=rf"^.*journal\.jsonl: damaged \({reason}.*another --run$"):
        opened(search, tmp_path)


def test_a_boolean_choice_reaches_the_experiment_as_a_boolean(tmp_path):
    text = "experiment: base.yaml\nsearch: {data.augmentation.flip: {choice: [true, false]}}\n"
    search = load_search(write_search(tmp_path, text))
    oracle = opened(search, tmp_path)
    points = [point_of(search, oracle.create_trial(f"w{i}").hyperparameters) for i in range(2)]
    flips = [experiment_of(search, point).data.augmentation.flip for point in points]
    assert flips == [True, False]

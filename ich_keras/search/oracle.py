"""KerasTuner's oracles, of which none forgets, waits for the dead, or asks for a failure for ever.

What is added to them, by the methods that they offer to be overridden:

- every trial that begins or ends is written to a journal, and told to the next oracle after an
  interruption; an answer without a trial changes nothing, so it is not written;
- a trial that was under way is given out again first, and so is that of a worker that fell silent,
  for which KerasTuner's chief would wait for ever;
- failures in a row end the search as if all had been tried, where KerasTuner raises within its
  lock and leaves every other worker waiting for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from ich_keras.run.folder import RunError
from ich_keras.search.config import Search
from ich_keras.search.journal import Event, Journal
from ich_keras.search.space import direction, longest_rung, make_space
from tfrecords_tools.errors import UsageError

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3
NEVER = 2**31


class Lasting(keras_tuner.Oracle):
    """What is added to an oracle.

    Attributes:
        given_up: why the search is over before its time, or "".
        heard: when a worker last asked for a trial, or one last asked for by its id was.
        on_change: called after a trial began or ended.
        failure: what kept a worker from its answer.
    """

    ongoing_trials: dict[str, Trial]
    tuner_ids: set[str]
    journal: Journal
    given_up: str
    heard: dict[str, float]
    on_change: Callable[[], None]
    failure: Exception | None
    _lock: threading.RLock
    _waiting: list[Trial]
    _telling: bool

    def begin(self, journal: Journal) -> None:
        """Takes up what a journal tells.

        Raises:
            RunError: if this oracle would not have done the same.
        """
        self.journal = journal
        self.given_up = ""
        self.heard = {}
        self.on_change = lambda: None
        self.failure = None
        self._lock = threading.RLock()
        self._waiting = []
        self._telling = True
        for event in list(journal.events):
            self._tell(event)
        self._telling = False
        self._waiting = [self.trials[x.trial_id] for x in self.ongoing_trials.values()]
        self.ongoing_trials = {}
        self.tuner_ids = set()
        self._give_up_after_failures()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """One at a time; KerasTuner's own lock is not released where something is raised."""
        with self._lock:
            try:
                yield
            except Exception as error:
                self.failure = error
                raise

    def create_trial(self, tuner_id: str) -> Trial:
        """A trial that was interrupted, or else a new one."""
        with self._whole():
            self.heard[tuner_id] = time.monotonic()
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            if self.given_up and not self._telling:
                self.tuner_ids.discard(tuner_id)
                return Trial(hyperparameters=self.get_space(), status=TrialStatus.STOPPED)
            if self._waiting:
                self.tuner_ids.add(tuner_id)
                self.ongoing_trials[tuner_id] = self._waiting.pop(0)
                self.on_change()
                return self.ongoing_trials[tuner_id]
            trial = super().create_trial(tuner_id)
            if not self._telling and trial.status == TrialStatus.RUNNING:
                self.journal.add(
                    {
                        "event": "begin",
                        "status": trial.status,
                        "trial": trial.trial_id,
                        "values": {k: _plain(x) for k, x in trial.hyperparameters.values.items()},
                    }
                )
                self.on_change()
            return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next point; without one (idle or stopped), the oracle remains as it was.

        Hyperband and random search draw points until one is new, and would be in another state
        after each draw in vain. As it is, what they propose follows from the trials that began and
        ended, and not from how often an idle worker asked. Journals written before this rule hold
        an `idle` event for each question, which did change the oracle, and does so again here.
        """
        before = self.get_state()
        answer = super().populate_space(trial_id)
        if not self._telling and answer["status"] != TrialStatus.RUNNING:
            self.set_state(before)
        return answer

    def end_trial(self, trial: Trial) -> None:
        """Keeps what came of a trial; only once, should a worker that was given up come back."""
        with self._whole():
            if trial.trial_id in self.end_order:
                return
            super().end_trial(trial)
            ended = self.trials[trial.trial_id]
            self._waiting = [x for x in self._waiting if x is not ended]
            if self._telling:
                return
            self.journal.add(
                {
                    "event": "end",
                    "status": ended.status,
                    "trial": ended.trial_id,
                    "score": ended.score if ended.status == TrialStatus.COMPLETED else None,
                }
            )
            self._give_up_after_failures()
            self.on_change()

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Takes the objective of a trial; NaN is none."""
        with self._whole():
            if np.isnan(metrics[self.objective.name]):
                return self.trials[trial_id]
            return super().update_trial(trial_id, metrics, step)

    def score_trial(self, trial: Trial) -> None:
        """The objective, or NaN, by which KerasTuner knows that the trial has failed."""
        known = trial.metrics.exists(self.objective.name)
        told = trial.metrics.get_history(self.objective.name) if known else []
        trial.score, trial.best_step = (told[-1].mean(), told[-1].step) if told else (np.nan, 0)

    def get_trial(self, trial_id: str) -> Trial:
        """The trial; that it was asked for is a sign of life of whoever trains it."""
        with self._whole():
            self.heard[trial_id] = time.monotonic()
            return super().get_trial(trial_id)

    def give_up_worker(self, tuner_id: str) -> None:
        """Waits for it no longer; its trial goes to the next that asks."""
        with self._whole():
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is not None:
                log.warning("%s: is gone, trial %s goes to another", tuner_id, trial.trial_id)
                self._waiting.append(trial)

    def silent_workers(self, longer_than_s: float) -> list[str]:
        """The workers that neither asked for a trial nor showed that they train one."""
        with self._whole():
            now = time.monotonic()
            silent = []
            for tuner_id in self.tuner_ids:
                trial = self.ongoing_trials.get(tuner_id)
                signs = [
                    self.heard.get(tuner_id, now),
                    self.heard.get(trial.trial_id, 0) if trial else 0,
                ]
                if now - max(signs) > longer_than_s:
                    silent.append(tuner_id)
            return silent

    def _tell(self, event: Event) -> None:
        """Does again what an event says, and compares."""
        if event["event"] != "end":
            trial = self.create_trial(f"told {event['trial']}")
            found = (trial.status, trial.trial_id, trial.hyperparameters.values)
            if found != (event["status"], event["trial"], event["values"]):
                raise RunError(
                    f"{self.journal.path}: this version of KerasTuner tries other points; give"
                    " another --run, or --fresh without --run"
                )
            return
        trial = self.trials[event["trial"]]
        if event["score"] is not None:
            self.update_trial(trial.trial_id, {self.objective.name: event["score"]})
        self.end_trial(Trial(trial.hyperparameters, trial.trial_id, event["status"]))

    def _give_up_after_failures(self) -> None:
        last = [self.trials[x] for x in self.end_order[-FAILURES_IN_A_ROW:]]
        if len(last) == FAILURES_IN_A_ROW and {x.status for x in last} == {TrialStatus.FAILED}:
            self.given_up = f"{FAILURES_IN_A_ROW} trials in a row failed"


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python."""
    return value.item() if hasattr(value, "item") else value


class Grid(Lasting, keras_tuner.oracles.GridSearchOracle):
    """Every point."""


class Random(Lasting, keras_tuner.oracles.RandomSearchOracle):
    """Points drawn anew."""


class Bayesian(Lasting, keras_tuner.oracles.BayesianOptimizationOracle):
    """Points where a Gaussian process expects the best."""


class Hyperband(Lasting, keras_tuner.oracles.HyperbandOracle):
    """Many points for a few steps, the best of them for more."""


KINDS: dict[str, type[Lasting]] = {"grid": Grid, "random": Random, "bayesian": Bayesian}


def make_oracle(search: Search) -> Lasting:
    """The oracle of a search, which has yet to `begin`.

    Raises:
        UsageError: if a package is missing.
    """
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(search.objective, direction(search.objective)),
        "hyperparameters": make_space(search),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": search.base.seed + 1,  # a seed of 0 is none to KerasTuner
        "max_consecutive_failed_trials": NEVER,
    }
    if search.tuner == "bayesian" and find_spec("sklearn") is None:
        raise UsageError(
            "tuner bayesian needs a package that is missing: pip install 'ich-keras[bayesian]'"
        )
    if search.tuner == "hyperband":
        oracle: Lasting = Hyperband(max_epochs=longest_rung(search), **options)
    else:
        oracle = KINDS[search.tuner](max_trials=search.trials, **options)
    oracle.verbose = 0
    return oracle

"""The tuners of a search: KerasTuner oracles that survive interruptions.

To add one, name it in ORACLES and in `Search.tuner`.

Added through the methods that KerasTuner offers for overriding:

- Every trial that begins or ends is written to a journal, from which the next oracle is restored
  after an interruption. A request that gets no trial changes nothing and is not written.
- Interrupted trials are handed out again first, as are those of workers that fell silent, for
  which KerasTuner's chief would wait for ever.
- Repeated failures end the search as if every point had been tried. KerasTuner would raise while
  it holds its lock, which all other workers then wait for.
"""

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
from ich_keras.search.journal import Begin, End, Journal
from ich_keras.search.space import longest_rung, make_space, maximized
from tfrecords_tools.errors import UsageError

FAILURES_IN_A_ROW = 3
UNLIMITED = 2**31


class JournaledOracle(keras_tuner.Oracle):
    """What is added to a KerasTuner oracle."""

    ongoing_trials: dict[str, Trial]  # KerasTuner's, by worker
    tuner_ids: set[str]  # KerasTuner's, of the workers it waits for

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(**options)
        self.verbose = 0
        self.journal = journal
        self.stop_reason = ""  # why the search ends early
        self.last_seen: dict[str, float] = {}  # by worker, and by trial
        self.on_change: Callable[[], None] = lambda: None  # called after a trial began or ended
        self.failure: Exception | None = None  # of a request; every later one raises it
        self._lock = threading.RLock()
        self._interrupted: list[Trial] = []

    def restore(self) -> None:
        """Repeats the journal; RunError if it is damaged or this oracle proposes other points."""
        for event in self.journal.events:
            if isinstance(event, Begin):
                self._repeat_begin(event)
            else:
                self._repeat_end(event)
        self._interrupted = list(self.ongoing_trials.values())
        self.ongoing_trials = {}
        self.tuner_ids = set()
        self._stop_after_failures()

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the worker's trial, an interrupted one or else a new one.

        A new point follows from the trials that began and ended, not from how often idle workers
        asked: Hyperband and random search draw until they find a new point, so their state before
        draws without success is put back.
        """
        with self._exclusive():
            self.last_seen[tuner_id] = time.monotonic()
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            if self.stop_reason:
                self.tuner_ids.discard(tuner_id)
                return Trial(hyperparameters=self.get_space(), status=TrialStatus.STOPPED)
            if self._interrupted:
                self.tuner_ids.add(tuner_id)
                self.ongoing_trials[tuner_id] = self._interrupted.pop(0)
                self.on_change()
                return self.ongoing_trials[tuner_id]
            before = self.get_state()
            trial = super().create_trial(tuner_id)
            if trial.status != TrialStatus.RUNNING:
                self.set_state(before)
                return trial
            values = {key: _plain(x) for key, x in trial.hyperparameters.values.items()}
            self.journal.add(Begin(status=trial.status, trial=trial.trial_id, values=values))
            self.on_change()
            return trial

    def end_trial(self, trial: Trial) -> None:
        """Records the result of a trial; ignores a second one, from a worker that came back."""
        with self._exclusive():
            if trial.trial_id in self.end_order:
                return
            super().end_trial(trial)
            ended = self.trials[trial.trial_id]
            self._interrupted = [x for x in self._interrupted if x is not ended]
            score = ended.score if ended.status == TrialStatus.COMPLETED else None
            self.journal.add(End(status=ended.status, trial=ended.trial_id, score=score))
            self._stop_after_failures()
            self.on_change()

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Takes the objective of a trial, unless it is NaN."""
        with self._exclusive():
            if np.isnan(metrics[self.objective.name]):
                return self.trials[trial_id]
            return super().update_trial(trial_id, metrics, step)

    def score_trial(self, trial: Trial) -> None:
        """Sets the score to the objective, or to NaN, which marks the trial as failed."""
        reported = trial.metrics.exists(self.objective.name)
        history = trial.metrics.get_history(self.objective.name) if reported else []
        last = history[-1] if history else None
        trial.score, trial.best_step = (np.nan, 0) if last is None else (last.mean(), last.step)

    def get_trial(self, trial_id: str) -> Trial:
        """Returns a trial; the request shows that the worker that trains it is alive."""
        with self._lock:
            self.last_seen[trial_id] = time.monotonic()
            return super().get_trial(trial_id)

    def drop_worker(self, tuner_id: str) -> Trial | None:
        """Stops waiting for a worker; its trial, which is returned, goes to the next that asks."""
        with self._lock:
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is not None:
                self._interrupted.append(trial)
            return trial

    def silent_workers(self, longer_than_s: float) -> list[str]:
        """Returns the workers that neither requested a trial nor showed that they train one."""
        with self._lock:
            oldest = time.monotonic() - longer_than_s
            return [tuner_id for tuner_id in self.tuner_ids if self._last_sign(tuner_id) < oldest]

    def _last_sign(self, tuner_id: str) -> float:
        trial = self.ongoing_trials.get(tuner_id)
        of_trial = self.last_seen.get(trial.trial_id, 0) if trial else 0
        return max(self.last_seen[tuner_id], of_trial)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Admits one thread at a time, and none after an error: KerasTuner keeps its lock then."""
        with self._lock:
            if self.failure is not None:
                raise self.failure
            try:
                yield
            except Exception as error:
                self.failure = error
                raise

    def _repeat_begin(self, event: Begin) -> None:
        trial = super().create_trial(f"restored {event.trial}")
        proposed = (trial.status, trial.trial_id, trial.hyperparameters.values)
        if proposed != (event.status, event.trial, event.values):
            raise RunError(
                f"{self.journal.path}: this version of KerasTuner tries other points; give"
                " another --run, or --fresh without --run"
            )

    def _repeat_end(self, event: End) -> None:
        trial = self.trials.get(event.trial)
        if trial is None:
            raise self.journal.damaged(f"trial {event.trial} ended but did not begin")
        if event.trial in self.end_order:
            return
        if event.score is not None:
            super().update_trial(event.trial, {self.objective.name: event.score})
        super().end_trial(Trial(trial.hyperparameters, event.trial, event.status))

    def _stop_after_failures(self) -> None:
        last = [self.trials[x] for x in self.end_order[-FAILURES_IN_A_ROW:]]
        if len(last) == FAILURES_IN_A_ROW and {x.status for x in last} == {TrialStatus.FAILED}:
            self.stop_reason = f"{FAILURES_IN_A_ROW} trials in a row failed"


def _plain(value: Any) -> Any:
    """Converts a NumPy number to a Python one."""
    return value.item() if hasattr(value, "item") else value


class Grid(JournaledOracle, keras_tuner.oracles.GridSearchOracle):
    """Every point."""


class Random(JournaledOracle, keras_tuner.oracles.RandomSearchOracle):
    """Points drawn at random."""


class Bayesian(JournaledOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Points that a Gaussian process expects to be the best."""


class Hyperband(JournaledOracle, keras_tuner.oracles.HyperbandOracle):
    """Many points for a few steps, the best of them for more."""


ORACLES: dict[str, type[JournaledOracle]] = {"grid": Grid, "random": Random, "bayesian": Bayesian}


def make_oracle(search: Search, journal: Journal) -> JournaledOracle:
    """Returns the oracle of a search, yet to be restored; UsageError if a package is missing."""
    options = oracle_options(search) | {
        "seed": search.base.seed + 1,  # KerasTuner takes a seed of 0 for none
        "max_consecutive_failed_trials": UNLIMITED,
    }
    if search.tuner == "hyperband":
        return Hyperband(journal, max_epochs=longest_rung(search), **options)
    if search.tuner == "bayesian" and find_spec("sklearn") is None:
        raise UsageError(
            "tuner bayesian needs a package that is missing: pip install 'ich-keras[bayesian]'"
        )
    return ORACLES[search.tuner](journal, max_trials=search.trials, **options)


def oracle_options(search: Search) -> dict[str, Any]:
    """Returns the options of an oracle that its clients need too."""
    direction = "max" if maximized(search.objective) else "min"
    return {
        "objective": keras_tuner.Objective(search.objective, direction),
        "hyperparameters": make_space(search),
        "allow_new_entries": False,
        "tune_new_entries": False,
    }

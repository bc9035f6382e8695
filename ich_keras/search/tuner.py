"""Whoever asks for the trials of a search and trains them: alone, or as one of many workers."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from ich_keras.run.folder import RunError
from ich_keras.search.config import Search
from ich_keras.search.oracle import Lasting, make_oracle
from ich_keras.search.space import experiment_of, point_of, steps_of
from ich_keras.search.training_process import Sample, run_sample
from ich_keras.search.trials import sample_run
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

CHIEF = "chief"  # KerasTuner knows it by this word in its id
SIGN_OF_LIFE_S = 5
SILENT_S = 60  # after which a worker, or the chief, is taken for dead
IDLE_S = 1  # between two questions for a trial where there is none yet


@dataclass(frozen=True)
class SearchPlace:
    """What is searched, and where.

    Attributes:
        search: what to try.
        shards: to train and validate on.
        folder: of the search, seen by all who train.
    """

    search: Search
    shards: ShardPath
    folder: Path

    def samples(self, oracle: Any, trial: Trial) -> list[Sample]:
        """The trainings of a trial; one that goes on from a rung has the folders of its first.

        Args:
            oracle: KerasTuner's, or a worker's client of it.
            trial: one of its trials.
        """
        point = point_of(self.search, trial.hyperparameters)
        first = _first_rung(oracle, trial)
        found = []
        for number in range(self.search.samples_per_point):
            experiment = experiment_of(self.search, point, number)
            until = steps_of(self.search, experiment, trial.hyperparameters.values)
            run = sample_run(self.folder, first, number)
            found.append(Sample(experiment, self.shards, run, until))
        return found


def role() -> str:
    """What KerasTuner's variables make of this process: `alone`, `chief` or `worker`.

    Raises:
        UsageError: if some of them are missing.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return "alone"
    if missing:
        raise UsageError(f"{', '.join(missing)}: not set, but the others of {', '.join(names)} are")
    if not os.environ[names[2]].isdecimal():
        raise UsageError(f"{names[2]}: expected a port, got {os.environ[names[2]]}")
    return CHIEF if CHIEF in os.environ[names[0]] else "worker"


class SearchTuner(BaseTuner):
    """Asks for trials, and trains them."""

    def __init__(self, oracle: Lasting, place: SearchPlace) -> None:
        self.place = place
        self._questions = 0
        own = os.environ.get("KERASTUNER_TUNER_ID", "alone")  # KerasTuner's files, not read again
        folder = str(place.folder / "oracle")
        super().__init__(oracle, directory=folder, project_name=own, overwrite=True)

    def pre_create_trial(self) -> None:
        """Waits between two questions that had no answer."""
        if self._questions:
            time.sleep(IDLE_S)
        self._questions += 1

    def on_trial_begin(self, trial: Trial) -> None:
        self._questions = 0

    def run_trial(self, trial: Trial, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """The mean objective over the samples of a point; NaN, by which it fails, if one has none.

        What is raised here KerasTuner would print with its whole traceback.
        """
        values = []
        with self._signs_of_life(trial.trial_id):
            for sample in self.place.samples(self.oracle, trial):
                outcome = run_sample(sample)
                if outcome.state == "refused":  # the user's to mend, whatever the point
                    raise keras_tuner.errors.FatalValueError(outcome.message)
                if outcome.state == "broken":  # KerasTuner would count it as a failed trial
                    raise keras_tuner.errors.FatalRuntimeError(outcome.message)
                value = outcome.scores.get(self.place.search.objective)
                values.append(np.nan if value is None else value)
                if outcome.state == "failed":
                    break
        return {self.place.search.objective: float(np.mean(values))}

    @contextmanager
    def _signs_of_life(self, trial_id: str) -> Iterator[None]:
        """Shows the chief from time to time that the trial goes on."""
        over = threading.Event()

        def show() -> None:
            while not over.wait(SIGN_OF_LIFE_S):
                with suppress(grpc.RpcError):  # the trial goes on without its chief
                    self.oracle.get_trial(trial_id)

        if role() == "worker":
            threading.Thread(target=show, daemon=True).start()
        try:
            yield
        finally:
            over.set()


def search_with(tuner: SearchTuner) -> None:
    """Asks and trains until there are no more trials.

    Raises:
        InputError: if the data does not serve.
        RunError: if a trial broke, or the chief does not answer.
    """
    try:
        tuner.search()
    except keras_tuner.errors.FatalValueError as error:
        raise InputError(str(error)) from None
    except keras_tuner.errors.FatalRuntimeError as error:
        raise RunError(f"a trial broke: {error}") from None
    except grpc.RpcError as error:
        reason = error.code().name
        raise RunError(f"the chief does not answer ({reason}); start all again") from None


def work(place: SearchPlace) -> None:
    """Trains what a chief gives out, until it has no more.

    Until the chief is there, nothing is written: it would not take the folder for its own. A chief
    that is gone ends this process: KerasTuner would wait for it for an hour.
    """
    if not _chief_is_there():
        log.info("waiting for the chief at %s:%d", *_address())
    while not _chief_is_there():
        time.sleep(IDLE_S)
    threading.Thread(target=_end_without_a_chief, daemon=True).start()
    search_with(SearchTuner(make_oracle(place.search), place))


def _address() -> tuple[str, int]:
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def _chief_is_there() -> bool:
    try:
        socket.create_connection(_address(), timeout=SIGN_OF_LIFE_S).close()
    except OSError:
        return False
    return True


def _end_without_a_chief() -> None:
    """Ends this process once the chief cannot be reached for a while."""
    reached = time.monotonic()
    while True:
        if _chief_is_there():
            reached = time.monotonic()
        elif time.monotonic() - reached > SILENT_S:
            log.error("the chief at %s:%d is gone; start all again, they go on", *_address())
            os._exit(1)  # the other threads wait for it
        time.sleep(SIGN_OF_LIFE_S)


def _first_rung(oracle: Any, trial: Trial) -> str:
    earlier = trial.hyperparameters.values.get("tuner/trial_id")
    return trial.trial_id if earlier is None else _first_rung(oracle, oracle.get_trial(earlier))

"""Requests the trials of a search and trains them, in the process of the oracle or in another."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial

from ich_keras.run.folder import RunError, RunFolder
from ich_keras.search.config import Search
from ich_keras.search.oracle import oracle_options
from ich_keras.search.space import experiment_of, point_of, steps_of
from ich_keras.search.training_process import Sample, Trainer
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

CHIEF = "chief"  # a process is KerasTuner's chief if its id contains this word
VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
SIGN_OF_LIFE_S = 5
SILENT_S = 60  # after which a worker, or the chief, counts as dead
IDLE_S = 1  # between two requests for a trial


@dataclass(frozen=True)
class SearchTask:
    """A search, its data and its folder."""

    search: Search
    shards: ShardPath
    folder: Path  # all workers see it

    def samples(self, oracle: Any, trial: Trial) -> list[Sample]:
        """Returns the trainings of a trial; Hyperband's promoted trials continue earlier runs."""
        point = point_of(self.search, trial.hyperparameters)
        runs = self.folder / "trials" / _first_rung(oracle, trial)
        samples = []
        for number in range(self.search.samples_per_point):
            experiment = experiment_of(self.search, point, number)
            until = steps_of(self.search, experiment, trial.hyperparameters.values)
            run = RunFolder(runs / f"sample_{number + 1}")
            samples.append(Sample(experiment, self.shards, run, until))
        return samples


def role() -> str:
    """Returns the role that KerasTuner's variables give this process: `alone`, `chief`, `worker`.

    Raises UsageError if some of the variables are missing.
    """
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if len(missing) == len(VARIABLES):
        return "alone"
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: not set, but the others of {', '.join(VARIABLES)} are"
        )
    tuner_id, _, port = (os.environ[name] for name in VARIABLES)
    if not port.isdecimal():
        raise UsageError(f"{VARIABLES[2]}: expected a port, got {port}")
    return CHIEF if CHIEF in tuner_id else "worker"


class _FatalInputError(keras_tuner.errors.FatalError, InputError):
    """Ends the search; KerasTuner counts errors that are not fatal as failed trials."""


class _FatalRunError(keras_tuner.errors.FatalError, RunError):
    """Ends the search, too."""


class SearchTuner(BaseTuner):
    """Requests trials and trains them."""

    def __init__(self, oracle: keras_tuner.Oracle, task: SearchTask) -> None:
        self.task = task
        self.trainer = Trainer()
        self._requests = 0  # since the last trial
        name = os.environ.get("KERASTUNER_TUNER_ID", "alone")
        folder = str(task.folder / "oracle")  # KerasTuner's files, which nothing reads
        super().__init__(oracle, directory=folder, project_name=name, overwrite=True)

    def worker(
        self, tuner_id: str, environment: Mapping[str, str], stop: threading.Event
    ) -> "SearchTuner":
        """Returns a tuner for another thread, which shares the oracle."""
        tuner = copy(self)
        tuner.tuner_id = tuner_id
        tuner.trainer = Trainer(environment, stop)
        return tuner

    def pre_create_trial(self) -> None:
        """Waits after a request without a trial; ends the search when it is stopped."""
        if self.trainer.stop.wait(IDLE_S if self._requests else 0):
            raise KeyboardInterrupt
        self._requests += 1

    def on_trial_begin(self, trial: Trial) -> None:
        self._requests = 0

    def on_trial_end(self, trial: Trial) -> None:
        """Reports the end of a trial; the files that KerasTuner would write are not read."""
        self.oracle.end_trial(trial)

    def run_trial(self, trial: Trial, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """Returns the mean objective over the samples; NaN, which fails the trial, if one has none.

        Raises:
            InputError: if the data cannot be used.
            RunError: if the training broke.
        """
        objective = self.task.search.objective
        values = []
        with self._signs_of_life(trial.trial_id):
            for sample in self.task.samples(self.oracle, trial):
                outcome = self.trainer.run(sample)
                if outcome.state == "refused":
                    raise _FatalInputError(outcome.message)
                if outcome.state == "broken":
                    raise _FatalRunError(f"a trial broke: {outcome.message}")
                value = outcome.scores.get(objective)
                values.append(np.nan if value is None else value)
                if outcome.state == "failed":
                    break
        return {objective: float(np.mean(values))}

    @contextmanager
    def _signs_of_life(self, trial_id: str) -> Iterator[None]:
        """Shows the chief on another machine that the trial continues."""
        over = threading.Event()

        def show() -> None:
            while not over.wait(SIGN_OF_LIFE_S):
                with suppress(grpc.RpcError):  # the trial continues without its chief
                    self.oracle.get_trial(trial_id)

        if role() == "worker":
            threading.Thread(target=show, daemon=True).start()
        try:
            yield
        finally:
            over.set()


def work(task: SearchTask) -> None:
    """Trains the trials of a chief until it has no more.

    Nothing is written before the chief answers, because it refuses a folder that is not its own.
    This process ends when the chief is gone; KerasTuner would wait for an hour. Raises as
    `SearchTuner.run_trial`, and RunError if the chief does not answer.
    """
    if not _chief_answers():
        log.info("waiting for the chief at %s:%d", *_address())
    while not _chief_answers():
        time.sleep(IDLE_S)
    threading.Thread(target=_end_without_a_chief, daemon=True).start()
    tuner = SearchTuner(keras_tuner.Oracle(**oracle_options(task.search)), task)
    try:
        tuner.search()
    except grpc.RpcError as error:
        reason = error.code().name
        raise RunError(f"the chief does not answer ({reason}); start all processes again") from None


def _address() -> tuple[str, int]:
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def _chief_answers() -> bool:
    try:
        socket.create_connection(_address(), timeout=SIGN_OF_LIFE_S).close()
    except OSError:
        return False
    return True


def _end_without_a_chief() -> None:
    """Ends this process when the chief has not answered for a while."""
    last_answer = time.monotonic()
    while True:
        if _chief_answers():
            last_answer = time.monotonic()
        elif time.monotonic() - last_answer > SILENT_S:
            log.error("the chief at %s:%d is gone; start all processes again", *_address())
            os._exit(1)  # the other threads wait for the chief
        time.sleep(SIGN_OF_LIFE_S)


def _first_rung(oracle: Any, trial: Trial) -> str:
    """Returns the id of the trial in whose folder a trial of Hyperband continues."""
    earlier = trial.hyperparameters.values.get("tuner/trial_id")
    return trial.trial_id if earlier is None else _first_rung(oracle, oracle.get_trial(earlier))

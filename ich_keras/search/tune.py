"""Searches hyperparameters: KerasTuner proposes points, and each is trained in its own process.

One process holds the oracle and the journal, and writes the results. On one machine it also starts
the trainings, in as many threads as there are workers. On several machines it is the chief, from
which workers request trials by KerasTuner's own protocol (`KERASTUNER_TUNER_ID`,
`KERASTUNER_ORACLE_IP`, `KERASTUNER_ORACLE_PORT`); all of them see the folder of the search.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from keras_tuner.engine.trial import Trial
from pebble import concurrent

from ich_keras.experiment.experiment import experiment_to_yaml
from ich_keras.run.folder import RunError
from ich_keras.search.config import Search
from ich_keras.search.journal import Journal
from ich_keras.search.oracle import make_oracle
from ich_keras.search.progress import SearchProgress
from ich_keras.search.report import write_search_report
from ich_keras.search.space import Point, experiment_of, number_of_points, point_of, point_text
from ich_keras.search.training_process import read_outcome
from ich_keras.search.trials import TrialRow, ranked, trial_row, trials_table
from ich_keras.search.worker import IDLE_S, SILENT_S, SearchTask, SearchTuner, role
from ich_keras.training.checks import TrainingError
from ich_keras.training.devices import devices_of, usable_gpus, warn_without_gpu
from ich_keras.training.tensorboard import describe_search
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.lock import locked
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

JOURNAL_NAME, LOCK_NAME = "journal.jsonl", "search.lock"


@dataclass(frozen=True)
class SearchResult:
    """The best point of a search."""

    folder: Path  # of the search
    objective: str  # its name
    value: float  # mean objective of the point
    point: Point
    trials: int  # their number
    statement: str  # whether the point differs from the next

    def sentence(self) -> str:
        return (
            f"best of {self.trials} trials by {self.objective} {self.value:.5f}:"
            f" {point_text(self.point)}. {self.statement}"
            f" `ich-keras fit {self.folder / 'best.yaml'}`; {self.folder / 'report.html'}"
        )


def tune(
    search: Search, shards_folder: ShardPath, folder: Path, *, workers: int = 1
) -> SearchResult:
    """Starts or continues a search, alone or as the chief of workers on other machines.

    Writes `journal.jsonl`, `trials.csv`, `best.yaml`, which is an experiment for `fit`,
    `report.html` and `figures/`; the runs are `trials/<trial>/sample_<n>/`. `workers` trials run at
    the same time on this machine, each on its own GPU; without any GPU they share the cores.

    Raises:
        UsageError: if there are more workers than GPUs; nothing is written then.
        InputError: if the data cannot be used.
        RunError: if the folder holds another search.
        TrainingError: if no point could be trained, or too many failed.
    """
    alone = role() == "alone"
    devices = devices_of(workers, usable_gpus()) if alone and workers > 1 else []
    if not any(devices):  # a GPU that is listed twice is visible to each worker, but not here
        warn_without_gpu()
    _check_folder(folder)
    message = f"{folder}: another search is running here; wait for its end, or give another --run"
    with locked(folder / LOCK_NAME, message):
        chief = _Chief(SearchTask(search, shards_folder, folder))
        with chief.progress:
            if not alone:
                chief.serve()
            elif devices:
                chief.train_on(devices)
            else:
                chief.tuner.search()
        return chief.result()


def _check_folder(folder: Path) -> None:
    """Refuses a folder of something else."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another --run")
    is_search = (folder / JOURNAL_NAME).exists() or (folder / LOCK_NAME).exists()
    if folder.is_dir() and any(folder.iterdir()) and not is_search:
        raise UsageError(f"{folder}: is not empty and holds no search; choose another --run")
    folder.mkdir(parents=True, exist_ok=True)


class _Chief:
    """Holds the oracle, and writes the results."""

    def __init__(self, task: SearchTask) -> None:
        search = task.search
        fingerprint = read_manifest(task.shards).fingerprint
        identity = {**search.model_dump(mode="json"), "data_fingerprint": fingerprint}
        self.task, self.search, self.folder = task, search, task.folder
        self.oracle = make_oracle(search, Journal(self.folder / JOURNAL_NAME, identity))
        self.tuner = SearchTuner(self.oracle, task)
        self.oracle.restore()
        self.oracle.on_change = self._changed
        total = number_of_points(search)
        if not (self.folder / "trials").exists():
            describe_search(self.folder / "trials", list(search.search), search.objective)
        self.progress = SearchProgress(
            search.objective, total, self.rows, self._step, search.samples_per_point
        )
        self._ended: dict[str, TrialRow] = {}  # by trial, with all its results
        self._written = ""  # content of trials.csv
        self._changed()

    def train_on(self, devices: Sequence[Mapping[str, str]]) -> None:
        """Trains in one thread per device (environment variables); the first error stops all."""
        stop = threading.Event()
        with ThreadPoolExecutor(len(devices)) as threads:
            tuners = [
                self.tuner.worker(f"worker_{number}", variables, stop)
                for number, variables in enumerate(devices, 1)
            ]
            try:
                for worker in as_completed([threads.submit(x.search) for x in tuners]):
                    worker.result()
            finally:
                stop.set()

    def serve(self) -> None:
        """Hands out trials to other processes until there are no more."""
        server = concurrent.thread(daemon=True)(self.tuner.search)()
        while not server.done():
            time.sleep(IDLE_S)
            if self.oracle.failure is not None:
                raise self.oracle.failure
            for tuner_id in self.oracle.silent_workers(SILENT_S):
                trial = self.oracle.drop_worker(tuner_id)
                if trial is not None:
                    log.warning("%s: is gone, trial %s goes to another", tuner_id, trial.trial_id)
        try:
            server.result()
        except RuntimeError as error:
            if "bind" not in str(error):
                raise
            raise RunError(f"the chief cannot listen: {error}; choose another port") from None

    def rows(self) -> list[TrialRow]:
        return [self._row(self.oracle.trials[x]) for x in list(self.oracle.start_order)]

    def _row(self, trial: Trial) -> TrialRow:
        """Makes the row of a trial; that of an ended trial is made once, since it cannot change.

        The results of a worker on another machine may be visible only after its trial has ended.
        """
        if trial.trial_id in self._ended:
            return self._ended[trial.trial_id]
        row = self._read_row(trial)
        has_samples = len(row.samples) == self.search.samples_per_point
        if row.failure if row.state == "failed" else row.state == "done" and has_samples:
            self._ended[trial.trial_id] = row
        return row

    def _read_row(self, trial: Trial) -> TrialRow:
        samples = self.task.samples(self.oracle, trial)
        outcomes = [x for x in map(read_outcome, (s.outcome for s in samples)) if x is not None]
        point = point_of(self.search, trial.hyperparameters)
        steps = samples[0].until
        objective = self.search.objective
        return trial_row(trial.trial_id, point, trial.status, steps, outcomes, objective)

    def _step(self, trial: str) -> int:
        """Returns the steps that a running trial has done, over all of its samples."""
        return sum(x.step() for x in self.task.samples(self.oracle, self.oracle.trials[trial]))

    def _changed(self) -> None:
        table = trials_table(self.rows(), self.search.objective)
        text = table.to_csv(index=False, lineterminator="\n")
        if text != self._written:
            write_text(self.folder / "trials.csv", text)
            self._written = text
        self.progress.changed()

    def result(self) -> SearchResult:
        rows = self.rows()
        for row in rows:
            if row.state == "done" and len(row.samples) < self.search.samples_per_point:
                raise RunError(
                    f"{self.folder}: the results of trial {row.trial} are missing in trials/; start"
                    " the search in another --run"
                )
        order = ranked(rows, self.search.objective)
        if not order or self.oracle.stop_reason:
            why = self.oracle.stop_reason or "no trial could be trained"
            last = next((x.failure for x in reversed(rows) if x.failure), "there was no trial")
            raise TrainingError(f"{self.folder}: {why}, the last: {last}")
        best = order[0]
        text = experiment_to_yaml(experiment_of(self.search, best.point))
        write_text(self.folder / "best.yaml", text)
        statement = write_search_report(self.folder, self.search, rows)
        return SearchResult(
            self.folder, self.search.objective, best.mean, best.point, len(rows), statement
        )

"""The search: KerasTuner proposes points, each is trained in processes of its own.

One process leads: it holds the oracle and the journal, and writes what was found. Alone, it trains
too; with workers, on this machine or on others, they ask it for trials by KerasTuner's own protocol
(`KERASTUNER_TUNER_ID`, `KERASTUNER_ORACLE_IP`, `KERASTUNER_ORACLE_PORT`), and train in a folder
that all of them see.
"""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from keras_tuner.engine.trial import Trial
from pebble import concurrent

from ich_keras.experiment.experiment import experiment_to_yaml
from ich_keras.run.folder import RunError
from ich_keras.search import child_process
from ich_keras.search.config import Search
from ich_keras.search.journal import Journal
from ich_keras.search.oracle import make_oracle
from ich_keras.search.progress import SearchTable
from ich_keras.search.report import write_search_report
from ich_keras.search.space import Point, experiment_of, number_of_points, point_of
from ich_keras.search.training_process import read_outcome
from ich_keras.search.trials import TrialRow, ranked, row_of, table_of
from ich_keras.search.tuner import (
    CHIEF,
    IDLE_S,
    SILENT_S,
    SearchPlace,
    SearchTuner,
    role,
    search_with,
)
from ich_keras.training.checks import TrainingError
from ich_keras.training.devices import warn_without_gpu
from ich_keras.training.gpus import devices_of, usable_gpus
from ich_keras.training.tensorboard import describe_search
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

JOURNAL_NAME, LOCK_NAME = "journal.jsonl", "search.lock"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: the search's folder, with `trials.csv`, `best.yaml` and `report.html`.
        objective: name of what was compared.
        value: the mean objective of the best point.
        point: key path to value.
        trials: trials that were made.
        statement: whether the best can be told from the next.
    """

    folder: Path
    objective: str
    value: float
    point: Point
    trials: int
    statement: str

    def sentence(self) -> str:
        """What was found, and where."""
        point = ", ".join(f"{key}={value}" for key, value in self.point.items())
        return (
            f"best of {self.trials} trials by {self.objective} {self.value:.5f}: {point}."
            f" {self.statement} `ich-keras fit {self.folder / 'best.yaml'}`;"
            f" {self.folder / 'report.html'}"
        )


def tune(
    search: Search, shards_folder: ShardPath, folder: Path, *, workers: int = 1
) -> SearchResult:
    """Searches, alone or as the chief of workers; a search that was begun goes on.

    Writes `journal.jsonl`, `trials.csv`, `best.yaml`, an experiment that `fit` takes,
    `report.html` and `figures/`; the runs are `trials/<trial>/sample_<n>/`.

    Args:
        search: what to try.
        shards_folder: to train and validate on.
        folder: of the search.
        workers: processes on this machine that train at the same time, each on a GPU of its own;
            without any GPU they share the cores.

    Raises:
        UsageError: if there are more workers than GPUs; nothing is written then.
        InputError: if the data does not serve.
        RunError: if the folder holds another search.
        TrainingError: if no point could be trained, too many failed, or all workers died.
    """
    alone = role() == "alone"
    devices = devices_of(workers, usable_gpus()) if alone and workers > 1 else []
    if not any(devices):  # a GPU that is listed twice is seen by each worker, but not here
        warn_without_gpu()
    place = SearchPlace(search, shards_folder, folder)
    with _only_search(folder):
        lead = _Lead(place)
        with lead.table:
            if role() == CHIEF:
                lead.serve([])
            elif devices:
                with _on_this_machine():
                    lead.serve(_start_workers(place, devices))
            else:
                search_with(lead.tuner)
        return lead.result()


@contextmanager
def _only_search(folder: Path) -> Iterator[None]:
    """Keeps a second search from the same folder, and any from a folder of something else."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another --run")
    ours = (folder / JOURNAL_NAME).exists() or (folder / LOCK_NAME).exists()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise UsageError(f"{folder}: is not empty and holds no search; choose another --run")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_NAME, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"{folder}: another search is under way here; wait for its end, or give another --run"
        ) from None
    try:
        yield
    finally:
        lock.release()


class _Lead:
    """Whoever holds the oracle."""

    def __init__(self, place: SearchPlace) -> None:
        search, folder = place.search, place.folder
        manifest = read_manifest(place.shards)
        self.place, self.search, self.folder = place, search, folder
        self.oracle = make_oracle(search)
        self.tuner = SearchTuner(self.oracle, place)
        identity = {**search.model_dump(mode="json"), "data_fingerprint": manifest.fingerprint}
        self.oracle.begin(Journal(folder / JOURNAL_NAME, identity))
        self.oracle.on_change = self._changed
        total = number_of_points(search)
        if not (folder / "trials").exists():
            describe_search(folder / "trials", list(search.search), search.objective)
        self.table = SearchTable(
            search.objective, total, self.rows, self._step, search.samples_per_point
        )
        self._written = ""  # the content of trials.csv
        self._changed()

    def serve(self, workers: Sequence[subprocess.Popen]) -> None:
        """Gives out trials until none are left, or none to train them."""
        serving = concurrent.thread(daemon=True)(self.tuner.search)()
        try:
            while not serving.done():
                time.sleep(IDLE_S)
                if self.oracle.failure is not None:
                    raise self.oracle.failure
                self._look_after(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        try:
            serving.result()
        except RuntimeError as error:
            if "bind" not in str(error):
                raise
            raise RunError(f"the chief cannot listen: {error}; choose another port") from None

    def _look_after(self, workers: Sequence[subprocess.Popen]) -> None:
        dead = [i for i, worker in enumerate(workers) if worker.poll() not in (None, 0)]
        for i in dead:
            self.oracle.give_up_worker(_worker_id(i))
        if workers and len(dead) == len(workers):
            messages = self.folder / f"{_worker_id(0)}.log"
            last = messages.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
            raise TrainingError(
                f"every worker ended before its time, see {messages}; the last line there:"
                f" {''.join(last)}"
            )
        for tuner_id in self.oracle.silent_workers(SILENT_S):
            self.oracle.give_up_worker(tuner_id)

    def rows(self) -> list[TrialRow]:
        """Every trial so far."""
        return [self._row(self.oracle.trials[x]) for x in list(self.oracle.start_order)]

    def _row(self, trial: Trial) -> TrialRow:
        samples = self.place.samples(self.oracle, trial)
        known = [x for x in map(read_outcome, (s.outcome for s in samples)) if x is not None]
        point = point_of(self.search, trial.hyperparameters)
        until = samples[0].until
        return row_of(trial.trial_id, point, trial.status, until, known, self.search.objective)

    def _step(self, trial: str) -> int:
        """The steps that a trial under way has come to, over all of its samples."""
        samples = self.place.samples(self.oracle, self.oracle.trials[trial])
        return sum(sample.step() for sample in samples)

    def _changed(self) -> None:
        table = table_of(self.rows(), self.search.objective)
        text = table.to_csv(index=False, lineterminator="\n")
        if text != self._written:
            write_text(self.folder / "trials.csv", text)
            self._written = text
        self.table.changed()

    def result(self) -> SearchResult:
        """Writes what was found."""
        rows = self.rows()
        for row in rows:
            if row.state == "done" and len(row.samples) < self.search.samples_per_point:
                raise RunError(
                    f"{self.folder}: what came of trial {row.trial} is no longer in trials/; search"
                    " anew in another --run"
                )
        order = ranked(rows, self.search.objective)
        if not order or self.oracle.given_up:
            why = self.oracle.given_up or "no trial could be trained"
            last = next((x.failure for x in reversed(rows) if x.failure), "no trial was made")
            raise TrainingError(f"{self.folder}: {why}, the last: {last}")
        best = order[0]
        text = experiment_to_yaml(experiment_of(self.search, best.point))
        write_text(self.folder / "best.yaml", text)
        statement = write_search_report(self.folder, self.search, rows)
        return SearchResult(
            self.folder, self.search.objective, best.mean, best.point, len(rows), statement
        )


def _worker_id(number: int) -> str:
    return f"worker_{number + 1}"


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Makes this process the chief, at a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "KERASTUNER_TUNER_ID": CHIEF,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def _start_workers(
    place: SearchPlace, devices: Sequence[Mapping[str, str]]
) -> list[subprocess.Popen]:
    """One worker for each of the devices, which are environment variables of `devices_of`."""
    task = {
        "search": place.search.model_dump_json(by_alias=True),
        "shards": str(place.shards),
        "folder": str(place.folder),
    }
    return [
        child_process.start(
            "ich_keras.search.worker",
            task,
            place.folder / f"{_worker_id(number)}.log",
            {"KERASTUNER_TUNER_ID": _worker_id(number), **variables},
        )
        for number, variables in enumerate(devices)
    ]

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
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
import numpy as np
from filelock import FileLock, Timeout
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial
from pebble import concurrent

from ich_keras import child_process
from ich_keras.config import Search, experiment_to_yaml
from ich_keras.event_log import describe_search
from ich_keras.preparation import TrainingError
from ich_keras.run_folder import RunError
from ich_keras.search_journal import Journal
from ich_keras.search_oracle import Lasting, make_oracle
from ich_keras.search_report import write_search_report
from ich_keras.search_space import Point, experiment_of, number_of_points, point_of, steps_of
from ich_keras.search_table import SearchTable
from ich_keras.trial_sample import Sample, read_outcome, run_sample
from ich_keras.trials import TrialRow, ranked, row_of, sample_run, table_of
from tfrecords_tools.atomic import whole_file, write_text
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.manifest import read_manifest
from tfrecords_tools.storage import ShardPath

log = logging.getLogger(__name__)

JOURNAL_NAME, LOCK_NAME = "journal.jsonl", "search.lock"
CHIEF = "chief"  # KerasTuner knows it by this word in its id
SIGN_OF_LIFE_S = 5
SILENT_S = 60  # after which a worker is taken for dead
IDLE_S = 1  # between two questions for a trial where there is none yet


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
        workers: processes on this machine that train at the same time, each on a GPU of its own
            where there are several.

    Raises:
        InputError: if the data does not serve.
        RunError: if the folder holds another search.
        TrainingError: if no point could be trained, too many failed, or all workers died.
    """
    with _only_search(folder):
        lead = _Lead(search, shards_folder, folder)
        with lead.table:
            if role() == CHIEF:
                lead.serve([])
            elif workers > 1:
                with _on_this_machine():
                    lead.serve(_start_workers(workers, search, shards_folder, folder))
            else:
                _search(lead.tuner)
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


def work(search: Search, shards_folder: ShardPath, folder: Path) -> None:
    """Trains what a chief gives out, until it has no more.

    A chief that is gone ends this process: KerasTuner would wait for it for an hour.
    """
    threading.Thread(target=_end_without_a_chief, daemon=True).start()
    _search(_Tuner(make_oracle(search), search, shards_folder, folder))


def _end_without_a_chief() -> None:
    """Ends this process once the chief, which was there before, cannot be reached for a while."""
    address = os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])
    reached: float | None = None
    while True:
        try:
            socket.create_connection(address, timeout=SIGN_OF_LIFE_S).close()
            reached = time.monotonic()
        except OSError:
            if reached is not None and time.monotonic() - reached > SILENT_S:
                log.error("the chief at %s:%d is gone; start all again, they go on", *address)
                os._exit(1)  # the other threads wait for it
        time.sleep(SIGN_OF_LIFE_S)


class _Lead:
    """Whoever holds the oracle."""

    def __init__(self, search: Search, shards_folder: ShardPath, folder: Path) -> None:
        manifest = read_manifest(shards_folder)
        identity = {**search.model_dump(mode="json"), "data_fingerprint": manifest.fingerprint}
        self.search, self.shards_folder, self.folder = search, shards_folder, folder
        self.oracle = make_oracle(search)
        self.tuner = _Tuner(self.oracle, search, shards_folder, folder)
        self.oracle.begin(Journal(folder / JOURNAL_NAME, identity))
        self.oracle.on_change = self._changed
        total = number_of_points(search)
        if not (folder / "trials").exists():
            describe_search(folder / "trials", list(search.search), search.objective)
        self.table = SearchTable(
            search.objective, total, self.rows, self._step, search.samples_per_point
        )
        self._changed()

    def serve(self, workers: Sequence[subprocess.Popen]) -> None:
        """Gives out trials until none are left, or none to train them."""
        serving = concurrent.thread(daemon=True)(self.tuner.search)()
        try:
            while not serving.done():
                time.sleep(IDLE_S)
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
        samples = _samples(self.oracle, self.search, self.shards_folder, self.folder, trial)
        known = [x for x in map(read_outcome, (s.outcome for s in samples)) if x is not None]
        point = point_of(self.search, trial.hyperparameters)
        until = samples[0].until
        return row_of(trial.trial_id, point, trial.status, until, known, self.search.objective)

    def _step(self, trial: str) -> int:
        """The steps that a trial under way has come to, over all of its samples."""
        samples = _samples(
            self.oracle, self.search, self.shards_folder, self.folder, self.oracle.trials[trial]
        )
        return sum(sample.step() for sample in samples)

    def _changed(self) -> None:
        table = table_of(self.rows(), self.search.objective)
        with whole_file(self.folder / "trials.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
        self.table.changed()

    def result(self) -> SearchResult:
        """Writes what was found."""
        rows = self.rows()
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


class _Tuner(BaseTuner):
    """Asks for trials, and trains them."""

    def __init__(
        self, oracle: Lasting, search: Search, shards_folder: ShardPath, folder: Path
    ) -> None:
        self.spec, self.shards_folder, self.folder = search, shards_folder, folder
        self._questions = 0
        own = os.environ.get("KERASTUNER_TUNER_ID", "alone")  # KerasTuner's files, not read again
        super().__init__(oracle, directory=str(folder / "oracle"), project_name=own, overwrite=True)

    def _populate_initial_space(self) -> None:
        """The space is declared; there is no model to ask for more."""

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
        samples = _samples(self.oracle, self.spec, self.shards_folder, self.folder, trial)
        with self._signs_of_life(trial.trial_id):
            for sample in samples:
                outcome = run_sample(sample)
                if outcome.state == "refused":  # the user's to mend, whatever the point
                    raise keras_tuner.errors.FatalValueError(outcome.message)
                if outcome.state == "broken":  # KerasTuner would count it as a failed trial
                    raise keras_tuner.errors.FatalRuntimeError(outcome.message)
                values.append(outcome.scores.get(self.spec.objective, np.nan))
                if outcome.state == "failed":
                    break
        return {self.spec.objective: float(np.mean(values))}

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


def _search(tuner: _Tuner) -> None:
    try:
        tuner.search()
    except keras_tuner.errors.FatalValueError as error:
        raise InputError(str(error)) from None
    except keras_tuner.errors.FatalRuntimeError as error:
        raise RunError(f"a trial broke: {error}") from None
    except grpc.RpcError as error:
        reason = error.code().name
        raise RunError(f"the chief does not answer ({reason}); start all again") from None


def _samples(
    oracle: Any, search: Search, shards_folder: ShardPath, folder: Path, trial: Trial
) -> list[Sample]:
    """The trainings of a trial; one that goes on from a rung has the folders of its first."""
    values = trial.hyperparameters.values
    point = point_of(search, trial.hyperparameters)
    first = _first_rung(oracle, trial)
    found = []
    for number in range(search.samples_per_point):
        experiment = experiment_of(search, point, number)
        until = steps_of(search, experiment, values)
        found.append(Sample(experiment, shards_folder, sample_run(folder, first, number), until))
    return found


def _first_rung(oracle: Any, trial: Trial) -> str:
    earlier = trial.hyperparameters.values.get("tuner/trial_id")
    return trial.trial_id if earlier is None else _first_rung(oracle, oracle.get_trial(earlier))


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
    count: int, search: Search, shards_folder: ShardPath, folder: Path
) -> list[subprocess.Popen]:
    task = {
        "search": search.model_dump_json(by_alias=True),
        "shards": str(shards_folder),
        "folder": str(folder),
    }
    return [
        child_process.start(
            "ich_keras.search_worker",
            task,
            folder / f"{_worker_id(number)}.log",
            {"KERASTUNER_TUNER_ID": _worker_id(number), **_gpu(number)},
        )
        for number in range(count)
    ]


def _gpu(number: int) -> Mapping[str, str]:
    """One of the GPUs that this process may use, by turns."""
    visible = [x for x in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x]
    if not visible:
        import tensorflow as tf

        visible = [str(i) for i in range(len(tf.config.list_physical_devices("GPU")))]
    return {"CUDA_VISIBLE_DEVICES": visible[number % len(visible)]} if visible else {}

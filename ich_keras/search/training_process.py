"""One training of a point, in a process of its own, which returns its memory when it ends.

Whatever ends that process, even the system when memory runs out, costs this sample alone. The
result is written to a file, so that an interrupted search need not train the sample again.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ich_keras.experiment.experiment import Experiment
from ich_keras.run.folder import RunError, RunFolder, write_json
from ich_keras.run.settings import settle_process
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import ShardPath, shard_path

POLL_S = 0.1  # between two looks at whether the search was stopped


@dataclass(frozen=True)
class Sample:
    """A training to be done."""

    experiment: Experiment
    shards: ShardPath
    run: RunFolder
    until: int  # step at which to stop, with a validation

    @property
    def outcome(self) -> Path:
        return self.run.path.with_name(f"{self.run.path.name}_{self.until}.json")

    @property
    def log(self) -> Path:
        return self.run.path.with_name(f"{self.run.path.name}.log")

    def step(self) -> int:
        """Returns the last step in the history of the run; 0 if there is none yet."""
        try:
            last = self.run.history.read_text(encoding="utf-8").splitlines()[-1]
            return min(int(last.split(",")[0]), self.until)
        except (OSError, IndexError, ValueError):
            return 0


@dataclass(frozen=True)
class Outcome:
    """The result of a training.

    The search continues after `failed`. `refused` has a reason that holds for every other training
    too; `broken` is an error of this program.
    """

    state: Literal["done", "failed", "refused", "broken"]
    message: str = ""  # why it is not done
    seconds: float = 0.0  # of training
    # of the last validation, by column of the history; None where a score does not exist
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer:
    """Trains samples one after the other, each in a process of its own."""

    environment: Mapping[str, str] = field(default_factory=dict)  # variables, such as a GPU
    stop: threading.Event = field(default_factory=threading.Event)  # ends the current training

    def run(self, sample: Sample) -> Outcome:
        """Trains in another process, unless done already; KeyboardInterrupt if `stop` is set."""
        existing = read_outcome(sample.outcome)
        if existing is not None and existing.state == "done":
            return existing
        sample.outcome.unlink(missing_ok=True)
        code = self.train(sample)
        outcome = read_outcome(sample.outcome)
        if outcome is None:
            outcome = Outcome("failed", f"{_cause_of_end(code)}; see {sample.log}")
            write_json(sample.outcome, asdict(outcome))
        return outcome

    def train(self, sample: Sample) -> int:
        """Trains in another process, which writes its outcome; returns its exit code."""
        process = _start(sample, self.environment)
        try:
            while process.poll() is None:
                if self.stop.wait(POLL_S):
                    raise KeyboardInterrupt
        finally:
            process.kill()
            process.communicate()
        return process.returncode


def read_outcome(path: Path) -> Outcome | None:
    """Reads the outcome of a training; None if there is none yet, RunError if it is damaged."""
    if not path.is_file():
        return None
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); start the search in another --run") from error


def train_here(sample: Sample) -> None:
    """Trains in this process, and writes the outcome."""
    write_json(sample.outcome, asdict(_train(sample)))


def _start(sample: Sample, environment: Mapping[str, str]) -> subprocess.Popen:
    """Starts this module as a program, which ends when its standard input is closed.

    It is not in the process group of the terminal: only the search decides what Ctrl-C means.
    """
    task = {
        "experiment": sample.experiment.model_dump_json(),
        "shards": str(sample.shards),
        "run": str(sample.run.path),
        "until": sample.until,
    }
    sample.log.parent.mkdir(parents=True, exist_ok=True)
    with sample.log.open("ab") as messages:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            env={**os.environ, **environment},
            process_group=0,
        )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # the process has ended already; its exit code says why
    return process


def _cause_of_end(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does when memory runs out"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _train(sample: Sample) -> Outcome:
    import tensorflow as tf

    from ich_keras.training.fit import TrainingError, fit

    # Only the last validation counts; with patience, the others decide when to stop.
    each = sample.experiment.training.patience is not None
    try:
        result = fit(
            sample.experiment,
            sample.shards,
            sample.run,
            until=sample.until,
            validate_each_interval=each,
        )
    except (TrainingError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        message = str(error).splitlines() or ["out of memory"]
        return Outcome("failed", f"{type(error).__name__}: {message[0]}")
    except InputError as error:
        return Outcome("refused", str(error))
    except Exception as error:
        logging.exception("an error of this program")
        return Outcome("broken", f"{type(error).__name__}: {error}; see {sample.log}")
    rows = [row for row in result.validations if int(row["step"]) <= sample.until]
    scores = {key: _number(cell) for key, cell in rows[-1].items() if key.startswith("val_")}
    return Outcome("done", seconds=result.position.seconds, scores=scores)


def _number(cell: float | str | None) -> float | None:
    """Converts a cell of the history, which is empty where a score does not exist."""
    return None if cell in (None, "") else float(cell)


def _receive_task() -> dict[str, Any]:
    """Reads the task; from then on, this process ends as soon as its parent has ended."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        task = json.loads(pipe.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    return task


def _end_with_the_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end of the pipe is closed
    os._exit(1)


def _main() -> None:
    settle_process()
    task = _receive_task()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    experiment = Experiment.model_validate_json(task["experiment"])
    run = RunFolder(Path(task["run"]))
    train_here(Sample(experiment, shard_path(task["shards"]), run, task["until"]))


if __name__ == "__main__":
    _main()

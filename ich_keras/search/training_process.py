"""One training of a point, in a process of its own: its memory is back when it ends.

Whatever ends that process, killed for want of memory or by a crash below Python, costs this sample
alone. What it came to stands in a file, so that a search that was interrupted need not ask again.
"""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ich_keras.experiment.experiment import Experiment
from ich_keras.run.folder import RunError, RunFolder, write_json
from ich_keras.search import child_process
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import ShardPath

ENDS_S = 30  # for which an interrupted training may take to end


@dataclass(frozen=True)
class Sample:
    """A training to be done.

    Attributes:
        experiment: what to train.
        shards: to train and validate on.
        run: its folder.
        until: step at which to stop, with a validation.
    """

    experiment: Experiment
    shards: ShardPath
    run: RunFolder
    until: int

    @property
    def outcome(self) -> Path:
        return self.run.path.with_name(f"{self.run.path.name}_{self.until}.json")

    def step(self) -> int:
        """How far it has come by what it last wrote."""
        try:
            last = self.run.history.read_text(encoding="utf-8").splitlines()[-1]
            return min(int(last.split(",")[0]), self.until)
        except (OSError, IndexError, ValueError):
            return 0  # not begun, or no row yet

    @property
    def log(self) -> Path:
        return self.run.path.with_name(f"{self.run.path.name}.log")


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        state: `done`; `failed`, at which the search goes on; `refused`, for a reason that every
            other training would meet too; `broken`, by an error of this program.
        message: why it is not done.
        seconds: spent on training.
        scores: of the last validation, by column of the history; None where one does not exist.
    """

    state: Literal["done", "failed", "refused", "broken"]
    message: str = ""
    seconds: float = 0.0
    scores: Mapping[str, float | None] = field(default_factory=dict)


def run_sample(sample: Sample) -> Outcome:
    """Trains in another process, unless it was done before."""
    known = read_outcome(sample.outcome)
    if known is not None and known.state == "done":
        return known
    sample.outcome.unlink(missing_ok=True)
    code = train_apart(sample)
    outcome = read_outcome(sample.outcome)
    if outcome is None:
        outcome = Outcome("failed", f"{_how_it_ended(code)}; see {sample.log}")
        write_json(sample.outcome, asdict(outcome))
    return outcome


def train_apart(sample: Sample) -> int:
    """Trains in another process, which writes what it came to; its exit code, as of Popen."""
    process = child_process.start(__name__, _task(sample), sample.log)
    try:
        process.wait()
    except KeyboardInterrupt:
        _wait_for_its_end(process)  # it was interrupted by the same key
        raise
    finally:
        process.kill()
        process.communicate()
    return process.returncode


def train_here(sample: Sample) -> None:
    """Trains in this process, and writes what it came to."""
    write_json(sample.outcome, asdict(_train(sample)))


def read_outcome(path: Path) -> Outcome | None:
    """What a training came to, or None as long as it came to nothing.

    Raises:
        RunError: if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); search anew in another --run") from error


def _task(sample: Sample) -> dict[str, Any]:
    return {
        "experiment": sample.experiment.model_dump_json(),
        "shards": str(sample.shards),
        "run": str(sample.run.path),
        "until": sample.until,
    }


def _wait_for_its_end(process: subprocess.Popen) -> None:
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        return


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does when memory runs out"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _train(sample: Sample) -> Outcome:
    import tensorflow as tf

    from ich_keras.training.fit import TrainingError, fit

    # The last validation decides; the others are needed only to know when to stop.
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
    scores = {key: _number(x) for key, x in rows[-1].items() if key.startswith("val_")}
    return Outcome("done", seconds=result.position.seconds, scores=scores)


def _number(cell: float | str | None) -> float | None:
    """The number in a cell of the history, which is empty where a score does not exist."""
    return None if cell in (None, "") else float(cell)


def _main() -> None:
    """Receives a sample and trains it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    task = child_process.receive()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from tfrecords_tools.storage.shard_path import shard_path

    sample = Sample(
        Experiment.model_validate_json(task["experiment"]),
        shard_path(task["shards"]),
        RunFolder(Path(task["run"])),
        task["until"],
    )
    train_here(sample)


if __name__ == "__main__":
    _main()

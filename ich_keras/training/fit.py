"""A run: steps, validation, checkpoints and resume, under any distribution strategy.

Keras' own `fit` does not step under the multi-worker strategy and its BackupAndRestore does not
resume exactly, so the loop is written out: one step function, run by the strategy, and one state
that holds everything a step depends on. The data is a function of the step (`data/passes.py`).
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from ich_keras.data.batches import reading
from ich_keras.data.shards import open_shards
from ich_keras.experiment.experiment import Experiment
from ich_keras.model.network import save_model
from ich_keras.run.folder import RunFolder
from ich_keras.run.history import History
from ich_keras.run.state import Position, restore_state, save_state
from ich_keras.training.checks import TrainingError, check_shards, claim_folder
from ich_keras.training.devices import (
    Workers,
    check_devices,
    find_workers,
    make_strategy,
    resolve_strategy,
)
from ich_keras.training.run_log import RunLog, load_callback
from ich_keras.training.schedule import Schedule, out_of_patience, position_after
from ich_keras.training.session import Session, describe, open_session, record
from ich_keras.training.stepper import Stepper
from ich_keras.training.train_step import resolve_computation
from ich_keras.training.validation import validate
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

PEER_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError)


@dataclass(frozen=True)
class FitResult:
    """The end of a run, or of a part of it."""

    run: RunFolder
    position: Position
    validations: tuple[dict[str, Any], ...]  # the rows of the history that hold a validation

    def sentence(self) -> str:
        """Tells how long the run took, how good it is, what scores it, and where it is."""
        best = "without a best score, as no validation had one"
        if self.position.best_value is not None:
            best = f"best {self.position.best_value:.4f} at step {self.position.best_step:,}"
        return (
            f"{self.position.step:,} steps in {self.position.seconds:.0f} s,"
            f" {best}{self._warning()}; `ich-keras evaluate {self.run.path}` scores it:"
            f" {self.run.path}"
        )

    def _warning(self) -> str:
        best = [x for x in self.validations if int(x["step"]) == self.position.best_step]
        warning = best[0].get("warning") if best else None  # older histories have no such column
        return f", WHERE IT IS {warning.upper()}" if warning else ""


def fit(
    experiment: Experiment,
    shards_folder: ShardPath,
    run: RunFolder,
    *,
    resume: bool = True,
    until: int | None = None,
    validate_each_interval: bool = True,
) -> FitResult:
    """Trains an experiment, or resumes the run that the folder holds.

    The chief of several workers writes the files. Without `resume` a folder in use is refused.
    `until` is a step to pause at, with a validation; a later call resumes there, to the same bits
    as without a pause if `validate_every` divides this step. Without `validate_each_interval` only
    the state is saved after each interval, and the only validation is the last.

    Raises:
        DatasetError, ManifestError: if the experiment cannot use the shards, or they are damaged.
        DistributionError: if devices or workers are not what the experiment asks for.
        RunError: if the folder holds a run of another experiment or other data.
        TrainingError: if the loss is no longer finite, or another worker ends.
    """
    config = experiment.training
    workers = find_workers()
    name = resolve_strategy(config.strategy, workers)
    strategy = make_strategy(name)
    computation = resolve_computation(config, name, strategy.num_replicas_in_sync)
    shards = open_shards(shards_folder, experiment.data)
    check_shards(shards, experiment)
    check_devices(strategy, config)
    callbacks = [load_callback(x) for x in config.callbacks]
    if workers.chief:
        claim_folder(run, experiment, shards, resume=resume)
    session = open_session(experiment, shards, run, workers, strategy, computation)
    with strategy.scope():
        position = restore_state(run, session.variables)
    history = History(run.history, upto_step=position.step)
    end = min(until or config.max_steps, config.max_steps)
    schedule = Schedule(config, end, validate_each_interval)
    if position.step >= end or out_of_patience(position, config):
        log.info("%s: is complete, nothing to do", run.path)
    else:
        with reading(shards_folder), _other_workers(workers):
            describe(session, schedule, position)
            if workers.chief:
                record(session, position)
            run_log = RunLog(session, position, callbacks) if workers.chief else None
            position = _train(session, schedule, position, history, run_log)
    validations = tuple(x for x in history.rows if x.get("val_loss") not in (None, ""))
    return FitResult(run, position, validations)


def _train(
    session: Session,
    schedule: Schedule,
    position: Position,
    history: History,
    run_log: RunLog | None,
) -> Position:
    """Steps until the end or until patience runs out, and returns the position there.

    Every worker validates, since each has to know when to stop; only the chief, whose run_log is
    not None, writes files.
    """
    config, began = session.experiment.training, time.monotonic()
    earlier, step = position.seconds, position.step
    first_validation = next(x for x in range(step + 1, schedule.end + 1) if schedule.validates(x))
    with progress(total=schedule.end, desc="fit", unit="step", done=step) as bar:
        stepper = Stepper(session, schedule, step, bar)
        while True:
            results = stepper.until(schedule.next_log(step))
            step = stepper.step
            position = replace(position, step=step, seconds=earlier + time.monotonic() - began)
            row = _training_row(session, position, results)
            bar.note(f"loss {row['loss']:.4f}")
            validation = validate(session, step) if schedule.validates(step) else None
            if validation is not None:
                row |= validation.columns
                score = session.chiefs_value(row[f"val_{config.monitor}"])
                position = position_after(position, config.monitor, score)
                if run_log is not None and position.best_step == step:
                    save_model(session.model, session.run.best)
                _log_validation(row)
                if step == first_validation:
                    took = validation.seconds
                    percent = 100 * took / (time.monotonic() - began)
                    log.info(f"the validation took {took:.0f} s, {percent:.0f} % of the time")
            last = step == schedule.end or out_of_patience(position, config)
            history.rows.append(row)
            if run_log is not None:
                run_log.record(row, history, validation, best_step=position.best_step)
                if last or schedule.draws(step):
                    run_log.draw_class_grid(session.forward, step)
                if schedule.saves(step):  # after the other files, so that a resumed run has all
                    save_state(session.run, session.variables, position)
                run_log.callbacks.logged(row, validated=validation is not None)
            if last:
                break
    if position.step < schedule.end:
        log.info("no better %s in %d validations: stopped", config.monitor, config.patience)
    if run_log is not None:
        run_log.close()
    session.chiefs_value(0.0)  # no worker ends before the chief, which may need it until then
    return position


def _training_row(session: Session, position: Position, results: np.ndarray) -> dict[str, Any]:
    """Returns a row of the history without validation columns.

    The results are loss and accuracy of each step since the previous row.

    Raises:
        TrainingError: if the loss is not finite.
    """
    loss, accuracy = results.mean(axis=0)
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} between steps {position.step - len(results) + 1} and"
            f" {position.step}; lower training.learning_rate, or set training.precision to float32"
        )
    return {
        "step": position.step,
        "seconds": round(position.seconds, 1),
        "learning_rate": float(session.optimizer.learning_rate),
        "loss": float(loss),
        "accuracy": float(accuracy),
        "warning": "",
    }


def _log_validation(row: dict[str, Any]) -> None:
    step, mean_auc = row["step"], row["val_mean_auc"]
    auc = "undefined" if mean_auc is None else f"{mean_auc:.4f}"
    losses = f"loss {row['loss']:.4f}, validation loss {row['val_loss']:.4f}"
    log.info(f"step {step}: {losses}, mean AUC {auc}")
    if row["warning"]:
        log.warning(f"step {step}: on the validation slices: {row['warning']}")


@contextmanager
def _other_workers(workers: Workers) -> Iterator[None]:
    """Reports in one line that another worker is gone.

    Raises:
        TrainingError: if one ended or cannot be reached.
    """
    try:
        yield
    except PEER_GONE as error:
        if workers.count == 1 or "GetNext" in str(error):  # an object store that does not answer
            raise
        raise TrainingError(
            f"worker {workers.index} of {workers.count}: another worker ended or cannot be reached;"
            " start the same command on all workers again, they resume from the last validation"
        ) from error

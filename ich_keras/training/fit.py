"""A run: steps, validation, checkpoints and resume, under any distribution strategy.

Keras' own `fit` does not step under the multi-worker strategy and its BackupAndRestore does not
resume exactly, so the loop is written out: one step function, run by the strategy, and one state
that holds everything a step depends on. The data is a function of the step (`dataset.py`).
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ich_keras.data.batches import reading, training_batches
from ich_keras.data.shards import ShardSet, open_shards
from ich_keras.experiment.experiment import Experiment
from ich_keras.model.forward import compile_forward, predict_split
from ich_keras.model.network import build_model, save_model, summarize
from ich_keras.model.predictions import Predictions
from ich_keras.run.environment import Computation, current_environment, record_session
from ich_keras.run.folder import RunFolder
from ich_keras.run.history import History
from ich_keras.run.state import Position, restore_state, save_state
from ich_keras.training.callbacks import Watchers, load_callback
from ich_keras.training.checks import (
    TrainingError,
    check_size,
    check_splits,
    claim_folder,
    warm_start,
)
from ich_keras.training.devices import (
    Workers,
    agree_with_the_chief,
    device_names,
    find_workers,
    make_strategy,
    refuse_xla_on_several_devices,
    resolve_strategy,
    share_of_batch,
    warn_without_gpu,
)
from ich_keras.training.losses import constant_guess_loss, make_loss
from ich_keras.training.run_log import Recorder
from ich_keras.training.schedule import Schedule, is_better
from ich_keras.training.train_step import compile_train_step, make_optimizer, resolve_computation
from ich_keras.training.validation import collapse, validation_scores
from tfrecords_tools.progress import progress
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)

PEER_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError)


@dataclass(frozen=True)
class FitResult:
    """What a run came to.

    Attributes:
        run: its folder.
        position: where it ended.
        validations: the rows of the history that hold a validation.
    """

    run: RunFolder
    position: Position
    validations: tuple[dict[str, Any], ...]

    def sentence(self) -> str:
        """What was made, and where."""
        best = "without a best score, as no validation had one"
        if self.position.best_value is not None:
            best = f"best {self.position.best_value:.4f} at step {self.position.best_step:,}"
        return (
            f"{self.position.step:,} steps in {self.position.seconds:.0f} s,"
            f" {best}{self._warning()}: {self.run.path}"
        )

    def _warning(self) -> str:
        best = [x for x in self.validations if int(x["step"]) == self.position.best_step]
        warning = best[0].get("warning") if best else None  # no column in histories of old
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
    """Trains an experiment, or goes on with the run that the folder holds.

    Args:
        experiment: what to train.
        shards_folder: the shards to train and validate on.
        run: where everything is written, by the chief where several workers train together.
        resume: go on from `last/` where there is one; otherwise a folder in use is refused.
        until: step to pause at, with a validation; a later call goes on, to the same bits as
            without a pause if `validate_every` divides this step.
        validate_each_interval: validate after every `validate_every` steps; otherwise only the
            state is saved then, and the only validation is the last.

    Raises:
        DatasetError, ManifestError: if the shards do not serve the experiment, or are damaged.
        DistributionError: if devices or workers are not as the experiment wants them.
        RunError: if the folder holds a run of another experiment or other data.
        TrainingError: if the loss is no longer finite, or another worker ends.
    """
    workers = find_workers()
    name = resolve_strategy(experiment.training.strategy, workers)
    strategy = make_strategy(name)
    computation = resolve_computation(experiment.training, name, strategy.num_replicas_in_sync)
    shards = open_shards(shards_folder, experiment.data)
    check_size(shards, experiment.model)
    check_splits(shards, experiment.training.monitor)
    share_of_batch(strategy, experiment.training.batch_size)
    refuse_xla_on_several_devices(strategy, experiment.training.jit_compile)
    callbacks = [load_callback(x) for x in experiment.training.callbacks]
    if workers.chief:
        claim_folder(run, experiment, shards, resume=resume)
    trainer = _Trainer(experiment, shards, run, strategy, workers, computation, callbacks)
    end = min(until or experiment.training.max_steps, experiment.training.max_steps)
    schedule = Schedule(experiment.training, end, validate_each_interval)
    with reading(shards_folder), _other_workers(workers):
        return trainer.train(schedule)


@contextmanager
def _other_workers(workers: Workers) -> Iterator[None]:
    """Says in one line that one of them is gone."""
    try:
        yield
    except PEER_GONE as error:
        if workers.count == 1 or "GetNext" in str(error):  # a store that does not answer
            raise
        raise TrainingError(
            f"worker {workers.index} of {workers.count}: another worker ended or cannot be reached;"
            " start the same command on all again, it goes on from the last validation"
        ) from error


class _Trainer:
    """One session of a run, in one of the processes that train together."""

    def __init__(
        self,
        experiment: Experiment,
        shards: ShardSet,
        run: RunFolder,
        strategy: tf.distribute.Strategy,
        workers: Workers,
        computation: Computation,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        self.experiment = experiment
        self.config = experiment.training
        self.shards = shards
        self.run = run
        self.strategy = strategy
        self.workers = workers
        self.computation = computation
        self.share = share_of_batch(strategy, self.config.batch_size)
        self.agree = agree_with_the_chief(strategy, workers)
        self.callbacks = callbacks
        keras.utils.set_random_seed(experiment.seed)
        tf.random.set_seed(max(experiment.seed, 1))  # tf.data fails at 0 beside a seed of a pass
        if self.config.deterministic:
            tf.config.experimental.enable_op_determinism()
        keras.config.set_dtype_policy(computation.precision)
        with strategy.scope():
            self.model = build_model(
                experiment.model,
                shards.input.channels,
                synchronized=strategy.num_replicas_in_sync > 1,
            )
            warm_start(self.model, experiment.model)
            self.optimizer = make_optimizer(self.config)
            self.optimizer.build(self.model.trainable_variables)
            self.position = restore_state(run, self._variables())
        self.started: float | None = None  # when this session began, until its first validation
        self.history = History(run.history, upto_step=self.position.step)
        self.loss = make_loss(self.config)
        self.forward = compile_forward(self.model)
        self.train_step = compile_train_step(
            strategy,
            self.model,
            self.optimizer,
            self.loss,
            self.config.batch_size,
            computation.jit_compile,
        )

    def train(self, schedule: Schedule) -> FitResult:
        """Steps to the end or until patience ends; a complete run is left as it is."""
        if self.position.step >= schedule.end or self._out_of_patience():
            log.info("%s: is complete, nothing to do", self.run.path)
        else:
            self._describe(schedule)
            if self.workers.chief:
                self._record_session()
            self._steps(schedule)
        validations = tuple(x for x in self.history.rows if x.get("val_loss") not in (None, ""))
        return FitResult(self.run, self.position, validations)

    def _record_session(self) -> None:
        devices = [device.name for device in tf.config.list_logical_devices()]
        fingerprint, seed = self.shards.manifest.fingerprint, self.experiment.seed
        record_session(
            self.run,
            self.position.step,
            current_environment(devices, self.computation),
            {"data_fingerprint": fingerprint, "seed": seed},
        )

    def _steps(self, schedule: Schedule) -> None:
        start, end = self.position.step, schedule.end
        self.started = time.monotonic()
        recorder = self._recorder() if self.workers.chief else None
        batches = iter(self._batches())
        losses: list[tuple[tf.Tensor, tf.Tensor]] = []
        began = time.monotonic() - self.position.seconds
        with progress(total=end, desc="fit", unit="step", done=start) as bar:
            for step in range(start + 1, end + 1):
                losses.append(self.train_step(*next(batches)))
                bar.update()
                if not schedule.logs(step):
                    continue
                row = self._row(step, losses, time.monotonic() - began)
                losses = []
                bar.note(f"loss {row['loss']:.4f}")
                predictions = self._timed_validation(row) if schedule.validates(step) else None
                last = step == end or (predictions is not None and self._out_of_patience())
                self.history.rows.append(row)
                if recorder is not None:
                    recorder.record(row, predictions, best_step=self.position.best_step)
                    if schedule.draws(step) or last:
                        recorder.draw_class_grid(self.forward, step)
                    if schedule.saves(step):  # after its files, so that a resumed run misses none
                        save_state(self.run, self._variables(), self.position)
                    recorder.tell_callbacks(row, validated=predictions is not None)
                if last:
                    break
        if recorder is not None:
            recorder.close()
        self.agree(0.0)  # all end together: until the chief has written all, it may need the others

    def _recorder(self) -> Recorder:
        epoch = self.position.step // self.config.validate_every
        watchers = Watchers(self.callbacks, self.model, self.optimizer, epoch=epoch)
        return Recorder(self.experiment, self.shards, self.run, self.history, watchers)

    def _batches(self) -> Any:
        """Batches of this worker, in parts of a device each.

        For one processor they are taken as they are: what brings them to a GPU ahead of time has
        each step there fetch its memory anew from the system, and take half as long again.
        """
        dataset = training_batches(
            self.shards,
            self.experiment.data,
            batch_size=self.config.batch_size,
            seed=self.experiment.seed,
            start_step=self.position.step,
            worker=self.workers.index,
            workers=self.workers.count,
        )
        if device_names(self.strategy) == ["CPU:0"]:
            return dataset
        return self.strategy.distribute_datasets_from_function(
            lambda _: dataset.rebatch(self.share, drop_remainder=True)
        )

    def _row(self, step: int, losses: list, seconds: float) -> dict[str, Any]:
        loss, accuracy = np.mean([[x.numpy(), y.numpy()] for x, y in losses], axis=0)
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} between steps {step - len(losses) + 1} and {step};"
                " lower training.learning_rate, or set training.precision to float32"
            )
        self.position = replace(self.position, step=step, seconds=seconds)
        return {
            "step": step,
            "seconds": round(seconds, 1),
            "learning_rate": float(self.optimizer.learning_rate),
            "loss": float(loss),
            "accuracy": float(accuracy),
            "warning": "",
        }

    def _timed_validation(self, row: dict[str, Any]) -> Predictions:
        """Validates, and after the first validation tells the share of time it takes."""
        began = time.monotonic()
        predictions = self._validate(row)
        if self.started is not None:
            took, since = time.monotonic() - began, time.monotonic() - self.started
            log.info("the validation took %.0f s, %.0f %% of the time", took, 100 * took / since)
            self.started = None
        return predictions

    def _validate(self, row: dict[str, Any]) -> Predictions:
        """Adds the validation scores to the row, and keeps the model if it is the best so far.

        Every worker does it all, for each has to know when to stop.
        """
        predictions = predict_split(
            self.forward,
            self.shards,
            "val",
            batch_size=self.experiment.evaluation.batch_size,
            slices=self.config.validation_slices,
        )
        if not np.isfinite(predictions.probabilities).all():
            raise TrainingError(
                f"the network's answers are not finite at step {row['step']}; lower"
                " training.learning_rate, or set training.precision to float32"
            )
        row.update(validation_scores(predictions, self.loss))
        row["warning"] = collapse(predictions.probabilities)
        self._keep_if_best(self.agree(row[f"val_{self.config.monitor}"]), row["step"])
        mean_auc = row["val_mean_auc"]
        log.info(
            "step %d: loss %.4f, validation loss %.4f, mean AUC %s",
            row["step"],
            row["loss"],
            row["val_loss"],
            "undefined" if mean_auc is None else f"{mean_auc:.4f}",
        )
        if row["warning"]:
            log.warning("step %d: on the validation slices: %s", row["step"], row["warning"])
        return predictions

    def _keep_if_best(self, value: float | None, step: int) -> None:
        """Keeps the model if its score is the best so far, or as long as there was no score."""
        best = self.position.best_value
        better = value is not None and is_better(self.config.monitor, value, best)
        if (better or best is None) and self.workers.chief:
            save_model(self.model, self.run.best)
        if better or best is None:
            self.position = replace(self.position, best_value=value, best_step=step)
        stale = 0 if better else self.position.stale + 1
        self.position = replace(self.position, stale=stale)

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        stop = patience is not None and self.position.stale >= patience
        if stop:
            log.info("no better %s in %d validations: stopped", self.config.monitor, patience)
        return stop

    def _describe(self, schedule: Schedule) -> None:
        warn_without_gpu()
        pixel_mm = self.shards.pixel_mm
        summary = summarize(self.model, self.experiment.model, self.shards.input.size, pixel_mm)
        in_mm = summary.receptive_field_mm
        log.info(
            "%s: %s parameters, %.0f million multiply-adds a slice of %d px, a receptive field of"
            " %d px%s",
            self.experiment.name,
            f"{summary.parameters:,}",
            summary.multiply_adds / 1e6,
            self.shards.input.size,
            summary.receptive_field,
            "" if in_mm is None else f" or {in_mm:.0f} mm",
        )
        log.info(
            "%s slices to train on, on %s of worker %d of %d",
            f"{self.shards.slices('train'):,}",
            ", ".join(device_names(self.strategy)),
            self.workers.index,
            self.workers.count,
        )
        log.info(
            "on the validation slices the best constant guess has a loss of %.4f, and always saying"
            ' "no" an accuracy of %.4f',
            constant_guess_loss(self.config, self.shards.prevalences("val")),
            1 - self.shards.prevalences("val").mean(),
        )
        slices = min(self.config.validation_slices or 2**62, self.shards.slices("val"))
        log.info(
            "a validation takes %s slices, all of them about %.0f %% of the multiply-adds",
            f"{slices:,}",
            100 * schedule.validation_share(slices),
        )
        if self.position.step:
            log.info("resumed at step %d", self.position.step)

    def _variables(self) -> list[Any]:
        """All that a step changes: weights, statistics, dropout seeds, and the optimizer's own."""
        return [*self.model.variables, *self.optimizer.variables]

"""A run: steps, validation, checkpoints and resume, under any distribution strategy.

Keras' own `fit` does not step under the multi-worker strategy and its BackupAndRestore does not
resume exactly, so the loop is written out: one step function, run by the strategy, and one state
that holds everything a step depends on. The data is a function of the step (`dataset.py`).
"""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from ich_keras import metrics
from ich_keras.config import Experiment
from ich_keras.dataset import ShardSet, open_shards, reading, training_batches
from ich_keras.figures import curves, save_png
from ich_keras.gallery import draw_class_grid
from ich_keras.model import build_model, summarize
from ich_keras.preparation import TrainingError, check_splits, claim_folder, warm_start
from ich_keras.run_folder import (
    History,
    RunFolder,
    write_json,
)
from ich_keras.scoring import Predictions, compile_forward, predict_split
from ich_keras.stepping import (
    LOSSES,
    choose_precision,
    choose_strategy,
    compile_train_step,
    make_optimizer,
)
from tfrecords_tools.atomic import whole_file
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.progress import progress
from tfrecords_tools.storage import ShardPath

log = logging.getLogger(__name__)

STATE_NAME = "state.npz"
HIGHER_IS_BETTER = {"mean_auc": True, "loss": False, "weighted_log_loss": False}


@dataclass(frozen=True)
class Position:
    """How far a run has come; with the variables, all that resume needs.

    Attributes:
        step: batches learned from.
        seconds: spent on them, over all sessions.
        best_value: the monitored metric at its best, or None before the first validation.
        best_step: the step of that best.
        stale: validations since then.
    """

    step: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0


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
        return (
            f"{self.position.step:,} steps in {self.position.seconds:.0f} s, best"
            f" {self.position.best_value:.4f} at step {self.position.best_step:,}: {self.run.path}"
        )


def fit(
    experiment: Experiment, shards_folder: ShardPath, run: RunFolder, *, resume: bool = True
) -> FitResult:
    """Trains an experiment, or goes on with the run that the folder holds.

    Args:
        experiment: what to train.
        shards_folder: the shards to train and validate on.
        run: where everything is written.
        resume: go on from `last/` where there is one; otherwise a folder in use is refused.

    Raises:
        DatasetError, ManifestError: if the shards do not serve the experiment, or are damaged.
        RunError: if the folder holds a run of another experiment or other data.
        TrainingError: if the loss is no longer finite.
    """
    shards = open_shards(shards_folder, experiment.data)
    check_splits(shards, experiment.training.monitor)
    claim_folder(run, experiment, shards, resume=resume)
    trainer = _Trainer(experiment, shards, run)
    with reading(shards_folder):
        return trainer.train()


def constant_guess_loss(shards: ShardSet, split: str, loss: str) -> float:
    """The loss of the best constant guess, which is to say each label's prevalence p.

    For MSE the mean of p (1 - p), for binary cross-entropy the mean entropy of p.
    """
    p = _prevalences(shards, split)
    if loss == "mse":
        return float(np.mean(p * (1 - p)))
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return float(-np.mean(q * np.log(q) + (1 - q) * np.log1p(-q)))


def _prevalences(shards: ShardSet, split: str) -> np.ndarray:
    """The share of slices that bear each label; float64 (6,)."""
    counts = shards.manifest.splits[split]
    return np.array([counts.positives[label] for label in LABELS]) / counts.slices


class _Trainer:
    """One session of a run."""

    def __init__(self, experiment: Experiment, shards: ShardSet, run: RunFolder) -> None:
        self.experiment = experiment
        self.config = experiment.training
        self.shards = shards
        self.run = run
        keras.utils.set_random_seed(experiment.seed)
        if self.config.deterministic:
            tf.config.experimental.enable_op_determinism()
        keras.config.set_dtype_policy(choose_precision(self.config.precision))
        self.strategy = choose_strategy(self.config.strategy)
        replicas = self.strategy.num_replicas_in_sync
        if self.config.batch_size % replicas:
            raise TrainingError(
                f"training.batch_size {self.config.batch_size} is not a multiple of the"
                f" {replicas} devices; change it"
            )
        with self.strategy.scope():
            self.model = build_model(
                experiment.model, len(shards.channels), synchronized=replicas > 1
            )
            warm_start(self.model, experiment.model)
            self.optimizer = make_optimizer(self.config)
            self.optimizer.build(self.model.trainable_variables)
        self.position = self._restore()
        self.history = History(run.history, upto_step=self.position.step)
        self.forward = compile_forward(self.model)
        self.train_step = compile_train_step(self.strategy, self.model, self.optimizer, self.config)

    def train(self) -> FitResult:
        """Steps until `max_steps` or until patience ends; a complete run is left as it is."""
        if self.position.step >= self.config.max_steps or self._out_of_patience():
            log.info("%s: is complete, nothing to do", self.run.path)
        else:
            self._describe()
            self._steps()
        validations = tuple(x for x in self.history.rows if x.get("val_loss") not in (None, ""))
        return FitResult(self.run, self.position, validations)

    def _steps(self) -> None:
        config, start = self.config, self.position.step
        writer = tf.summary.create_file_writer(str(self.run.tensorboard))
        batches = iter(self._batches())
        losses: list[tuple[tf.Tensor, tf.Tensor]] = []
        began = time.monotonic() - self.position.seconds
        with progress(total=config.max_steps, desc="fit", unit="step") as bar:
            bar.update(start)
            for step in range(start + 1, config.max_steps + 1):
                losses.append(self.train_step(*next(batches)))
                bar.update()
                validate = step % config.validate_every == 0 or step == config.max_steps
                if not (validate or step % config.log_every == 0):
                    continue
                row = self._row(step, losses, time.monotonic() - began)
                losses = []
                bar.set_postfix(loss=row["loss"])
                if validate:
                    self._validate(row)
                self.history.add(row)
                _write_scalars(writer, row)
                if step % config.figure_every == 0 or step == config.max_steps:
                    self._draw_figures(step, writer)
                if validate:
                    self._save_state()
                    if self._out_of_patience():
                        break
        writer.close()

    def _batches(self) -> Any:
        dataset = training_batches(
            self.shards,
            self.experiment.data,
            batch_size=self.config.batch_size,
            seed=self.experiment.seed,
            start_step=self.position.step,
        )
        return self.strategy.experimental_distribute_dataset(dataset)

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
        }

    def _validate(self, row: dict[str, Any]) -> None:
        """Adds the validation scores to the row, and keeps the model if it is the best so far."""
        predictions = predict_split(
            self.forward,
            self.shards,
            "val",
            batch_size=self.experiment.evaluation.batch_size,
            batches=self.config.validation_steps,
        )
        row.update(validation_scores(predictions, self.config.loss))
        value = row[f"val_{self.config.monitor}"]
        sign = 1 if HIGHER_IS_BETTER[self.config.monitor] else -1
        best = self.position.best_value
        if best is None or sign * value > sign * best:
            with whole_file(self.run.best) as temporary:
                self.model.save(temporary)
            self.position = replace(self.position, best_value=value, best_step=row["step"], stale=0)
        else:
            self.position = replace(self.position, stale=self.position.stale + 1)
        log.info(
            "step %d: loss %.4f, validation loss %.4f, mean AUC %.4f",
            row["step"],
            row["loss"],
            row["val_loss"],
            row["val_mean_auc"],
        )

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        stop = patience is not None and self.position.stale >= patience
        if stop:
            log.info("no better %s in %d validations: stopped", self.config.monitor, patience)
        return stop

    def _draw_figures(self, step: int, writer: tf.summary.SummaryWriter) -> None:
        """The class grid at this step, for the folder and for TensorBoard, and the curves."""
        path = self.run.figures / f"class_grid_{step}.png"
        save_png(draw_class_grid(self.forward, self.shards, "val", step), path)
        with writer.as_default():
            picture = tf.io.decode_png(path.read_bytes(), channels=3)
            tf.summary.image("class grid", picture[tf.newaxis], step=step)
        figure = curves(
            pd.read_csv(self.run.history),
            best_step=self.position.best_step or None,
            always_negative_accuracy=1 - float(_prevalences(self.shards, "val").mean()),
            constant_guess_loss=constant_guess_loss(self.shards, "val", self.config.loss),
        )
        save_png(figure, self.run.figures / "curves.png")

    def _describe(self) -> None:
        summary = summarize(self.model, self.experiment.model, self.shards.size)
        log.info(
            "%s: %s parameters, %.0f million multiply-adds a slice of %d px, receptive field %d px",
            self.experiment.name,
            f"{summary.parameters:,}",
            summary.multiply_adds / 1e6,
            self.shards.size,
            summary.receptive_field,
        )
        log.info(
            "%s slices to train on, on %s; the best constant guess has a loss of %.4f",
            f"{self.shards.slices('train'):,}",
            ", ".join(_devices(self.strategy)),
            constant_guess_loss(self.shards, "train", self.config.loss),
        )
        if self.position.step:
            log.info("resumed at step %d", self.position.step)

    def _variables(self) -> list[Any]:
        """All that a step changes: weights, statistics, dropout seeds, and the optimizer's own."""
        return [*self.model.variables, *self.optimizer.variables]

    def _save_state(self) -> None:
        values = {f"{i:04d}": v.numpy() for i, v in enumerate(self._variables())}
        position = asdict(self.position)
        with whole_file(self.run.last / STATE_NAME) as temporary, temporary.open("wb") as file:
            np.savez(file, position=np.array(json.dumps(position)), **values)
        write_json(self.run.position, position)

    def _restore(self) -> Position:
        path = self.run.last / STATE_NAME
        if not path.is_file():
            return Position()
        with np.load(path, allow_pickle=False) as state, self.strategy.scope():
            for i, variable in enumerate(self._variables()):
                variable.assign(state[f"{i:04d}"])
            return Position(**json.loads(str(state["position"])))


def validation_scores(predictions: Predictions, loss: str) -> dict[str, float]:
    """The validation columns of the history, without intervals."""
    labels, probabilities = predictions.labels, predictions.probabilities
    losses = LOSSES[loss](labels.astype("float32"), probabilities)
    return {
        "val_loss": float(np.mean(losses)),
        "val_accuracy": float(np.mean((probabilities >= 0.5) == (labels == 1))),
        "val_mean_auc": metrics.mean_auc(labels, probabilities),
        "val_weighted_log_loss": metrics.weighted_log_loss(labels, probabilities),
    }


def _write_scalars(writer: tf.summary.SummaryWriter, row: dict[str, Any]) -> None:
    with writer.as_default():
        for name, value in row.items():
            if name != "step":
                tf.summary.scalar(name.replace("val_", "validation/"), value, step=row["step"])
        writer.flush()


def _devices(strategy: tf.distribute.Strategy) -> list[str]:
    return [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]

"""What a run writes for people: history, curves, class grids, TensorBoard, and Keras callbacks.

The experiment names the callbacks, such as those of MLflow or Weights & Biases. They watch a run;
they do not steer it, since a resumed run could not repeat what they did. Their epoch is the
interval between two validations.
"""

from importlib import import_module
from typing import Any

import keras
import pandas as pd

from ich_keras.experiment.schema import CallbackConfig
from ich_keras.figures.curves import curves, save_png
from ich_keras.figures.examples import draw_class_grid
from ich_keras.model.forward import Forward
from ich_keras.run.history import History
from ich_keras.run.state import Position
from ich_keras.training.losses import constant_guess_loss
from ich_keras.training.session import Session
from ich_keras.training.tensorboard import EventLog
from ich_keras.training.validation import Validation
from tfrecords_tools.errors import InputError

# Callbacks that steer a run under Keras' own `fit`, and what does so here.
STEERING = {
    keras.callbacks.EarlyStopping: "set training.patience",
    keras.callbacks.ReduceLROnPlateau: "set training.schedule",
    keras.callbacks.LearningRateScheduler: "set training.schedule and training.warmup_steps",
    keras.callbacks.SwapEMAWeights: "weights are not averaged here",
    keras.callbacks.ModelCheckpoint: "the run keeps best.keras by training.monitor",
    keras.callbacks.BackupAndRestore: "the run keeps last/ and resumes from it by itself",
    keras.callbacks.TerminateOnNaN: "a loss that is not finite ends the run by itself",
}


class CallbackError(InputError):
    """A callback that cannot be used, or that failed."""


def load_callback(config: CallbackConfig) -> keras.callbacks.Callback:
    """Imports the class of a callback and creates one.

    Raises:
        CallbackError: if that fails, or it is not a Keras callback, or it steers a run.
    """
    module, _, name = config.path.rpartition(".")
    try:
        callback = getattr(import_module(module), name)(**config.arguments)
    except Exception as error:  # code of others may raise anything
        raise CallbackError(
            f"training.callbacks: {config.path}: {type(error).__name__}: {error}; install the"
            " package that holds it, or correct path and arguments"
        ) from error
    if not isinstance(callback, keras.callbacks.Callback):
        raise CallbackError(f"training.callbacks: {config.path} is not a Keras callback")
    for kind, instead in STEERING.items():
        if isinstance(callback, kind):
            raise CallbackError(
                f"training.callbacks: {config.path} steers a run, which callbacks cannot do here;"
                f" remove it: {instead}"
            )
    return callback


class CallbackList:
    """The callbacks of a run, called as Keras' own `fit` calls them."""

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        epoch: int,
    ) -> None:
        # A second model that shares the weights: callbacks look for its optimizer, which would
        # be saved with every checkpoint if the network itself were compiled.
        self._twin = keras.Model(model.inputs, model.outputs, name=model.name)
        self._twin.compile(optimizer=optimizer)
        self._twin.stop_training = False
        self._callbacks = callbacks
        self._epoch = epoch
        for callback in callbacks:
            callback.set_model(self._twin)
        self._call("on_train_begin")
        self._call("on_epoch_begin", epoch)

    def logged(self, row: dict[str, Any], *, validated: bool) -> None:
        """Passes them a row of the history, which must be saved by then, since they may raise."""
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        if not validated:
            self._call("on_train_batch_end", row["step"] - 1, numbers)
            return
        self._call("on_epoch_end", self._epoch, numbers)
        self._epoch += 1
        self._call("on_epoch_begin", self._epoch)

    def finished(self) -> None:
        self._call("on_train_end")

    def _call(self, event: str, *arguments: Any) -> None:
        """Calls a method of each callback.

        Raises:
            CallbackError: if one of them fails, or tries to end the run.
        """
        for callback in self._callbacks:
            name = f"{type(callback).__module__}.{type(callback).__qualname__}"
            try:
                getattr(callback, event)(*arguments)
            except Exception as error:  # code of others may raise anything
                reason = (str(error).splitlines() or [""])[0]
                raise CallbackError(
                    f"training.callbacks: {name} failed in {event}: {type(error).__name__}:"
                    f" {reason}; fix it, and the same command resumes the run"
                ) from error
            if self._twin.stop_training:
                raise CallbackError(
                    f"training.callbacks: {name} set model.stop_training, but callbacks cannot"
                    " steer a run here; remove it, and set training.patience"
                )


class RunLog:
    """Writes the log of one session of a run, which may be the first or a resumed one."""

    def __init__(
        self, session: Session, position: Position, callbacks: list[keras.callbacks.Callback]
    ) -> None:
        config = session.experiment.training
        self._shards, self._run = session.shards, session.run
        self._prevalences = session.shards.prevalences("val")
        self._constant_guess = constant_guess_loss(config, self._prevalences)
        epoch = position.step // config.validate_every
        self.callbacks = CallbackList(callbacks, session.model, session.optimizer, epoch=epoch)
        self._events = EventLog(session.run.tensorboard, session.experiment)

    def record(
        self,
        row: dict[str, Any],
        history: History,
        validation: Validation | None,
        *,
        best_step: int,
    ) -> None:
        """Writes the history with its newest row, and the curves of a validation."""
        history.write()
        self._events.scalars(row)
        if validation is not None:
            self._events.precision_recall(row["step"], validation.predictions)
            self._draw_curves(best_step)

    def draw_class_grid(self, forward: Forward, step: int) -> None:
        """Draws the class grid of a step, for the folder and for TensorBoard."""
        path = self._run.figures / f"class_grid_{step}.png"
        save_png(draw_class_grid(forward, self._shards, "val", step), path)
        self._events.picture(step, "class grid", path)

    def close(self) -> None:
        self.callbacks.finished()
        self._events.close()

    def _draw_curves(self, best_step: int) -> None:
        figure = curves(
            pd.read_csv(self._run.history),
            best_step=best_step,
            always_negative_accuracy=1 - float(self._prevalences.mean()),
            constant_guess_loss=self._constant_guess,
        )
        save_png(figure, self._run.figures / "curves.png")

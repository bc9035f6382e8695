"""Keras callbacks that an experiment names, such as those of MLflow or Weights & Biases.

They watch a run; they do not steer it, since a resumed run could not repeat what they did. Their
epoch is the interval between two validations.
"""

from importlib import import_module
from typing import Any

import keras

from ich_keras.experiment.schema import CallbackConfig
from tfrecords_tools.errors import InputError

# What steers a run under Keras' own `fit`, and the key or file that does so here.
STEERING = {
    keras.callbacks.EarlyStopping: "set training.patience",
    keras.callbacks.ReduceLROnPlateau: "set training.schedule",
    keras.callbacks.LearningRateScheduler: "set training.schedule and training.warmup_steps",
    keras.callbacks.SwapEMAWeights: "weights are not averaged here",
    keras.callbacks.ModelCheckpoint: "the run keeps best.keras by training.monitor",
    keras.callbacks.BackupAndRestore: "the run keeps last/ and goes on from it by itself",
    keras.callbacks.TerminateOnNaN: "a loss that is not finite ends the run by itself",
}


class CallbackError(InputError):
    """A callback that cannot be used, or that failed."""


def load_callback(config: CallbackConfig) -> keras.callbacks.Callback:
    """Imports a callback's class and makes one.

    Raises:
        CallbackError: if it cannot be imported or made, is no Keras callback, or steers a run.
    """
    module, _, name = config.path.rpartition(".")
    try:
        made = getattr(import_module(module), name)(**config.arguments)
    except Exception as error:  # whatever code of others raises is told in a line
        raise CallbackError(
            f"training.callbacks: {config.path}: {type(error).__name__}: {error}; install the"
            " package that holds it, or mend path and arguments"
        ) from error
    if not isinstance(made, keras.callbacks.Callback):
        raise CallbackError(f"training.callbacks: {config.path} is no Keras callback")
    for kind, instead in STEERING.items():
        if isinstance(made, kind):
            raise CallbackError(
                f"training.callbacks: {config.path} steers a run, which callbacks cannot do here;"
                f" remove it: {instead}"
            )
    return made


class Watchers:
    """The callbacks of a run, told what happens in the words of Keras' own `fit`."""

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        epoch: int,
    ) -> None:
        # A twin that shares the weights: callbacks look for its optimizer, which a compiled model
        # would carry into every checkpoint.
        self._twin = keras.Model(model.inputs, model.outputs, name=model.name)
        self._twin.compile(optimizer=optimizer)
        self._twin.stop_training = False
        self._callbacks = callbacks
        self._epoch = epoch
        for callback in callbacks:
            callback.set_model(self._twin)
        self._tell("on_train_begin")
        self._tell("on_epoch_begin", epoch)

    def logged(self, row: dict[str, Any]) -> None:
        """A row of the history without a validation."""
        self._tell("on_train_batch_end", row["step"] - 1, _numbers(row))

    def validated(self, row: dict[str, Any]) -> None:
        """A row of the history with a validation."""
        self._tell("on_epoch_end", self._epoch, _numbers(row))
        self._epoch += 1
        self._tell("on_epoch_begin", self._epoch)

    def finished(self) -> None:
        self._tell("on_train_end")

    def _tell(self, event: str, *arguments: Any) -> None:
        """Calls a method of each callback.

        Raises:
            CallbackError: if one of them fails, or asks for the end of the run.
        """
        for callback in self._callbacks:
            name = f"{type(callback).__module__}.{type(callback).__qualname__}"
            try:
                getattr(callback, event)(*arguments)
            except Exception as error:  # whatever code of others raises is told in a line
                reason = (str(error).splitlines() or [""])[0]
                raise CallbackError(
                    f"training.callbacks: {name} failed in {event}: {type(error).__name__}:"
                    f" {reason}; mend it, and the same command goes on"
                ) from error
            if self._twin.stop_training:
                raise CallbackError(
                    f"training.callbacks: {name} set model.stop_training, but callbacks cannot"
                    " steer a run here; remove it, and set training.patience"
                )


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, float)}

"""Keras callbacks that an experiment names, such as those of MLflow or Weights & Biases.

They watch a run; they do not steer it. Their epoch is the interval between two validations.
"""

from importlib import import_module
from typing import Any

import keras

from ich_keras.config import CallbackConfig
from tfrecords_tools.errors import InputError


class CallbackError(InputError):
    """A callback that is not to be had."""


def load_callback(config: CallbackConfig) -> keras.callbacks.Callback:
    """Imports a callback's class and makes one.

    Raises:
        CallbackError: if it cannot be imported or made, or is no Keras callback.
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
        twin = keras.Model(model.inputs, model.outputs, name=model.name)
        twin.compile(optimizer=optimizer)
        self._list = keras.callbacks.CallbackList(callbacks, add_history=False, model=twin)
        self._epoch = epoch
        self._list.on_train_begin()
        self._list.on_epoch_begin(epoch)

    def logged(self, row: dict[str, Any]) -> None:
        """A row of the history without a validation."""
        self._list.on_train_batch_end(row["step"] - 1, _numbers(row))

    def validated(self, row: dict[str, Any]) -> None:
        """A row of the history with a validation."""
        self._list.on_epoch_end(self._epoch, _numbers(row))
        self._epoch += 1
        self._list.on_epoch_begin(self._epoch)

    def finished(self) -> None:
        self._list.on_train_end()


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, float)}

"""Callbacks of others see a run as Keras' own fit would show it, and cannot harm it."""

import keras
import pytest

from ich_keras.callbacks import CallbackError, load_callback
from ich_keras.config import CallbackConfig, load_experiment
from ich_keras.model import load_model
from ich_keras.run_folder import RunFolder
from ich_keras.training import fit
from tests import small_run
from tests.shard_files import write_shards

seen: list[tuple[str, object]] = []


class Witness(keras.callbacks.Callback):
    """Notes what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_train_begin(self, logs=None):
        seen.append((self.name, "begin"))
        assert self.model.optimizer.get_config()["name"]  # MLflow notes it
        assert self.model.count_params() > 0

    def on_train_batch_end(self, batch, logs=None):
        seen.append(("batch", batch))
        assert set(logs) >= {"loss", "accuracy"}

    def on_epoch_end(self, epoch, logs=None):
        seen.append(("epoch", epoch))
        assert set(logs) >= {"loss", "val_loss", "val_mean_auc"}

    def on_train_end(self, logs=None):
        seen.append((self.name, "end"))


def test_a_callback_that_the_experiment_names_watches_the_run(tmp_path):
    shards = write_shards(tmp_path / "shards", train=56, val=28).folder
    named = f"training.callbacks=[{{path: {__name__}.Witness, arguments: {{name: w}}}}]"
    run = RunFolder(tmp_path / "run")
    fit(load_experiment("demo", [*small_run.overrides(), named]), shards, run)
    steps = [("batch", 1), ("epoch", 0), ("batch", 5), ("epoch", 1), ("batch", 9), ("epoch", 2)]
    assert seen == [("w", "begin"), *steps, ("w", "end")]
    assert not load_model(run.best).compiled  # the checkpoint is what it is without callbacks


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("nowhere.Callback", {}, "ModuleNotFoundError: No module named 'nowhere'; install"),
        ("keras.callbacks.Missing", {}, "has no attribute 'Missing'; install"),
        ("keras.callbacks.EarlyStopping", {"x": 1}, "unexpected keyword argument 'x'; install"),
        ("keras.layers.Add", {}, "keras.layers.Add is no Keras callback"),
    ],
)
def test_a_callback_that_is_not_to_be_had_is_one_line(path, arguments, said):
    with pytest.raises(CallbackError, match=r"^training\.callbacks: [^\n]*$") as error:
        load_callback(CallbackConfig(path=path, arguments=arguments))
    assert said in str(error.value)

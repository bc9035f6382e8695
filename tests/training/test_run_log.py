"""Callbacks of others see a run as Keras' own fit would show it, and do not steer it."""

import keras
import pytest

from ich_keras.experiment.experiment import load_experiment
from ich_keras.experiment.schema import CallbackConfig
from ich_keras.model.network import load_model
from ich_keras.run.folder import RunFolder
from ich_keras.run.state import read_position
from ich_keras.training.fit import fit
from ich_keras.training.run_log import CallbackError, load_callback
from tests.support import small_run
from tests.support.shard_files import write_shards

pytestmark = pytest.mark.usefixtures("undrawn")

seen: list[tuple[str, object]] = []


class Witness(keras.callbacks.Callback):
    """Records its events."""

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
    ("path", "arguments", "message"),
    [
        ("nowhere.Callback", {}, "ModuleNotFoundError: No module named 'nowhere'; install"),
        ("keras.callbacks.Missing", {}, "has no attribute 'Missing'; install"),
        ("keras.callbacks.CSVLogger", {"x": 1}, "unexpected keyword argument 'x'; install"),
        ("keras.layers.Add", {}, "keras.layers.Add is not a Keras callback"),
    ],
)
def test_a_callback_that_cannot_be_loaded_is_one_line(path, arguments, message):
    with pytest.raises(CallbackError, match=r"^training\.callbacks: [^\n]*$") as error:
        load_callback(CallbackConfig(path=path, arguments=arguments))
    assert message in str(error.value)


class Plateau(keras.callbacks.ReduceLROnPlateau):
    """A callback that steers by what it inherits."""


@pytest.mark.parametrize(
    ("path", "arguments", "instead"),
    [
        ("keras.callbacks.EarlyStopping", {}, "training.patience"),
        (f"{__name__}.Plateau", {}, "training.schedule"),
        ("keras.callbacks.ModelCheckpoint", {"filepath": "x.keras"}, "best.keras"),
        ("keras.callbacks.BackupAndRestore", {"backup_dir": "x"}, "last/"),
        ("keras.callbacks.TerminateOnNaN", {}, "not finite"),
    ],
)
def test_a_callback_that_steers_is_refused_by_name(path, arguments, instead):
    with pytest.raises(CallbackError, match=r"^training\.callbacks: [^\n]*$") as error:
        load_callback(CallbackConfig(path=path, arguments=arguments))
    assert f"{path} steers a run" in str(error.value)
    assert instead in str(error.value)


class Stopper(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


class Faulty(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("no connection\nsecond line")


class Rate(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 1e-5


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Stopper, "set model.stop_training, but callbacks cannot steer"),
        (Faulty, "failed in on_epoch_end: RuntimeError: no connection; fix it, and"),
        pytest.param(Rate, "failed in on_epoch_end: TypeError", marks=pytest.mark.slow),
    ],
)
def test_a_callback_that_fails_or_steers_ends_the_run_in_one_line(shards, tmp_path, kind, message):
    named = f"training.callbacks=[{{path: {__name__}.{kind.__name__}}}]"
    run = RunFolder(tmp_path)
    with pytest.raises(CallbackError, match=r"^[^\n]*$") as error:
        fit(load_experiment("demo", [*small_run.overrides(), named]), shards, run)
    assert f"training.callbacks: {__name__}.{kind.__name__} {message}" in str(error.value)
    assert read_position(run).step == 4  # that validation is kept


def test_a_refused_callback_leaves_the_folder_free(shards, tmp_path):
    named = "training.callbacks=[{path: keras.callbacks.EarlyStopping}]"
    with pytest.raises(CallbackError, match="EarlyStopping steers a run"):
        fit(load_experiment("demo", [*small_run.overrides(), named]), shards, RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())

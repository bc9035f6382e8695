"""Each tuner returns the best of its points; a training that fails costs only its point."""

import pytest

from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunFolder
from ich_keras.search.config import load_search
from ich_keras.search.tune import tune
from ich_keras.training.fit import fit
from tests.support.shard_files import write_shards
from tests.support.small_search import trained_here, trials, write_grid, write_space
from tfrecords_tools.errors import InputError


@pytest.mark.parametrize("tuner", ["random", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_a_tuner_returns_the_best_of_its_points(shards, tmp_path, tuner):
    search = load_search(write_space(tmp_path, tuner, "trials: 2"))
    with trained_here():
        result = tune(search, shards, tmp_path / "out")
    table = trials(tmp_path / "out")
    assert len(table) == result.trials == 2
    assert result.value == table["val_loss"].min()
    assert table["training.learning_rate"].between(1e-4, 1e-2).all()
    assert set(table["model.dropout"]) <= {0.0, 0.2}
    assert "trained once" in result.statement


@pytest.mark.slow
def test_rungs_of_hyperband_continue_the_runs_of_those_below(shards, tmp_path):
    search = load_search(write_space(tmp_path, "hyperband"), ["training.max_steps=6"])
    with trained_here():
        tune(search, shards, tmp_path / "out")
    table = trials(tmp_path / "out")
    assert set(table["steps"]) == {2, 6}  # by thirds, in steps
    runs = list((tmp_path / "out").glob("trials/*/sample_1"))
    assert len(runs) < len(table)  # promoted trials use the runs of their first rungs
    longest = table[table["steps"] == 6]["val_loss"].min()
    best = load_experiment(str(tmp_path / "out" / "best.yaml"))
    again = fit(best, shards, RunFolder(tmp_path / "run")).validations
    assert again[-1]["val_loss"] == pytest.approx(longest, rel=1e-12)


def test_a_diverging_training_fails_only_its_trial(shards, tmp_path):
    path = write_grid(tmp_path, "1e-3, 1e30")
    settings = ["model.normalization=none", "training.optimizer=sgd"]
    with trained_here():
        tune(load_search(path, settings), shards, tmp_path / "out")
    table = trials(tmp_path / "out").set_index("training.learning_rate")
    assert table["state"].to_dict() == {1e-3: "done", 1e30: "failed"}
    assert table.loc[1e30, "failure"].startswith("TrainingError: the ")


@pytest.mark.slow
def test_a_killed_training_fails_only_its_trial(shards, tmp_path, monkeypatch):
    """As by the system, when memory runs out: here by a callback, on the GPU of one worker."""
    (tmp_path / "deadly.py").write_text(
        "import os, pathlib, signal, keras\n"
        "class Kill(keras.callbacks.Callback):\n"
        "    def on_train_begin(self, logs=None):\n"
        "        gpu = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"        pathlib.Path({str(tmp_path)!r}, gpu).touch()\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        if float(self.model.optimizer.learning_rate) > 0.9:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = ["training.callbacks=[{path: deadly.Kill}]", "training.warmup_steps=0"]
    settings += ["training.schedule=constant"]
    path = write_grid(tmp_path, "1e-3, 1.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")  # which no machine needs to have
    tune(load_search(path, settings), shards, tmp_path / "out", workers=2)
    assert {x.name for x in tmp_path.glob("MIG-*")} == {"MIG-a", "MIG-b"}
    table = trials(tmp_path / "out").set_index("training.learning_rate")
    assert table["state"].to_dict() == {1e-3: "done", 1.0: "failed"}
    assert "was killed, as the system does when memory" in table.loc[1.0, "failure"]


SLIP = """
import keras, ich_keras.training.validation

class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyError("a slip")

class BreaksTheProgram(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        def collapse(probabilities):
            raise KeyError("a slip")

        ich_keras.training.validation.collapse = collapse
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("BreaksTheProgram", r"^a trial broke: .*a slip.*sample_1\.log$"),
        (
            "Fails",
            r"^training\.callbacks: slip\.Fails failed in on_epoch_end: KeyError: 'a slip'",
        ),
    ],
)
def test_an_error_of_the_program_or_of_a_callback_ends_the_search(
    shards, tmp_path, monkeypatch, callback, message
):
    (tmp_path / "slip.py").write_text(SLIP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    search = load_search(write_grid(tmp_path), [f"training.callbacks=[{{path: slip.{callback}}}]"])
    with pytest.raises(InputError, match=message):
        tune(search, shards, tmp_path / "out")


@pytest.mark.slow
def test_unusable_data_ends_the_search_with_one_line(tmp_path):
    shards = write_shards(tmp_path, train=28).folder
    search = load_search(write_space(tmp_path, "random", "trials: 3"))
    with pytest.raises(InputError, match="holds 28 slices of train, and a training needs"):
        tune(search, shards, tmp_path / "out")

"""Ctrl-C waits for the end of a step that it must not cut in two."""

import os
import signal

import keras
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from ich_keras.figures.curves import save_png
from ich_keras.model.network import load_model, save_model
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.storage.atomic import whole_file


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_for_the_end_of_a_step():
    """Raised while a task is put in the pool's queue, it would make its end wait for ever."""
    usual = signal.getsignal(signal.SIGINT)
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            steps.append("begun")
            interrupt()
            steps.append("finished")
        steps.append("the next step")
    assert steps == ["begun", "finished"]
    assert signal.getsignal(signal.SIGINT) is usual


class InterruptedLine(Line2D):
    """A line that Ctrl-C hits while it is drawn."""

    def draw(self, renderer):
        interrupt()
        super().draw(renderer)


def test_a_figure_is_drawn_to_its_end(tmp_path):
    figure = Figure()
    figure.add_subplot().add_line(InterruptedLine([0, 1], [0, 1]))
    with pytest.raises(KeyboardInterrupt):
        save_png(figure, tmp_path / "figure.png")
    Image.open(tmp_path / "figure.png").verify()


class InterruptedLayer(keras.layers.Dense):
    """A layer that Ctrl-C hits while its weights are written."""

    def save_own_variables(self, store):
        interrupt()
        super().save_own_variables(store)


def test_a_checkpoint_is_written_to_its_end(tmp_path):
    model = keras.Sequential([keras.Input((2,)), InterruptedLayer(1)])
    with pytest.raises(KeyboardInterrupt):
        save_model(model, tmp_path / "best.keras")
    with keras.saving.custom_object_scope({"InterruptedLayer": InterruptedLayer}):
        assert load_model(tmp_path / "best.keras").count_params() == 3


def test_a_folder_that_is_not_whole_is_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "savedmodel") as folder:
        folder.mkdir()
        (folder / "variables").touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())

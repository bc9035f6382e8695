"""What a run leaves for people while it goes on: history, curves, class grids, TensorBoard."""

from typing import Any

import pandas as pd

from ich_keras.data.shards import ShardSet
from ich_keras.experiment.experiment import Experiment
from ich_keras.figures.curves import curves, save_png
from ich_keras.figures.examples import draw_class_grid
from ich_keras.model.forward import Forward
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder
from ich_keras.run.history import History
from ich_keras.training.callbacks import Watchers
from ich_keras.training.losses import constant_guess_loss
from ich_keras.training.tensorboard import EventLog


class Recorder:
    """Writes them in one session of a run, which may be the first or a resumed one."""

    def __init__(
        self,
        experiment: Experiment,
        shards: ShardSet,
        run: RunFolder,
        history: History,
        watchers: Watchers,
    ) -> None:
        self._shards = shards
        self._prevalences = shards.prevalences("val")
        self._constant_guess = constant_guess_loss(experiment.training, self._prevalences)
        self._run = run
        self._history = history
        self._watchers = watchers
        self._events = EventLog(run.tensorboard, experiment)

    def record(
        self,
        row: dict[str, Any],
        predictions: Predictions | None,
        *,
        best_step: int,
    ) -> None:
        """The newest row of the history, and the validation that it holds."""
        self._history.write()
        self._events.scalars(row)
        if predictions is not None:
            self._events.precision_recall(row["step"], predictions)
            self._draw_curves(best_step)

    def tell_callbacks(self, row: dict[str, Any], *, validated: bool) -> None:
        """Tells callbacks of the newest row, once it is safe from what they may raise."""
        if validated:
            self._watchers.validated(row)
        else:
            self._watchers.logged(row)

    def draw_class_grid(self, forward: Forward, step: int) -> None:
        """The class grid at a step, for the folder and for TensorBoard."""
        path = self._run.figures / f"class_grid_{step}.png"
        save_png(draw_class_grid(forward, self._shards, "val", step), path)
        self._events.picture(step, "class grid", path)

    def close(self) -> None:
        self._watchers.finished()
        self._events.close()

    def _draw_curves(self, best_step: int) -> None:
        figure = curves(
            pd.read_csv(self._run.history),
            best_step=best_step,
            always_negative_accuracy=1 - float(self._prevalences.mean()),
            constant_guess_loss=self._constant_guess,
        )
        save_png(figure, self._run.figures / "curves.png")

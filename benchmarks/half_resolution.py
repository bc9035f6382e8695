"""Whether training at half resolution pays: weights of half-size slices, transferred to full size.

    python -m benchmarks.half_resolution SHARDS OUT

Trains `demo.yaml` at half the size of the shards, applies its weights at full size, fine-tunes them
there, and compares with a network trained at full size only, with as many multiply-adds: a step at
full size costs as much as four at half. Runs in OUT are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.comparisons import auc_draws, report, score_runs, train
from ich_keras.data.shards import open_shards
from ich_keras.experiment.experiment import load_experiment
from ich_keras.experiment.schema import DataConfig
from ich_keras.figures.curves import LABEL_COLORS, save_png
from ich_keras.model.forward import compile_forward, predict_split
from ich_keras.model.network import load_model
from ich_keras.run.folder import RunFolder
from ich_keras.scores.metrics import mean_auc

COST = 4  # steps at half size to one at full size
FINE_TUNING_RATE = 0.3  # of the learning rate
HALF, FINE, FULL = "half size", "half size, then full", "full size from scratch"


@dataclass(frozen=True)
class _Training:
    """Runs of one way to train, one per seed, with their histories."""

    runs: list[RunFolder] = field(default_factory=list)
    histories: list[pd.DataFrame] = field(default_factory=list)

    def add(self, shards: Path, run: RunFolder, overrides: Sequence[str]) -> None:
        self.histories.append(train(shards, run, overrides))
        self.runs.append(run)

    def seconds(self) -> float:
        """Mean training time of a run."""
        return float(np.mean([history["seconds"].max() for history in self.histories]))


@click.command(help=__doc__.splitlines()[0])
@click.argument("shards", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=1, show_default=True)
@click.option("--half-steps", default=1600, show_default=True)
@click.option("--fine-steps", default=200, show_default=True)
def main(shards: Path, out: Path, seeds: int, half_steps: int, fine_steps: int) -> None:
    """Prints the table, and writes it and the curves to OUT."""
    size = open_shards(shards, DataConfig()).input.size
    at_half, at_full = f"data.size={size // 2}", f"data.size={size}"
    rate = FINE_TUNING_RATE * load_experiment("demo").training.learning_rate
    half, fine, full = trainings = _Training(), _Training(), _Training()
    transferred = []
    for seed in range(seeds):
        runs = [RunFolder(out / str(seed) / name) for name in ("half", "fine", "full")]
        common = f"seed={seed}"
        half.add(shards, runs[0], [at_half, *_length(half_steps, 10), common])
        transferred.append(_auc(runs[0], shards, size))
        warm = [f"model.weights={runs[0].best}", f"training.learning_rate={rate}"]
        fine.add(shards, runs[1], [at_full, *_length(fine_steps, 5), *warm, common])
        steps = half_steps // COST + fine_steps
        full.add(shards, runs[2], [at_full, *_length(steps, 10), common])
    named = dict(zip((HALF, FINE, FULL), trainings, strict=True))
    draws = {name: auc_draws(score_runs(shards, x.runs)) for name, x in named.items()}
    seconds = {
        name: x.seconds() + (half.seconds() if x is fine else 0) for name, x in named.items()
    }
    report(out / "half_resolution.csv", "training", draws, FULL, seconds)
    save_png(_curves(named, transferred, size), out / "half_resolution.png")
    click.echo(
        "weights of half size, applied at full size without training: validation mean AUC"
        f" {np.mean(transferred):.4f}"
    )


def _length(steps: int, validations: int) -> list[str]:
    return [
        f"training.max_steps={steps}",
        f"training.validate_every={max(steps // validations, 1)}",
        f"training.warmup_steps={max(steps // 20, 1)}",
        f"training.figure_every={steps}",
    ]


def _auc(run: RunFolder, shards: Path, size: int) -> float:
    """The mean AUC of a run's weights at another size, on the validation patients."""
    opened = open_shards(shards, DataConfig(), size)
    forward = compile_forward(load_model(run.best))
    predictions = predict_split(forward, opened, "val", batch_size=64)
    keras.backend.clear_session()
    return mean_auc(predictions.labels, predictions.probabilities)


def _curves(trainings: dict[str, _Training], transferred: list[float], size: int) -> Figure:
    """Validation AUC by step and by time, one line per seed; fine-tuning follows half size."""
    figure = Figure(figsize=(11, 4), dpi=100, layout="constrained")
    by_step, by_second = figure.subplots(1, 2, sharey=True)
    for color, (name, training) in zip(LABEL_COLORS[:3], trainings.items(), strict=True):
        for seed, history in enumerate(training.histories):
            curve = history[["step", "seconds", "val_mean_auc"]].dropna()
            before = trainings[HALF].histories[seed][["step", "seconds"]].max()
            style = {"color": color, "marker": "o", "ms": 3, "label": name if seed == 0 else None}
            for axes, column in ((by_step, "step"), (by_second, "seconds")):
                start = before[column] if name == FINE else 0
                axes.plot(start + curve[column], curve["val_mean_auc"], **style)
    by_step.set(xlabel="step, of either size", ylabel=f"validation mean AUC, {size} px in the end")
    by_second.set(xlabel="seconds of training")
    for axes in (by_step, by_second):
        axes.axhline(np.mean(transferred), color="#555555", ls=":", lw=1)
        axes.grid(color="#dddddd", lw=0.6)
    by_step.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()

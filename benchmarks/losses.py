"""Whether MSE, the loss of the write-up, learns as well as cross-entropy: three seeds each.

    python -m benchmarks.losses SHARDS OUT

Trains `demo.yaml` on phantom shards (for example those of `ich-keras demo`) with each loss and
seed, all else equal, and compares the mean AUC on the test patients. Runs in OUT are kept.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.comparisons import auc_draws, report, score_runs, train
from ich_keras.figures.curves import LABEL_COLORS, save_png
from ich_keras.run.folder import RunFolder

LOSSES = ("mse", "bce")
REFERENCE = "bce"


@click.command(help=__doc__.splitlines()[0])
@click.argument("shards", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--steps", type=int, help="[default: those of demo.yaml]")
@click.option("--learning-rates", default="", help="Further ones for MSE, separated by commas.")
def main(shards: Path, out: Path, seeds: int, steps: int | None, learning_rates: str) -> None:
    """Prints the table, and writes it and the curves to OUT."""
    groups = {loss: [f"training.loss={loss}"] for loss in LOSSES}
    for rate in filter(None, learning_rates.split(",")):
        groups[f"mse, rate {rate}"] = ["training.loss=mse", f"training.learning_rate={rate}"]
    common = [f"training.max_steps={steps}"] if steps else []
    histories, draws = {}, {}
    for name, overrides in groups.items():
        runs = [RunFolder(out / name.replace(", rate ", "-") / str(seed)) for seed in range(seeds)]
        histories[name] = [
            train(shards, run, [*common, *overrides, f"seed={seed}"])
            for seed, run in enumerate(runs)
        ]
        draws[name] = auc_draws(score_runs(shards, runs))
    report(out / "losses.csv", "loss", draws, REFERENCE)
    save_png(_curves(histories), out / "losses.png")


def _curves(histories: dict[str, list[pd.DataFrame]]) -> Figure:
    """Validation AUC by step: one line per seed, and their mean."""
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    for color, (name, members) in zip(LABEL_COLORS, histories.items(), strict=False):
        curves = [x[["step", "val_mean_auc"]].dropna().to_numpy() for x in members]
        for curve in curves:
            axes.plot(*curve.T, color=color, lw=0.8, alpha=0.5)
        mean = np.mean(curves, axis=0)
        axes.plot(*mean.T, color=color, lw=2, label=name)
    axes.set(xlabel="step", ylabel="validation mean AUC")
    axes.grid(color="#dddddd", lw=0.6)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()

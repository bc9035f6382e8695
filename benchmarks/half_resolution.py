"""Whether to train at half resolution pays: weights of half-size slices, taken to full size.

    python -m benchmarks.half_resolution SHARDS OUT

Trains `demo.yaml` at half the size of the shards, applies its weights at full size, trains on
there, and compares with a network that saw full size only, for as many multiply-adds: a step at
full size costs four at half. Runs that stand in OUT are kept.
"""

from pathlib import Path

import click
import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.comparisons import answers, auc_draws, estimate, train
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


@click.command(help=__doc__.splitlines()[0])
@click.argument("shards", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default=1, show_default=True)
@click.option("--half-steps", default=1600, show_default=True)
@click.option("--fine-steps", default=200, show_default=True)
def main(shards: Path, out: Path, seeds: int, half_steps: int, fine_steps: int) -> None:
    """Prints the table, and writes it and the curves to OUT."""
    size = open_shards(shards, DataConfig()).input.size
    full_steps = half_steps // COST + fine_steps
    rate = FINE_TUNING_RATE * load_experiment("demo").training.learning_rate
    histories: dict[str, list[pd.DataFrame]] = {HALF: [], FINE: [], FULL: []}
    runs: dict[str, list[RunFolder]] = {HALF: [], FINE: [], FULL: []}
    moved = []
    for seed in range(seeds):
        folder = out / str(seed)
        half, fine, full = (RunFolder(folder / name) for name in ("half", "fine", "full"))
        at_half = [f"data.size={size // 2}", *_length(half_steps, 10)]
        histories[HALF].append(train(shards, half, [*at_half, f"seed={seed}"]))
        moved.append(_auc(half, shards, size))
        at_full = [f"data.size={size}", *_length(fine_steps, 5)]
        warm = [f"model.weights={half.best}", f"training.learning_rate={rate}"]
        histories[FINE].append(train(shards, fine, [*at_full, *warm, f"seed={seed}"]))
        scratch = [f"data.size={size}", *_length(full_steps, 10)]
        histories[FULL].append(train(shards, full, [*scratch, f"seed={seed}"]))
        for name, run in ((HALF, half), (FINE, fine), (FULL, full)):
            runs[name].append(run)
    draws = {name: auc_draws(answers(shards, members)) for name, members in runs.items()}
    rows = [
        {
            "training": name,
            "seconds": round(sum(x["seconds"].max() for x in _way(histories, name)) / seeds),
            "test mean AUC": estimate(values),
            "minus full size from scratch": estimate(values - draws[FULL], "+.4f"),
        }
        for name, values in draws.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(out / "half_resolution.csv", index=False, lineterminator="\n")
    save_png(_curves(histories, moved, size), out / "half_resolution.png")
    click.echo(table.to_string(index=False))
    click.echo(
        "weights of half size, applied at full size as they are: validation mean AUC"
        f" {np.mean(moved):.4f}"
    )


def _length(steps: int, validations: int) -> list[str]:
    return [
        f"training.max_steps={steps}",
        f"training.validate_every={max(steps // validations, 1)}",
        f"training.warmup_steps={max(steps // 20, 1)}",
        f"training.figure_every={steps}",
    ]


def _way(histories: dict[str, list[pd.DataFrame]], name: str) -> list[pd.DataFrame]:
    """The histories that lead to a network: before it is trained at full size, at half."""
    return [*(histories[HALF] if name == FINE else []), *histories[name]]


def _auc(run: RunFolder, shards: Path, size: int) -> float:
    """The mean AUC of a run's weights at another size, on the validation patients."""
    opened = open_shards(shards, DataConfig(), size)
    forward = compile_forward(load_model(run.best))
    found = predict_split(forward, opened, "val", batch_size=64)
    keras.backend.clear_session()
    return mean_auc(found.labels, found.probabilities)


def _curves(histories: dict[str, list[pd.DataFrame]], moved: list[float], size: int) -> Figure:
    """Validation AUC against steps and against seconds, a line a seed."""
    figure = Figure(figsize=(11, 4), dpi=100, layout="constrained")
    by_step, by_second = figure.subplots(1, 2, sharey=True)
    for color, (name, members) in zip(LABEL_COLORS[:3], histories.items(), strict=True):
        for seed, history in enumerate(members):
            curve = history[["step", "seconds", "val_mean_auc"]].dropna()
            before = histories[HALF][seed] if name == FINE else None
            first_step, first_second = (
                (0, 0)
                if before is None
                else (
                    before["step"].max(),
                    before["seconds"].max(),
                )
            )
            style = {"color": color, "marker": "o", "ms": 3, "label": name if seed == 0 else None}
            by_step.plot(first_step + curve["step"], curve["val_mean_auc"], **style)
            by_second.plot(first_second + curve["seconds"], curve["val_mean_auc"], **style)
    by_step.set(xlabel="step, of either size", ylabel=f"validation mean AUC, {size} px in the end")
    by_second.set(xlabel="seconds of training")
    for axes in (by_step, by_second):
        axes.axhline(np.mean(moved), color="#555555", ls=":", lw=1)
        axes.grid(color="#dddddd", lw=0.6)
    by_step.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()

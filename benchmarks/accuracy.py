"""What accuracy costs: AUC against training time, for the demo's network and alternatives.

    python -m benchmarks.accuracy SHARDS OUT

SHARDS are those of `ich-keras demo`. Every network trains for the number of steps that fits into
the same time on two idle cores. Runs are kept in OUT: a finished one is not repeated, and an
interrupted one resumes. The figure is OUT/accuracy.png.
"""

from pathlib import Path

import click
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.experiment.experiment import load_experiment
from ich_keras.figures.curves import save_png
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit

GOAL = 0.98

# Name to the settings that differ from demo.yaml.
NETWORKS: dict[str, tuple[str, ...]] = {
    "demo.yaml": (),
    "slices as they come": ("data.balance=0.0",),
    "wider late stages": ("model.widths=[16, 32, 96, 192]", "training.max_steps=1700"),
    "two blocks a stage": ("model.blocks=2", "training.max_steps=1150"),
}


def _train(shards: Path, run: Path, overrides: tuple[str, ...]) -> pd.DataFrame:
    """One row per validation of a run: step, seconds and val_mean_auc."""
    experiment = load_experiment("demo", ("training.validate_every=200", *overrides))
    validations = fit(experiment, shards, RunFolder(run)).validations
    return pd.DataFrame(validations)[["step", "seconds", "val_mean_auc"]].astype(float)


def _draw(curves: dict[str, pd.DataFrame]) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(curve["seconds"], curve["val_mean_auc"], marker=".", label=name)
    axes.axhline(GOAL, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="seconds", ylabel="mean AUC, validation", ylim=(0.8, 1.0))
    axes.legend(loc="lower right")
    return figure


def _table(curves: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = {}
    for name, curve in curves.items():
        reached = curve.loc[curve["val_mean_auc"] >= GOAL, "seconds"]
        rows[name] = {
            "steps": curve["step"].iloc[-1],
            "seconds": curve["seconds"].iloc[-1],
            "best mean AUC": curve["val_mean_auc"].max(),
            f"seconds to {GOAL:.2f}": reached.min(),
        }
    return pd.DataFrame(rows).T


@click.command(help=__doc__.splitlines()[0])
@click.argument("shards", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(shards: Path, out: Path) -> None:
    """Trains one after another; prints the table and draws OUT/accuracy.png."""
    curves = {}
    for name, overrides in NETWORKS.items():
        folder = out / name.replace(" ", "-")
        curves[name] = _train(shards, folder, overrides)
        click.echo(_table(curves).to_string(float_format="%.4g"))
    save_png(_draw(curves), out / "accuracy.png")


if __name__ == "__main__":
    main()

"""How often a network trained on phantoms raises a false alarm on a real head without hemorrhage.

    python -m benchmarks.alarms RUN SERIES --out OUT

The threshold is the one that reaches 90 % sensitivity on slices of the run's phantom validation
patients: it is never chosen on the real head.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.timing import run_ich_keras

SENSITIVITY = 0.9


@dataclass(frozen=True)
class Alarms:
    """The alarms of a run on a series.

    Attributes:
        threshold: lowest probability of "any" at which a slice raises an alarm.
        specificity: on slices of the phantom validation patients, at that threshold.
        slices: number of slices in the series.
        alarms: number of slices that raise an alarm.
    """

    threshold: float
    specificity: float
    slices: int
    alarms: int


def count_alarms(run: Path, series: Path, out: Path) -> Alarms:
    """Applies a run to a series, with predictions and overlays in `out`, and counts the alarms."""
    validation = pd.read_csv(run / "evaluation" / "val_predictions.csv")
    positive = validation["any_true"] == 1
    # The probability of a slice, not a value between two, so that the sensitivity is reached.
    threshold = float(np.quantile(validation.loc[positive, "any"], 1 - SENSITIVITY, method="lower"))
    run_ich_keras("predict", run, series, "--out", out)
    predictions = pd.read_csv(out / "slices.csv")
    return Alarms(
        threshold=threshold,
        specificity=float((validation.loc[~positive, "any"] < threshold).mean()),
        slices=len(predictions),
        alarms=int((predictions["any"] >= threshold).sum()),
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("series", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("alarms"))
def main(run: Path, series: Path, out: Path) -> None:
    """Prints the alarms; OUT holds the images that explain them."""
    scores = json.loads((run / "evaluation" / "val.json").read_text())
    own = json.loads((run / "input.json").read_text())
    if scores["data_fingerprint"] != own["fingerprint"]:
        raise click.ClickException(
            f"{run}: was evaluated on other shards last; run `ich-keras evaluate {run}` first"
        )
    result = count_alarms(run, series, out)
    predictions = pd.read_csv(out / "slices.csv")
    raised = predictions[predictions["any"] >= result.threshold]
    click.echo(raised.drop(columns=["study", "study_id"]).to_string(float_format="%.2f"))
    click.echo(
        f"{result.alarms} of {result.slices} slices raise an alarm at {result.threshold:.3f}, which"
        f" detects {SENSITIVITY:.0%} of the phantom slices with hemorrhage at a specificity of"
        f" {result.specificity:.3f}: {out}"
    )


if __name__ == "__main__":
    main()

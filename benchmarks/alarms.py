"""How often a network trained on phantoms raises an alarm on a real head without bleeding.

    python -m benchmarks.alarms RUN SERIES --out OUT

The threshold is the one that finds 90 % of the slices with bleeding in the run's phantom
validation patients: it is never chosen on the head that is judged.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

SENSITIVITY = 0.9


@dataclass(frozen=True)
class Alarms:
    """What a run says of a series.

    Attributes:
        threshold: probability of "any" from which a slice raises an alarm.
        specificity: on the phantom validation patients, at that threshold.
        slices: in the series.
        alarms: how many raise one.
    """

    threshold: float
    specificity: float
    slices: int
    alarms: int


def count_alarms(run: Path, series: Path, out: Path) -> Alarms:
    """Applies a run to a series, which leaves its overlays in `out`, and counts the alarms."""
    validation = pd.read_csv(run / "evaluation" / "val_predictions.csv")
    bleeding = validation["any_true"] == 1
    # The lowest value that still finds the share: none between two slices.
    threshold = float(np.quantile(validation.loc[bleeding, "any"], 1 - SENSITIVITY, method="lower"))
    command = [sys.executable, "-m", "ich_keras", "predict", run, series, "--out", out, "--quiet"]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    answers = pd.read_csv(out / "slices.csv")
    return Alarms(
        threshold=threshold,
        specificity=float((validation.loc[~bleeding, "any"] < threshold).mean()),
        slices=len(answers),
        alarms=int((answers["any"] >= threshold).sum()),
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("series", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("alarms"))
def main(run: Path, series: Path, out: Path) -> None:
    """Prints the count; the pictures that explain each alarm lie in OUT."""
    scores = json.loads((run / "evaluation" / "val.json").read_text())
    own = json.loads((run / "input.json").read_text())
    if scores["data_fingerprint"] != own["fingerprint"]:
        raise click.ClickException(
            f"{run}: scored on other shards; `ich-keras evaluate {run}` first"
        )
    found = count_alarms(run, series, out)
    answers = pd.read_csv(out / "slices.csv")
    raised = answers[answers["any"] >= found.threshold]
    click.echo(raised.drop(columns=["study", "study_id"]).to_string(float_format="%.2f"))
    click.echo(
        f"{found.alarms} of {found.slices} slices raise an alarm at {found.threshold:.3f}, which"
        f" finds {SENSITIVITY:.0%} of the phantom bleedings at a specificity of"
        f" {found.specificity:.3f}: {out}"
    )


if __name__ == "__main__":
    main()

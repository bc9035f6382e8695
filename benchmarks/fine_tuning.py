"""What the shipped network is worth as a start, where few patients have labels.

    python -m benchmarks.fine_tuning OUT

No real patient is trained on, so phantoms of another make take the place of a hospital's: heads
of another shape, a sharper kernel with denoising, HU that are off, thick slices of a tilted
gantry, low contrast. Networks are trained on 5, 10 and 21 of their patients, from the shipped
network and from scratch, and judged on others. If interrupted, the same command resumes.
"""

import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.phantom_network import WHOLE, add_patients
from benchmarks.timing import run_ich_keras
from tfrecords_tools.phantom.sampling import StudyParameters
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.processing import Processing

PATIENTS = (5, 10, 21)
VALIDATION, JUDGED = 12, 60
NETWORK = "phantom"
KERNEL = Kernel(blur=0.32, enhancement=0.35, denoising=1.2, tails=0.1)
CALIBRATION = Processing(1.05, -4.0, None, None, None)
STEPS = {"fine-tuned": 300, "from scratch": 1200}
RATES = {"fine-tuned": 3e-4, "from scratch": 2e-3}


def another_make(study: StudyParameters) -> StudyParameters:
    """The study as from a hospital that the shipped network does not know."""
    head = replace(
        study.head, squareness=2.75, taper=0.24, contrast=0.6 * study.head.contrast, scalp=10.0
    )
    scan = replace(study.scan, kernel=KERNEL, processing=CALIBRATION, tilt=22.0, fov=205.0)
    return replace(study, head=head, scan=scan, thickness=np.full_like(study.thickness, 7.5))


def make_shards(folder: Path, patients: int) -> Path:
    """Shards to train on so many patients, and the same others to validate and judge on."""
    parts = (("1,0,0", patients, 1), ("0,1,0", VALIDATION, 2), ("0,0,1", JUDGED, 3))
    for split, count, seed in parts:
        add_patients(folder, seed, count, slices=WHOLE, split=split, ablation=another_make)
    return folder / "shards"


def train(folder: Path, start: str) -> Path:
    """Trains on the shards of a folder; an existing run resumes."""
    run = folder / start.replace(" ", "-")
    settings = [f"training.max_steps={STEPS[start]}", f"training.learning_rate={RATES[start]}"]
    if start == "fine-tuned":
        settings += [f"model.weights={NETWORK}", "training.warmup_steps=20"]
    options = [part for setting in settings for part in ("--set", setting)]
    run_ich_keras("fit", "phantom.yaml", "--shards", folder / "shards", "--run", run, *options)
    return run


def score(run: Path | str, shards: Path, out: Path) -> dict[str, str]:
    """Areas under the curve on the patients to judge on, with 95 % intervals over patients."""
    options = ("--shards", shards, "--split", "test", "--out", out)
    run_ich_keras("evaluate", run, *options)
    scores = json.loads((out / "evaluation" / "test.json").read_text())
    values = {"any": scores["auc"]["any"], "mean of six": scores["mean_auc"]}
    return {
        name: "{:.3f} ({:.3f} to {:.3f})".format(x["value"], *x["interval"])
        for name, x in values.items()
    }


@click.command(help=__doc__.splitlines()[0])
@click.argument("out", type=click.Path(path_type=Path))
def main(out: Path) -> None:
    """Makes shards, trains, and prints the table, which OUT/fine_tuning.csv holds too."""
    rows: list[dict[str, object]] = []
    for patients in PATIENTS:
        folder = out / str(patients)
        folder.mkdir(parents=True, exist_ok=True)
        shards = make_shards(folder, patients)
        if not rows:
            row = score(NETWORK, shards, out / "untouched")
            rows.append({"network": "shipped, untouched", "patients": 0, **row})
        for start in STEPS:
            run = train(folder, start)
            row = score(run, shards, run / "judged")
            rows.append({"network": start, "patients": patients, **row})
    table = pd.DataFrame(rows)
    table.to_csv(out / "fine_tuning.csv", index=False, lineterminator="\n")
    click.echo(table.to_string(index=False))


if __name__ == "__main__":
    main()

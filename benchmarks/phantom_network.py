"""Makes the network that ships: phantom studies, shards with masks, and the training.

    python -m benchmarks.phantom_network OUT

Patients are made in batches, each with a seed of its own, and their DICOM files are removed once
they are in the shards. Those to train on have few slices each, since many heads teach more than
many slices of each; those of validation and test have whole studies, which the thresholds and the
smoothing that are fitted on them will meet. If interrupted, the same command resumes. Then
`ich-keras evaluate OUT/run` fits them, and `python -m benchmarks.ship OUT/run` writes the folder
of the package.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.timing import run_ich_keras
from ich_keras.experiment.experiment import load_experiment
from tfrecords_tools.phantom.cohort import subtypes_of
from tfrecords_tools.phantom.rsna_files import MASK_FOLDER, synth
from tfrecords_tools.phantom.sampling import Ablation

SIZE = load_experiment("phantom.yaml").data.size
TRAIN, JUDGED = "1,0,0", "0,0.5,0.5"  # of the patients, to train, val and test
FEW, WHOLE = 8, 27  # slices of a study
HEALTHY = 3  # of twelve patients without hemorrhage, so many are kept: their slices are plenty


def add_patients(
    out: Path,
    seed: int,
    patients: int | Sequence[int],
    *,
    slices: int,
    split: str,
    ablation: Ablation | None = None,
) -> None:
    """Adds a batch of patients to the shards; nothing happens if it was added before."""
    done = out / "batches.json"
    batches = json.loads(done.read_text()) if done.is_file() else []
    if seed in batches:
        return
    data = out / "rsna-ich"
    shutil.rmtree(data, ignore_errors=True)
    synth(data, patients=patients, slices=slices, seed=seed, ablation=ablation)
    options = ("--size", SIZE, "--split", split, "--masks", data / MASK_FOLDER, "--add")
    run_ich_keras("convert", data, "--out", out / "shards", *options)
    done.write_text(json.dumps([*batches, seed]))
    shutil.rmtree(data)


def chosen(patients: int, seed: int) -> list[int]:
    """Those with a hemorrhage, and some of the others: slices with blood are what is scarce."""
    return [
        number for number in range(patients) if subtypes_of(number, seed) or number % 12 < HEALTHY
    ]


@click.command(help=__doc__.splitlines()[0])
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--batches", default=8, show_default=True)
@click.option("--patients", default=2500, show_default=True, help="Per batch, before a choice.")
@click.option("--judged", default=400, show_default=True, help="Patients of validation and test.")
@click.option("--seed", default=1001, show_default=True, help="Of the first batch.")
def main(out: Path, batches: int, patients: int, judged: int, seed: int) -> None:
    """Makes the shards, then trains; an existing run resumes."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + batches):
        add_patients(out, number, chosen(patients, number), slices=FEW, split=TRAIN)
    add_patients(out, seed + batches, judged, slices=WHOLE, split=JUDGED)
    run_ich_keras("fit", "phantom.yaml", "--shards", out / "shards", "--run", out / "run")


if __name__ == "__main__":
    main()

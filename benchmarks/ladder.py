"""Ablation study: what each group of the phantom's features is worth on real heads.

    python -m benchmarks.ladder OUT SETS

Trains the demo's network once per group and seed, on phantoms without that group. All networks of a
seed are scored on the same data: validation patients of the full phantom, and the sets of labelled
real heads in SETS (see `benchmarks.real_heads`). Results in OUT are kept, so an interrupted study
resumes.
"""

import json
import shutil
from pathlib import Path

import click
import pandas as pd

from benchmarks.phantom_groups import GROUPS
from benchmarks.timing import run_ich_keras
from ich_keras.cli.demo import SIZE, SLICES, SPLIT
from ich_keras.evaluation.dicom_folder import evaluate_dicom
from ich_keras.run.folder import RunFolder
from tfrecords_tools.phantom.rsna_files import MASK_FOLDER, synth

ALL = "nothing"


def train(folder: Path, group: str, patients: int, steps: int, seed: int) -> Path:
    """Trains a network on phantoms without the group; returns its run."""
    data, shards, run = folder / "rsna-ich", folder / "shards", folder / "run"
    if not (shards / "dataset.json").is_file():
        shutil.rmtree(data, ignore_errors=True)
        synth(
            data,
            patients=patients,
            slices=SLICES,
            size=SIZE,
            seed=seed,
            ablation=GROUPS.get(group),
        )
        options = ("--size", SIZE, "--split", SPLIT, "--masks", data / MASK_FOLDER)
        run_ich_keras("convert", data, "--out", shards, *options)
        shutil.rmtree(data)
    settings = (f"training.max_steps={steps}", f"seed={seed}", "evaluation.mirror=true")
    changed = [part for setting in settings for part in ("--set", setting)]
    run_ich_keras("fit", "demo.yaml", "--shards", shards, "--run", run, *changed)
    return run


def score(run: Path, full: Path, sets: Path) -> dict[str, float]:
    """Areas under the curve on phantoms and on every set: of `any`, and the mean of all labels."""
    run_ich_keras("evaluate", run, "--shards", full)
    scores = {"phantom": json.loads((run / "evaluation" / "val.json").read_text())}
    for labels in sorted(sets.glob("*/labels.csv")):
        folder, name = labels.parent, labels.parent.name
        scores[name] = evaluate_dicom(RunFolder(run), folder / "dicom", labels, name=name).scores
    values = {}
    for name, card in scores.items():
        if (value := card["auc"]["any"]["value"]) is not None:  # some slices are negative
            values[f"{name} any"] = value
        values[f"{name} mean"] = card["mean_auc"]["value"]
    return values


def table(rows: list[dict[str, float | str]]) -> pd.DataFrame:
    """Mean and range over the seeds, one row per group."""
    groups = pd.DataFrame(rows).groupby("left out", sort=False)
    low, mean, high = groups.min(), groups.mean(), groups.max()
    cells = {
        name: [
            f"{m:.3f} ({a:.3f} to {b:.3f})"
            for a, m, b in zip(low[name], mean[name], high[name], strict=True)
        ]
        for name in mean.columns
        if name != "seed"
    }
    return pd.DataFrame({"seeds": groups.size(), **cells})


@click.command(help=__doc__.splitlines()[0])
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("sets", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--patients", default=1000, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option("--seeds", default=3, show_default=True)
def main(out: Path, sets: Path, patients: int, steps: int, seeds: int) -> None:
    """Trains and scores all networks; writes the table to OUT/ladder.csv."""
    rows: list[dict[str, float | str]] = []
    for seed in range(seeds):
        for group in (ALL, *GROUPS):
            folder = out / str(seed) / group.replace(" ", "-")
            result = folder / "result.json"
            if not result.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                run = train(folder, group, patients, steps, seed)
                row = score(run, out / str(seed) / ALL / "shards", sets)
                result.write_text(json.dumps(row, indent=1) + "\n")
                if group != ALL:
                    shutil.rmtree(folder / "shards")
            rows.append({"left out": group, "seed": seed, **json.loads(result.read_text())})
            click.echo(table(rows).to_string())
    table(rows).to_csv(out / "ladder.csv", lineterminator="\n")


if __name__ == "__main__":
    main()

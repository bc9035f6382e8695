"""Ablation study: what each group of the phantom's features is worth on a real head.

    python -m benchmarks.ladder OUT --series SERIES --implanted SHARDS

Trains the demo's network once per group, on phantoms without that group. All networks are scored on
the same data: validation patients of the full phantom, a real head without hemorrhage, and
hemorrhages implanted into that head. Results in OUT are kept, so an interrupted study resumes.
"""

import json
import shutil
from pathlib import Path

import click
import pandas as pd

from benchmarks.alarms import count_alarms
from benchmarks.phantom_groups import GROUPS
from benchmarks.timing import run_ich_keras
from ich_keras.cli.demo import SIZE, SLICES, SPLIT
from tfrecords_tools.phantom.rsna_files import MASK_FOLDER, synth

ALL = "nothing"


def _scores(run: Path, shards: Path) -> dict:
    run_ich_keras("evaluate", run, "--shards", shards)
    return json.loads((run / "evaluation" / "val.json").read_text())


def _train(folder: Path, group: str, patients: int, steps: int, seed: int) -> Path:
    """Trains a network on phantoms without the group; returns its run."""
    data, shards, run = folder / "rsna-ich", folder / "shards", folder / "run"
    if not (shards / "dataset.json").is_file():
        shutil.rmtree(data, ignore_errors=True)
        synth(data, patients=patients, slices=SLICES, seed=seed, ablation=GROUPS.get(group))
        options = ("--size", SIZE, "--split", SPLIT, "--masks", data / MASK_FOLDER)
        run_ich_keras("convert", data, "--out", shards, *options)
        shutil.rmtree(data)
    steps_set = f"training.max_steps={steps}"
    run_ich_keras("fit", "demo.yaml", "--shards", shards, "--run", run, "--set", steps_set)
    return run


def _score(folder: Path, run: Path, full: Path, series: Path, implanted: Path) -> dict:
    """The scores of one run."""
    phantom = _scores(run, full)
    alarms = count_alarms(run, series, folder / "real")
    real = _scores(run, implanted)
    return {
        "phantom_mean_auc": phantom["mean_auc"]["value"],
        "alarms": alarms.alarms,
        "slices": alarms.slices,
        "implanted_any_auc": real["auc"]["any"]["value"],
    }


@click.command(help=__doc__.splitlines()[0])
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--series", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--implanted", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--patients", default=480, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path, series: Path, implanted: Path, patients: int, steps: int, seed: int) -> None:
    """Trains and scores all networks; writes the table to OUT/ladder.csv."""
    rows = []
    for group in (ALL, *GROUPS):
        folder = out / group.replace(" ", "-")
        result = folder / "result.json"
        if not result.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            run = _train(folder, group, patients, steps, seed)
            row = _score(folder, run, out / ALL / "shards", series, implanted)
            result.write_text(json.dumps(row, indent=1) + "\n")
        rows.append({"left out": group, **json.loads(result.read_text())})
        click.echo(pd.DataFrame(rows).to_string(index=False, float_format="%.3f"))
    pd.DataFrame(rows).to_csv(out / "ladder.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()

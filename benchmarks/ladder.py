"""What each group of the phantom is worth on a real head.

    python -m benchmarks.ladder OUT --series SERIES --implanted SHARDS

The demo's network is trained again and again, each time on phantoms that lack one group; all are
judged on the same data: the full phantom's validation patients, a real head without bleeding, and
bleedings implanted into it. What stands in OUT already is kept, so a stopped ladder goes on.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd

from benchmarks.alarms import count_alarms
from benchmarks.phantom_groups import GROUPS
from ich_keras.cli.demo import SIZE, SLICES, SPLIT
from tfrecords_tools.phantom.rsna_files import synth

ALL = "nothing"


def _ich_keras(*arguments: object) -> None:
    command = [sys.executable, "-m", "ich_keras", *map(str, arguments), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _scores(run: Path, shards: Path) -> dict:
    _ich_keras("evaluate", run, "--shards", shards)
    return json.loads((run / "evaluation" / "val.json").read_text())


def _train(folder: Path, group: str, patients: int, steps: int, seed: int) -> Path:
    """Phantoms without the group, and a network trained on them."""
    data, shards, run = folder / "rsna-ich", folder / "shards", folder / "run"
    if not (shards / "dataset.json").is_file():
        shutil.rmtree(data, ignore_errors=True)
        synth(data, patients=patients, slices=SLICES, seed=seed, ablation=GROUPS.get(group))
        _ich_keras("convert", data, "--out", shards, "--size", SIZE, "--split", SPLIT)
        shutil.rmtree(data)
    steps_set = f"training.max_steps={steps}"
    _ich_keras("fit", "demo.yaml", "--shards", shards, "--run", run, "--set", steps_set)
    return run


def _judge(folder: Path, run: Path, full: Path, series: Path, implanted: Path) -> dict:
    """The figures of one rung."""
    phantom = _scores(run, full)
    found = count_alarms(run, series, folder / "real")
    real = _scores(run, implanted)
    return {
        "phantom_mean_auc": phantom["mean_auc"]["value"],
        "alarms": found.alarms,
        "slices": found.slices,
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
    """Trains and judges every rung; the table is OUT/ladder.csv."""
    rows = []
    for group in (ALL, *GROUPS):
        folder = out / group.replace(" ", "-")
        result = folder / "result.json"
        if not result.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            run = _train(folder, group, patients, steps, seed)
            row = _judge(folder, run, out / ALL / "shards", series, implanted)
            result.write_text(json.dumps(row, indent=1) + "\n")
        rows.append({"left out": group, **json.loads(result.read_text())})
        click.echo(pd.DataFrame(rows).to_string(index=False, float_format="%.3f"))
    pd.DataFrame(rows).to_csv(out / "ladder.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()

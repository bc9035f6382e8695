"""Rate and memory of `predict` on studies as clinics export them, for several numbers of studies.

    python -m benchmarks.exports RUN FOLDER --studies 100 --studies 1000

The studies are phantoms of 10 slices of 64x64 pixels, each exported in one of the ways of
`tests/support/exports.py`: several series, turned, in archives, as an enhanced CT, with damaged
files and so on. Times and memory are those of `benchmarks.measured`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd

from benchmarks.timing import ICH_KERAS
from ich_keras.data.studies import find_studies
from tests.support import exports
from tfrecords_tools.phantom.rsna_files import synth

PATIENTS, SLICES, SIZE = 8, 10, 64


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--studies", "counts", type=int, multiple=True, default=(100, 1000))
@click.option("--cores", default=1, show_default=True)
def main(run: Path, folder: Path, counts: tuple[int, ...], cores: int) -> None:
    """Prints a row per number of studies."""
    sources = _source_studies(folder / "source")
    for count in counts:
        row = _row(run, _exported(sources, count, folder), cores)
        click.echo(pd.DataFrame([row]).to_string(index=False))


def _source_studies(folder: Path) -> list[exports.Slices]:
    """The slices of phantom studies, of which no file is damaged."""
    if not folder.exists():
        synth(folder, patients=PATIENTS, slices=SLICES, size=SIZE, seed=11)
    studies, _ = find_studies([folder / "stage_2_train"])
    whole = [x for x in studies if len(x.files) == SLICES]
    return [exports.read_study([file.source.path for file in x.files]) for x in whole]


def _exported(sources: list[exports.Slices], count: int, folder: Path) -> Path:
    """A folder of so many studies, each of another patient; one that exists already is kept."""
    target = folder / f"{count}_studies"
    if target.exists():
        return target
    kinds = list(exports.EXPORTS.values())
    for number in range(count):
        slices = sources[number % len(sources)]
        for dataset in slices:
            dataset.PatientID = f"patient {number}"
        kinds[number % len(kinds)](slices, target / f"{number:04d}")
    return target


def _row(run: Path, studies: Path, cores: int) -> dict[str, object]:
    out = studies.with_name(f"{studies.name}_predicted")
    shutil.rmtree(out, ignore_errors=True)
    command = [*ICH_KERAS, "predict", str(run), str(studies), "--out", str(out), "--quiet"]
    whole = [sys.executable, "-m", "benchmarks.measured", str(cores), *command]
    cost = json.loads(subprocess.run(whole, check=True, capture_output=True, text=True).stdout)
    table = pd.read_csv(out / "studies.csv")
    count = table["study"].nunique()
    return {
        "studies": count,
        "series": len(table),
        "slices": int(table["slices"].sum()),
        "rejected files": len(pd.read_csv(out / "rejects.csv")),
        "studies/min": round(60 * count / cost["seconds"], 1),
        "CPU s/study": round(cost["core_seconds"] / count, 2),
        "peak MB": round(cost["megabytes"]),
        "probe ms": round(1000 * cost["probe_seconds"], 2),
    }


if __name__ == "__main__":
    main()

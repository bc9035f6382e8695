"""Makes a shipped network of a trained run: `ich_keras/networks/<name>/`, with its model card.

    python -m benchmarks.ship RUN

The run must be evaluated: `ich-keras evaluate RUN --split val` fits thresholds and smoothing, and
the card has the scores of every file in `RUN/evaluation/`. Name those of `--dicom` by what was
scored, such as `--name real-heads`. The same run gives the same bytes.
"""

import shutil
from pathlib import Path

import click

from ich_keras.evaluation.model_card import model_card
from ich_keras.experiment.experiment import experiment_to_yaml, load_experiment, with_values
from ich_keras.run.folder import (
    NOTICE_NAME,
    RunFolder,
    RunInput,
    read_input,
    trained_run,
    write_input,
)
from ich_keras.run.shipped import NETWORKS
from ich_keras.scores.postprocessing import read_postprocessing
from tfrecords_tools.errors import InputError

TEMPLATE = str(Path(__file__).with_name("shipped_card.md.j2"))
LARGEST_BYTES = 15_000_000  # of the weights: they are in every wheel and every checkout
NOTICE = "For research only. This network never saw a patient: it was trained on simulated heads."
SETS = {
    "test": "phantom patients that were not trained on",
    "val": "phantom patients that checkpoint, thresholds and smoothing were chosen on",
    "ctich": "21 patients of another hospital, CT-ICH 1.0.0",
    "bhsd": "slices with hemorrhage, BHSD and MBH-Seg",
}
PHANTOMS = {"test", "val"}


def ship(run: RunFolder, name: str, networks: Path = NETWORKS) -> RunFolder:
    """Writes the folder of a shipped network, in place of an earlier one of that name.

    Raises InputError if the checkpoint is too large, or thresholds are not fitted for it.
    """
    trained = read_input(run)
    if run.best.stat().st_size > LARGEST_BYTES:
        raise InputError(f"{run.best}: has more than {LARGEST_BYTES:,} bytes")
    if read_postprocessing(run, trained.network.size) is None:
        raise InputError(f"{run.path}: has no thresholds; `ich-keras evaluate` fits them")
    shipped = RunFolder(networks / name)
    shutil.rmtree(shipped.path, ignore_errors=True)
    shutil.copytree(run.path / "fitted", shipped.path / "fitted")
    shipped.last.mkdir()
    shutil.copy(run.position, shipped.position)
    shutil.copy(run.best, shipped.best)
    write_input(shipped, RunInput(trained.network, None, trained.fingerprint))
    # Paths of the machine that trained it mean nothing elsewhere.
    experiment = load_experiment(str(run.experiment))
    general = with_values(experiment, {"name": name, "data.shards": None, "model.weights": None})
    shipped.experiment.write_text(experiment_to_yaml(general), encoding="utf-8")
    (shipped.path / NOTICE_NAME).write_text(f"{NOTICE}\n", encoding="utf-8")
    card = model_card(run, TEMPLATE, name=name, notice=NOTICE, sets=SETS, phantoms=PHANTOMS)
    shipped.card.write_text(card, encoding="utf-8")
    return shipped


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="phantom")
def main(run: Path, name: str) -> None:
    """Prints the folder."""
    shipped = ship(trained_run(run), name)
    click.echo(f"{shipped.best.stat().st_size:,} bytes of weights: {shipped.path}")


if __name__ == "__main__":
    main()

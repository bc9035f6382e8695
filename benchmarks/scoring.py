"""The cost of `evaluate`, relative to the bare prediction of the same split.

    python -m benchmarks.scoring RUN SHARDS

Figures and report are left out, since their cost does not grow with the split. Then scores as many
synthetic slices as a tenth of the whole data set holds.
"""

from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.timing import timed
from ich_keras.data.shards import ShardSet, open_shards
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.forward import Forward, compile_forward, predict_split
from ich_keras.model.network import load_model
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import read_input, trained_run
from ich_keras.scores.postprocessing import Source, fit_postprocessing
from ich_keras.scores.scorecard import scorecard

TENTH = 75_000  # slices
SLICES_A_STUDY = 35


def _predict(forward: Forward, shards: ShardSet, split: str, *, rule: bool) -> Predictions:
    return predict_split(forward, shards, split, batch_size=64, with_plain_rule=rule)


def _synthetic(slices: int) -> Predictions:
    rng = np.random.default_rng(0)
    labels = (rng.random((slices, 6)) < 0.05).astype(int)
    labels[:, 5] = labels[:, :5].max(axis=1)
    scores = 1 / (1 + np.exp(-(4 * labels - 2 + rng.normal(size=labels.shape))))
    study = np.arange(slices) // SLICES_A_STUDY
    names = np.char.add("study", study.astype(str))
    place = 5.0 * (np.arange(slices) % SLICES_A_STUDY)
    return Predictions(names, names, names, place, labels, scores, rng.random(slices))


@click.command(help=__doc__.splitlines()[0])
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", metavar="SHARDS", type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="test", show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(run: Path, folder: Path, split: str, repeats: int) -> None:
    """Prints seconds and ratios."""
    of_run = trained_run(run)
    experiment, size = load_experiment(str(of_run.experiment)), read_input(of_run).network.size
    shards = open_shards(folder, experiment.data, size)
    forward = compile_forward(load_model(of_run.best))
    config = experiment.evaluation
    postprocessing = fit_postprocessing(
        _predict(forward, shards, "val", rule=False), Source(0, size, "")
    )
    ratios = []
    for _ in range(repeats):
        bare, _ = timed(lambda: _predict(forward, shards, split, rule=False))
        looked, predictions = timed(lambda: _predict(forward, shards, split, rule=True))
        judged, _ = timed(partial(scorecard, predictions, config, 0, postprocessing))
        ratios.append((looked + judged) / bare)
        click.echo(
            f"{len(predictions.labels):,} slices: predicted in {bare:.2f} s, with the plain rule"
            f" {looked:.2f} s, scored in {judged:.2f} s: {ratios[-1]:.2f} times the prediction"
        )
    click.echo(f"median {np.median(ratios):.2f}")
    many = _synthetic(TENTH)
    fit_seconds, postprocessing = timed(lambda: fit_postprocessing(many, Source(0, size, "")))
    seconds, _ = timed(lambda: scorecard(many, config, 0, postprocessing))
    click.echo(
        f"{TENTH:,} synthetic slices: {config.bootstrap_draws:,} draws scored in {seconds:.1f} s;"
        f" thresholds and smoothing fitted in {fit_seconds:.1f} s"
    )


if __name__ == "__main__":
    main()

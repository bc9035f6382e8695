"""What judging costs beside predicting: `evaluate` over the bare prediction of the same split.

    python -m benchmarks.scoring RUN SHARDS

Figures and report are left out: their cost does not grow with the split. Then the scores of as
many made-up slices as a tenth of the whole data set holds.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

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


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def _predict(forward: Forward, shards: ShardSet, split: str, *, rule: bool) -> Predictions:
    return predict_split(forward, shards, split, batch_size=64, with_plain_rule=rule)


def _made_up(slices: int) -> Predictions:
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
        bare, _ = _timed(lambda: _predict(forward, shards, split, rule=False))
        looked, predictions = _timed(lambda: _predict(forward, shards, split, rule=True))
        judged, _ = _timed(partial(scorecard, predictions, config, 0, postprocessing))
        ratios.append((looked + judged) / bare)
        click.echo(
            f"{len(predictions.labels):,} slices: predicted in {bare:.2f} s, with the plain rule"
            f" {looked:.2f} s, scored in {judged:.2f} s: {ratios[-1]:.2f} times the prediction"
        )
    click.echo(f"median {np.median(ratios):.2f}")
    many = _made_up(TENTH)
    fit_seconds, postprocessing = _timed(lambda: fit_postprocessing(many, Source(0, size, "")))
    seconds, _ = _timed(lambda: scorecard(many, config, 0, postprocessing))
    click.echo(
        f"{TENTH:,} made-up slices: {config.bootstrap_draws:,} draws scored in {seconds:.1f} s;"
        f" thresholds, temperature and smoothing fitted in {fit_seconds:.1f} s"
    )


if __name__ == "__main__":
    main()

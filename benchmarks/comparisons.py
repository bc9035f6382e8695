"""Comparisons of trainings: runs that are kept, and intervals of differences between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from ich_keras.evaluation.evaluate import evaluate
from ich_keras.experiment.experiment import load_experiment
from ich_keras.run.folder import RunFolder
from ich_keras.scores.metrics import mean_auc
from ich_keras.training.fit import fit
from tfrecords_tools.classes import LABELS

SPLIT = "test"  # the checkpoint was chosen on the validation patients


@dataclass(frozen=True)
class SplitScores:
    """Predictions of several runs on the same slices.

    Attributes:
        labels: int (N, 6).
        patients: str (N,).
        probabilities: of each run, float (N, 6).
    """

    labels: np.ndarray
    patients: np.ndarray
    probabilities: tuple[np.ndarray, ...]


def train(shards: Path, run: RunFolder, overrides: Sequence[str]) -> pd.DataFrame:
    """The history of a run of `demo.yaml`; a complete run is not trained again."""
    fit(load_experiment("demo", overrides), shards, run)
    return pd.read_csv(run.history)


def score_runs(shards: Path, runs: Sequence[RunFolder]) -> SplitScores:
    """Scores runs on the test patients."""
    tables = []
    for run in runs:
        evaluate(run, shards, split=SPLIT)
        tables.append(pd.read_csv(run.evaluation / f"{SPLIT}_predictions.csv"))
    truth = [f"{label}_true" for label in LABELS]
    return SplitScores(
        tables[0][truth].to_numpy(),
        tables[0]["patient_key"].to_numpy(str),
        tuple(table[list(LABELS)].to_numpy() for table in tables),
    )


def auc_draws(scores: SplitScores, *, draws: int = 500, seed: int = 0) -> np.ndarray:
    """Bootstrap of the mean AUC over runs that differ in their seed.

    Both patients and runs are resampled, so an interval covers what other patients and another
    seed may change. Equal seeds resample equal patients, so the draws of two groups of runs on the
    same slices may be subtracted.

    Returns:
        float (1 + draws,); the first value is that of the original patients and runs.
    """
    rng = np.random.default_rng(seed)
    slices = pd.Series(np.arange(len(scores.patients))).groupby(scores.patients).indices
    names = sorted(map(str, slices))
    chosen = [np.arange(len(scores.patients))]
    for _ in range(draws):
        drawn = rng.integers(len(names), size=len(names))
        chosen.append(np.concatenate([slices[names[i]] for i in drawn]))
    members = len(scores.probabilities)
    areas = np.array(
        [[mean_auc(scores.labels[rows], p[rows]) for p in scores.probabilities] for rows in chosen]
    )
    runs = rng.integers(members, size=(draws + 1, members))
    runs[0] = np.arange(members)
    return np.take_along_axis(areas, runs, axis=1).mean(axis=1)


def report(
    path: Path,
    column: str,
    draws: Mapping[str, np.ndarray],
    reference: str,
    seconds: Mapping[str, float] | None = None,
) -> None:
    """Prints a table of test scores and their differences, and writes it to a CSV file.

    Args:
        path: of the file.
        column: title of the names.
        draws: by name, from `auc_draws`.
        reference: the name whose score is subtracted from the others.
        seconds: training time by name.
    """
    rows = [
        {
            column: name,
            **({"seconds": round(seconds[name])} if seconds else {}),
            "test mean AUC": _estimate(values),
            f"minus {reference}": _estimate(values - draws[reference], "+.4f"),
        }
        for name, values in draws.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(path, index=False, lineterminator="\n")
    click.echo(table.to_string(index=False))


def _estimate(draws: np.ndarray, form: str = ".4f") -> str:
    """A value with its 95 % interval."""
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    return f"{draws[0]:{form}} ({low:{form}} to {high:{form}})"

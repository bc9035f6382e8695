"""What the comparisons of trainings share: runs that are kept, and intervals of differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
class Answers:
    """What several runs said of the same slices.

    Attributes:
        labels: int (N, 6).
        patients: str (N,).
        probabilities: of each run, float (N, 6).
    """

    labels: np.ndarray
    patients: np.ndarray
    probabilities: tuple[np.ndarray, ...]


def train(shards: Path, run: RunFolder, overrides: Sequence[str]) -> pd.DataFrame:
    """The history of a run of `demo.yaml`; one that is complete is not trained again."""
    fit(load_experiment("demo", overrides), shards, run)
    return pd.read_csv(run.history)


def answers(shards: Path, runs: Sequence[RunFolder]) -> Answers:
    """Scores runs on the test patients."""
    tables = []
    for run in runs:
        evaluate(run, shards, split=SPLIT)
        tables.append(pd.read_csv(run.evaluation / f"{SPLIT}_predictions.csv"))
    truth = [f"{label}_true" for label in LABELS]
    return Answers(
        tables[0][truth].to_numpy(),
        tables[0]["patient_key"].to_numpy(str),
        tuple(table[list(LABELS)].to_numpy() for table in tables),
    )


def auc_draws(given: Answers, *, draws: int = 500, seed: int = 0) -> np.ndarray:
    """The mean AUC over runs that differ in their seed; float (1 + draws,), the first undrawn.

    Patients are drawn anew, and so are the runs: an interval holds what other patients and another
    seed may change. Equal seeds draw equal patients, so that the draws of two groups of runs on
    the same slices may be subtracted.
    """
    rng = np.random.default_rng(seed)
    slices = pd.Series(np.arange(len(given.patients))).groupby(given.patients).indices
    names = sorted(map(str, slices))
    chosen = [np.arange(len(given.patients))]
    for _ in range(draws):
        drawn = rng.integers(len(names), size=len(names))
        chosen.append(np.concatenate([slices[names[i]] for i in drawn]))
    members = len(given.probabilities)
    areas = np.array(
        [[mean_auc(given.labels[rows], p[rows]) for p in given.probabilities] for rows in chosen]
    )
    runs = rng.integers(members, size=(draws + 1, members))
    runs[0] = np.arange(members)
    return np.take_along_axis(areas, runs, axis=1).mean(axis=1)


def estimate(draws: np.ndarray, form: str = ".4f") -> str:
    """A value with its 95 % interval."""
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    return f"{draws[0]:{form}} ({low:{form}} to {high:{form}})"

"""Whether the best trial of a search beats the median trial on patients the search has not seen.

    python -m benchmarks.search SEARCH SHARDS [SPLIT]

SEARCH is the folder of a finished search, and SHARDS hold a split that the search did not use
(default: test). Every sample of every trial is scored there; the score of a trial is the mean over
its samples.
"""

from pathlib import Path

import click
import pandas as pd

from ich_keras.evaluation.run_scorer import RunScorer
from ich_keras.run.folder import trained_run
from ich_keras.scores.metrics import weighted_log_loss
from ich_keras.scores.ranking import roc_auc
from tfrecords_tools.storage.shard_path import shard_path


def score_trials(search: Path, shards_folder: Path, split: str) -> pd.DataFrame:
    """One row per trial: its scores in the search, and those of `best.keras` on the split."""
    trials = pd.read_csv(search / "trials.csv", dtype={"trial": str})
    rows = []
    for trial in trials.loc[trials["state"] == "done", "trial"]:
        for path in sorted((search / "trials" / trial).glob("sample_*/")):
            scorer = RunScorer(trained_run(path))
            predictions = scorer.predict(scorer.open(shard_path(str(shards_folder)), None), split)
            labels, probabilities = predictions.labels, predictions.probabilities
            areas = [roc_auc(*pair) for pair in zip(labels.T, probabilities.T, strict=True)]
            loss = weighted_log_loss(labels, probabilities)
            mean = sum(areas) / len(areas)
            rows.append({"trial": trial, "mean_auc": mean, "weighted_log_loss": loss})
    means = pd.DataFrame(rows).groupby("trial", as_index=False).mean()
    return trials.merge(means, on="trial")


@click.command(help=__doc__.splitlines()[0])
@click.argument("search", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("shards", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("split", default="test")
def main(search: Path, shards: Path, split: str) -> None:
    """Prints the table of trials, and the scores of the best one and of the median."""
    table = score_trials(search, shards, split).sort_values("val_loss")
    click.echo(table.drop(columns=["state", "failure", "seconds"]).to_string(index=False))
    best, median = table.iloc[0], table[["mean_auc", "weighted_log_loss"]].median()
    for name in ("mean_auc", "weighted_log_loss"):
        click.echo(
            f"{split} {name}: best of the search {best[name]:.4f}, median {median[name]:.4f}"
        )


if __name__ == "__main__":
    main()

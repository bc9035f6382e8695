"""Whether the best trial of a search beats its median on patients that the search has not seen.

    python -m benchmarks.search SEARCH SHARDS [SPLIT]

SEARCH is the folder of a search that is done, SHARDS hold a split that it did not look at. Every
sample of every trial is scored there; a trial counts by the mean over its samples.
"""

import sys
from pathlib import Path

import pandas as pd

from ich_keras.evaluation.run_scorer import RunScorer
from ich_keras.run.folder import trained_run
from ich_keras.scores.metrics import weighted_log_loss
from ich_keras.scores.ranking import roc_auc
from tfrecords_tools.storage.shard_path import shard_path


def scored(search: Path, shards_folder: Path, split: str) -> pd.DataFrame:
    """A row a trial: what it scored in the search, and on the split, by `best.keras`."""
    trials = pd.read_csv(search / "trials.csv", dtype={"trial": str})
    rows = []
    for trial in trials.loc[trials["state"] == "done", "trial"]:
        for path in sorted((search / "trials" / trial).glob("sample_*/")):
            scorer = RunScorer(trained_run(path))
            found = scorer.predict(scorer.open(shard_path(str(shards_folder)), None), split)
            columns = range(found.labels.shape[1])
            areas = [roc_auc(found.labels[:, k], found.probabilities[:, k]) for k in columns]
            rows.append(
                {
                    "trial": trial,
                    "mean_auc": sum(areas) / len(areas),
                    "weighted_log_loss": weighted_log_loss(found.labels, found.probabilities),
                }
            )
    means = pd.DataFrame(rows).groupby("trial", as_index=False).mean()
    return trials.merge(means, on="trial")


def main() -> None:
    search, shards_folder = Path(sys.argv[1]), Path(sys.argv[2])
    split = sys.argv[3] if len(sys.argv) > 3 else "test"
    table = scored(search, shards_folder, split).sort_values("val_loss")
    print(table.drop(columns=["state", "failure", "seconds"]).to_string(index=False))
    best, median = table.iloc[0], table[["mean_auc", "weighted_log_loss"]].median()
    for name in ("mean_auc", "weighted_log_loss"):
        print(f"{split} {name}: best of the search {best[name]:.4f}, median {median[name]:.4f}")


if __name__ == "__main__":
    main()

"""The files of an evaluation, and its tables for a terminal."""

import logging
from typing import Any

import pandas as pd

from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder, write_json
from ich_keras.scores.metrics import UNITS
from tfrecords_tools.storage.atomic import whole_file

log = logging.getLogger(__name__)


def write_scores(
    run: RunFolder, name: str, scores: dict[str, Any], predictions: Predictions
) -> None:
    """Logs the scores, and writes them and all predictions to `evaluation/`."""
    units = UNITS[scores.get("unit", "slice")]
    log.info("%s: %d %s\n%s", name, scores[units], units, score_table(scores))
    for warning in scores["warnings"]:
        log.warning("%s: %s", name, warning)
    write_json(run.evaluation / f"{name}.json", scores)
    with whole_file(run.evaluation / f"{name}_predictions.csv") as temporary:
        predictions.table().to_csv(temporary, index=False, lineterminator="\n")
    _add_size(run, name, scores)


def _add_size(run: RunFolder, name: str, scores: dict[str, Any]) -> None:
    """Adds a row to `<name>_sizes.csv`, the scores of one checkpoint at several sizes."""
    path = run.evaluation / f"{name}_sizes.csv"
    area = scores["mean_auc"]
    low, high = area["interval"] or (None, None)
    row = {
        "size": scores["size"],
        "checkpoint_step": scores["checkpoint_step"],
        "data_fingerprint": scores["data_fingerprint"],
        "mean_auc": area["value"],
        "mean_auc_low": low,
        "mean_auc_high": high,
        "auc_any": scores["auc"]["any"]["value"],
        "sensitivity_any": scores["sensitivity"]["any"]["value"],
        "specificity_any": scores["specificity"]["any"]["value"],
        "weighted_log_loss": scores["weighted_log_loss"],
        "accuracy_mean": scores["accuracy_mean"],
        "always_negative_accuracy_mean": scores["always_negative_accuracy_mean"],
    }
    table = pd.DataFrame([row])
    if path.is_file():
        existing = pd.read_csv(path, dtype={"data_fingerprint": str})
        keys = ["checkpoint_step", "data_fingerprint"]
        same = (existing[keys] == table.loc[0, keys]).all(axis=1)
        kept = existing[same & (existing["size"] != row["size"])]
        table = pd.concat([kept, table]).sort_values("size")
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    if len(table) > 1:
        shown = table.drop(columns=["checkpoint_step", "data_fingerprint"])
        log.info("the same checkpoint by size\n%s", _printed(shown))


def score_table(scores: dict[str, Any]) -> str:
    """One line per label that is known; accuracy is beside that of always predicting "no"."""
    rows = []
    for label in scores["positives"]:
        low, high = scores["auc"][label]["interval"] or (None, None)
        row = {"label": label, "positives": scores["positives"][label]}
        row |= {"AUC": scores["auc"][label]["value"], "from": low, "to": high}
        for name in ("average_precision", "sensitivity", "specificity", "accuracy"):
            row[name.replace("_", " ")] = scores[name][label]["value"]
        rows.append(row | {"always no": scores["always_negative_accuracy"][label]})
    return _printed(pd.DataFrame(rows))


def comparison_table(scores: dict[str, Any]) -> str:
    """One line per score of `compare`: both values, and their difference with its interval."""
    rows = []
    for name, score in scores.items():
        low, high = score["difference"]["interval"] or (None, None)
        row = {"score": name, "this": score["first"], "other": score["second"]}
        rows.append(row | {"this - other": score["difference"]["value"], "from": low, "to": high})
    return _printed(pd.DataFrame(rows))


def _printed(table: pd.DataFrame) -> str:
    """Formats a table whose first column names the rows; undefined numbers are "-"."""
    empty = [name for name in table.columns[1:] if table[name].dtype == object]  # None only
    table = table.astype(dict.fromkeys(empty, float))
    return table.to_string(index=False, float_format="%.4f", na_rep="-")

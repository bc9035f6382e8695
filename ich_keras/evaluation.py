"""A run and a split to scores, figures and the report."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ich_keras.config import load_experiment
from ich_keras.dataset import ShardSet, open_shards, reading
from ich_keras.figures import roc_curves, save_png
from ich_keras.gallery import draw_class_grid, draw_class_maps
from ich_keras.metrics import evaluate_scores
from ich_keras.model import load_model, with_class_maps
from ich_keras.report import write_report
from ich_keras.run_folder import RunFolder, RunInput, read_input, read_position, write_json
from ich_keras.scoring import compile_forward, predict_split
from tfrecords_tools.atomic import whole_file
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage import ShardPath

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateResult:
    """What a run scores.

    Attributes:
        run: its folder.
        split: that was scored.
        scores: the content of `evaluation/<split>.json`.
    """

    run: RunFolder
    split: str
    scores: dict[str, Any]

    def sentence(self) -> str:
        """The scores in short, each beside what saying "no" would score."""
        auc, scores = self.scores["mean_auc"], self.scores
        interval = "no interval"
        if auc["interval"] is not None:
            interval = f"95 % interval {auc['interval'][0]:.4f} to {auc['interval'][1]:.4f}"
        value = "undefined" if auc["value"] is None else f"{auc['value']:.4f}"
        return (
            f"{self.split}: mean AUC {value} ({interval}),"
            f" accuracy {scores['accuracy_mean']:.4f} (always negative"
            f" {scores['always_negative_accuracy_mean']:.4f}), weighted log loss"
            f" {scores['weighted_log_loss']:.4f} (prevalences"
            f" {scores['prior_weighted_log_loss']:.4f}): {self.run.report}"
        )


def evaluate(
    run: RunFolder, shards_folder: ShardPath, *, split: str = "val", size: int | None = None
) -> EvaluateResult:
    """Scores the best checkpoint of a run on a split, and renews figures and report.

    Args:
        run: a trained run.
        shards_folder: may be other shards than those of the training, with the same windows.
        split: of the shards; labelled.
        size: edge of a slice in pixels; None means the size of the training.

    Raises:
        UsageError: if the split has no labels, or the windows are not those of the training.
        InputError: if shards or checkpoint cannot be read.
    """
    experiment = load_experiment(str(run.experiment))
    trained = read_input(run)
    shards = open_shards(shards_folder, experiment.data, size or trained.size)
    _check_channels(shards, trained)
    if split == "unlabelled":
        raise UsageError("the split unlabelled has no labels to score; use `ich-keras predict`")
    model = load_model(run.best)
    forward = compile_forward(model)
    judged = experiment.evaluation
    with reading(shards_folder):
        predictions = predict_split(forward, shards, split, batch_size=judged.batch_size)
    step = read_position(run)["best_step"]
    scores = {
        "split": split,
        "size": shards.size,
        "checkpoint_step": step,
        "data_fingerprint": shards.manifest.fingerprint,
        **evaluate_scores(
            predictions.labels,
            predictions.probabilities,
            predictions.patient_key,
            draws=judged.bootstrap_draws,
            seed=experiment.seed,
            threshold=judged.threshold,
        ),
    }
    log.info("%s: %d slices\n%s", split, scores["slices"], score_table(scores))
    for warning in scores["warnings"]:
        log.warning("%s: %s", split, warning)
    write_json(run.evaluation / f"{split}.json", scores)
    with whole_file(run.evaluation / f"{split}_predictions.csv") as temporary:
        predictions.table().to_csv(temporary, index=False, lineterminator="\n")
    save_png(
        roc_curves(predictions.labels, predictions.probabilities, threshold=judged.threshold),
        run.figures / f"roc_{split}.png",
    )
    with reading(shards_folder):
        maps = draw_class_maps(with_class_maps(model), shards, split)
        grid = draw_class_grid(forward, shards, split, step)
    save_png(maps, run.figures / f"class_maps_{split}.png")
    save_png(grid, run.figures / f"class_grid_{split}.png")
    write_report(run.path)
    return EvaluateResult(run, split, scores)


def score_table(scores: dict[str, Any]) -> str:
    """The scores of the labels, a line each, accuracy beside that of always saying "no"."""
    rows = []
    for label in LABELS:
        low, high = scores["auc"][label]["interval"] or (None, None)
        row = {"label": label, "positives": scores["positives"][label]}
        row |= {"AUC": scores["auc"][label]["value"], "from": low, "to": high}
        for name in ("average_precision", "sensitivity", "specificity", "accuracy"):
            row[name.replace("_", " ")] = scores[name][label]["value"]
        rows.append(row | {"always no": scores["always_negative_accuracy"][label]})
    return pd.DataFrame(rows).to_string(index=False, float_format="%.4f", na_rep="-")


def _check_channels(shards: ShardSet, trained: RunInput) -> None:
    if (shards.windows, shards.neighbours) != (trained.windows, trained.neighbours):
        raise UsageError(
            f"{shards.folder}: gives the windows {json.dumps(shards.windows)} and"
            f" {shards.neighbours} neighbours, the run was trained on"
            f" {json.dumps(trained.windows)} and {trained.neighbours}; convert with those"
        )

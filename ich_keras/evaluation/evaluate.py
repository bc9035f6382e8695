"""A run and a split to scores, figures and the report."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ich_keras.data.batches import read_images, reading
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.shards import DatasetError, ShardSet, open_shards
from ich_keras.evaluation.localisation import localise
from ich_keras.evaluation.report import write_report
from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.figures.curves import save_png
from ich_keras.figures.examples import draw_class_grid, draw_class_maps, draw_errors
from ich_keras.figures.score_curves import reliability_curves, roc_curves, threshold_sweep
from ich_keras.model.forward import Forward, compile_forward, predict_split
from ich_keras.model.network import load_model, with_class_maps
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder, RunInput, read_input, write_json
from ich_keras.run.state import read_position
from ich_keras.scores.cases import Cases, slice_cases
from ich_keras.scores.metrics import UNITS
from ich_keras.scores.postprocessing import (
    Postprocessing,
    Thresholds,
    current_source,
    fit_postprocessing,
    read_postprocessing,
    write_postprocessing,
)
from ich_keras.scores.scorecard import compare, scorecard
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.storage.shard_path import ShardPath, shard_path

VALIDATION = "val"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateResult:
    """What a run scores.

    Attributes:
        run: its folder.
        name: of the scores; that of the split unless another was given.
        scores: the content of `evaluation/<name>.json`.
    """

    run: RunFolder
    name: str
    scores: dict[str, Any]

    def sentence(self) -> str:
        """The scores in short, each beside what saying "no" would score."""
        auc, scores = self.scores["mean_auc"], self.scores
        interval = "no interval"
        if auc["interval"] is not None:
            interval = f"95 % interval {auc['interval'][0]:.4f} to {auc['interval'][1]:.4f}"
        value = "undefined" if auc["value"] is None else f"{auc['value']:.4f}"
        return (
            f"{self.name}: mean AUC {value} ({interval}),"
            f" accuracy {scores['accuracy_mean']:.4f} (always negative"
            f" {scores['always_negative_accuracy_mean']:.4f}), weighted log loss"
            f" {scores['weighted_log_loss']:.4f} (prevalences"
            f" {scores['prior_weighted_log_loss']:.4f}): {self.run.report}"
        )


def evaluate(
    run: RunFolder,
    shards_folder: ShardPath,
    *,
    split: str = VALIDATION,
    size: int | None = None,
    name: str | None = None,
    against: RunFolder | None = None,
    masks: Path | None = None,
) -> EvaluateResult:
    """Scores the best checkpoint of a run on a split, and renews figures and report.

    What is chosen by looking at labels (thresholds, temperature, smoothing) is chosen on the
    validation slices of the run's own shards, and judged on other splits only.

    Args:
        run: a trained run.
        shards_folder: may be other shards than those of the training, with the same windows.
        split: of the shards; labelled.
        size: edge of a slice in pixels; None means the size of the training.
        name: of the scores' files; None means the split's.
        against: another run, to be compared with on the same slices.
        masks: folder of true masks of the slices, against which class maps are held.

    Raises:
        UsageError: if the split has no labels, or the windows are not those of the training.
        InputError: if shards or checkpoint cannot be read.
    """
    name = name or split
    scorer = RunScorer(run)
    shards = scorer.open(shards_folder, size)
    if split == "unlabelled":
        raise UsageError("the split unlabelled has no labels to score; use `ich-keras predict`")
    predictions = scorer.predict(shards, split)
    own_validation = split == VALIDATION and scorer.trained_on(shards)
    postprocessing = None
    if own_validation:
        source = current_source(run, shards.input.size)
        write_postprocessing(run, fit_postprocessing(predictions, source))
    else:
        postprocessing = scorer.postprocessing(shards.input.size)
    config, seed = scorer.experiment.evaluation, scorer.experiment.seed
    cases = scorer.cases(predictions)
    scores = {
        "split": split,
        "size": shards.input.size,
        "checkpoint_step": scorer.step,
        "data_fingerprint": shards.manifest.fingerprint,
        **scorecard(predictions, config, seed, postprocessing),
    }
    if masks is not None:
        scores["localisation"] = localise(
            scorer.with_maps, shards, split, predictions.slice_id, cases, masks, config.threshold
        )
    write_scores(scorer, name, scores, predictions)
    if against is not None:
        compared = _compare(scorer, RunScorer(against), shards_folder, split, cases)
        write_json(run.comparisons / f"{name}.json", compared)
    thresholds = postprocessing.thresholds["slice"] if postprocessing else None
    draw_scores(scorer, name, cases, thresholds, postprocessing)
    _draw_slices(scorer, shards, split, predictions, name)
    write_report(run.path)
    return EvaluateResult(run, name, scores)


class RunScorer:
    """A run, ready to answer."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.experiment: Experiment = load_experiment(str(run.experiment))
        self.trained: RunInput = read_input(run)
        self.model: keras.Model = load_model(run.best)
        self.step: int = read_position(run).best_step
        self.forward: Forward = compile_forward(self.model)
        self.with_maps: keras.Model = with_class_maps(self.model)

    def open(self, folder: ShardPath, size: int | None) -> ShardSet:
        """Shards as this run wants to see them."""
        shards = open_shards(folder, self.experiment.data, size or self.trained.network.size)
        _check_input(shards, self.trained.network)
        return shards

    def predict(self, shards: ShardSet, split: str) -> Predictions:
        with reading(shards.folder):
            return predict_split(
                self.forward,
                shards,
                split,
                batch_size=self.experiment.evaluation.batch_size,
                with_plain_rule=True,
            )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The answer for slices that are no shards: uint8 (N, size, size, channels) to (N, 6)."""
        size = self.experiment.evaluation.batch_size
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([self.forward(part).numpy() for part in parts])

    def cases(self, predictions: Predictions) -> Cases:
        """The slices as cases, with the bootstrap draws of the experiment."""
        draws = self.experiment.evaluation.bootstrap_draws
        return slice_cases(predictions, draws, self.experiment.seed)

    def trained_on(self, shards: ShardSet) -> bool:
        return shards.manifest.fingerprint == self.trained.fingerprint

    def postprocessing(self, size: int) -> Postprocessing | None:
        """What the run's own validation slices decide at a size; None where they are not there."""
        existing = read_postprocessing(self.run, size)
        if existing is not None:
            return existing
        try:
            shards = self.open(shard_path(self.trained.shards), size)
            if not self.trained_on(shards):
                raise DatasetError(f"{shards.folder}: are no longer the shards of the training")
            log.info("thresholds, temperature and smoothing: from the run's validation slices")
            predictions = self.predict(shards, VALIDATION)
            postprocessing = fit_postprocessing(predictions, current_source(self.run, size))
        except InputError as error:
            log.warning("no thresholds of validation: %s", error)
            return None
        write_postprocessing(self.run, postprocessing)
        return postprocessing


def write_scores(
    scorer: RunScorer, name: str, scores: dict[str, Any], predictions: Predictions
) -> None:
    """Logs the scores, and writes them and every answer to `evaluation/`."""
    run = scorer.run
    units = UNITS[scores.get("unit", "slice")]
    log.info("%s: %d %s\n%s", name, scores[units], units, score_table(scores))
    for warning in scores["warnings"]:
        log.warning("%s: %s", name, warning)
    write_json(run.evaluation / f"{name}.json", scores)
    with whole_file(run.evaluation / f"{name}_predictions.csv") as temporary:
        predictions.table().to_csv(temporary, index=False, lineterminator="\n")
    _note_size(run, name, scores)


def _note_size(run: RunFolder, name: str, scores: dict[str, Any]) -> None:
    """Adds a row to the table of the sizes that these weights were tried at."""
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
        before = pd.read_csv(path, dtype={"data_fingerprint": str})
        same = ["checkpoint_step", "data_fingerprint"]
        kept = (before[same] == table.loc[0, same]).all(axis=1) & (before["size"] != row["size"])
        table = pd.concat([before[kept], table]).sort_values("size")
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    if len(table) > 1:
        shown = table.drop(columns=["checkpoint_step", "data_fingerprint"])
        log.info("the same weights by size\n%s", printed(shown))


def _compare(
    scorer: RunScorer, other: RunScorer, folder: ShardPath, split: str, cases: Cases
) -> dict[str, Any]:
    """This run, another, and the difference, on the same slices."""
    theirs = other.predict(other.open(folder, None), split)
    scores = compare(cases, theirs.probabilities)
    log.info("beside %s\n%s", other.run.path, comparison_table(scores))
    return {
        "split": split,
        "against": other.run.path.name,
        "checkpoint_step": scorer.step,
        "against_checkpoint_step": other.step,
        "scores": scores,
    }


def draw_scores(
    scorer: RunScorer,
    name: str,
    cases: Cases,
    thresholds: Thresholds | None,
    postprocessing: Postprocessing | None,
) -> None:
    """The pictures that follow from scores alone.

    Args:
        scorer: the run.
        name: of the scores.
        cases: slices or studies.
        thresholds: of validation for these, by rule and label; None where there are none.
        postprocessing: whose temperature is judged too; None for none.
    """
    threshold = scorer.experiment.evaluation.threshold
    labels, probabilities = cases.labels, cases.probabilities
    temperature = postprocessing.temperature if postprocessing else None
    for kind, figure in (
        ("roc", roc_curves(labels, probabilities, threshold=threshold)),
        ("reliability", reliability_curves(labels, probabilities, temperature=temperature)),
        (
            "thresholds",
            threshold_sweep(labels, probabilities, threshold=threshold, chosen=thresholds),
        ),
    ):
        save_png(figure, scorer.run.figures / f"{kind}_{name}.png")


def _draw_slices(
    scorer: RunScorer, shards: ShardSet, split: str, predictions: Predictions, name: str
) -> None:
    """The pictures that show slices."""
    model, figures = scorer.with_maps, scorer.run.figures
    with reading(shards.folder):
        maps = draw_class_maps(model, shards, split)
        grid = draw_class_grid(scorer.forward, shards, split, scorer.step)
        save_errors(
            scorer,
            name,
            predictions,
            lambda names: read_images(shards, split, names),
            shards.input.shown_channel,
        )
    save_png(maps, figures / f"class_maps_{name}.png")
    save_png(grid, figures / f"class_grid_{name}.png")


def save_errors(
    scorer: RunScorer,
    name: str,
    predictions: Predictions,
    read: Callable[[list[str]], np.ndarray],
    shown_channel: int,
) -> None:
    """Draws the worst errors; where there are none, an earlier picture of them goes.

    Args:
        scorer: the run.
        name: of the scores.
        predictions: of slices, or of studies that are each shown by one slice.
        read: gives the network input of slices by their ids, uint8 (N, size, size, channels).
        shown_channel: of that input.
    """
    path = scorer.run.figures / f"errors_{name}.png"
    threshold = scorer.experiment.evaluation.threshold
    errors = draw_errors(scorer.with_maps, predictions, threshold, read, shown_channel)
    if errors is None:
        path.unlink(missing_ok=True)
    else:
        save_png(errors, path)


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
    return printed(pd.DataFrame(rows))


def comparison_table(compared: dict[str, Any]) -> str:
    """Two sets of answers, a line a score: both, and first minus second with its interval."""
    rows = []
    for name, scores in compared.items():
        low, high = scores["difference"]["interval"] or (None, None)
        row = {"score": name, "this": scores["first"], "other": scores["second"]}
        rows.append(row | {"this - other": scores["difference"]["value"], "from": low, "to": high})
    return printed(pd.DataFrame(rows))


def printed(table: pd.DataFrame) -> str:
    """A table for a terminal: the first column names the rows, what does not exist is "-"."""
    empty = [name for name in table.columns[1:] if table[name].dtype == object]  # None, as text
    table = table.astype(dict.fromkeys(empty, float))
    return table.to_string(index=False, float_format="%.4f", na_rep="-")


def _check_input(shards: ShardSet, trained: NetworkInput) -> None:
    """Refuses other channels; says so where slices are averaged and windowed in another order."""
    given = shards.input
    if (given.windows, given.neighbours) != (trained.windows, trained.neighbours):
        raise UsageError(
            f"{shards.folder}: gives the windows {json.dumps(given.windows)} and"
            f" {given.neighbours} neighbours, the run was trained on"
            f" {json.dumps(trained.windows)} and {trained.neighbours}; convert with those"
        )
    if given.shard_size != trained.at(given.size).shard_size:
        log.warning(
            "%s: HU were windowed at %d pixels, those of the training at %d; a slice looks slightly"
            " different where bone and brain share a pixel (docs/background/data_flow.md)",
            *(shards.folder, given.shard_size, trained.shard_size),
        )

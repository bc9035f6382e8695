"""Scores a run on a split of shards, and draws the figures of its report."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ich_keras.data.batches import read_images, reading
from ich_keras.data.shards import ShardSet
from ich_keras.evaluation.localisation import localise
from ich_keras.evaluation.report import write_report
from ich_keras.evaluation.run_scorer import VALIDATION, EvaluateResult, RunScorer
from ich_keras.evaluation.score_files import comparison_table, write_scores
from ich_keras.figures.curves import save_png
from ich_keras.figures.examples import draw_class_grid, draw_class_maps, draw_errors
from ich_keras.figures.score_curves import reliability_curves, roc_curves, threshold_sweep
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder, write_json
from ich_keras.scores.cases import Cases
from ich_keras.scores.postprocessing import Postprocessing
from ich_keras.scores.scorecard import compare, scorecard
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ShardPath

log = logging.getLogger(__name__)


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

    Everything that is chosen by looking at labels (thresholds, smoothing) is chosen on the
    validation slices of the run's own shards, and applied to other splits only. The shards may be
    others than those of the training, with the same windows. Without `size` and `name`, they are
    the size of the training and the name of the split. `against` is another run, to compare with on
    the same slices, `masks` a folder of true masks to compare class maps with.

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
    postprocessing = _postprocessing(scorer, shards, split, predictions)
    config, cases = scorer.experiment.evaluation, scorer.cases(predictions)
    scores = {
        "split": split,
        "size": shards.input.size,
        "checkpoint_step": scorer.step,
        "data_fingerprint": shards.manifest.fingerprint,
        **scorecard(predictions, config, scorer.experiment.seed, postprocessing),
    }
    if masks is not None:
        slices = (shards, predictions.slice_id)
        scores["localisation"] = localise(scorer.with_maps, *slices, cases, masks, config.threshold)
    write_scores(run, name, scores, predictions)
    if against is not None:
        compared = _compare(scorer, RunScorer(against), shards_folder, split, cases)
        write_json(run.comparisons / f"{name}.json", compared)
    draw_scores(scorer, name, cases, postprocessing)
    _draw_slices(scorer, shards, split, predictions, name)
    write_report(run)
    return EvaluateResult(run, name, scores)


def _postprocessing(
    scorer: RunScorer, shards: ShardSet, split: str, predictions: Predictions
) -> Postprocessing | None:
    """Fits on the run's own validation slices; None there, since it is not judged on them."""
    size = shards.input.size
    if split == VALIDATION and scorer.trained_on(shards):
        scorer.fit_postprocessing(predictions, size)
        return None
    return scorer.postprocessing(size)


def _compare(
    scorer: RunScorer, other: RunScorer, folder: ShardPath, split: str, cases: Cases
) -> dict[str, Any]:
    """The content of `comparisons/<name>.json`: both runs on the same slices."""
    predictions = other.predict(other.open(folder, None), split)
    scores = compare(cases, predictions.probabilities)
    log.info("beside %s\n%s", other.run.path, comparison_table(scores))
    return {
        "split": split,
        "against": other.run.path.name,
        "checkpoint_step": scorer.step,
        "against_checkpoint_step": other.step,
        "scores": scores,
    }


def draw_scores(
    scorer: RunScorer, name: str, cases: Cases, postprocessing: Postprocessing | None
) -> None:
    """Draws the figures of scores, with the thresholds of validation."""
    threshold = scorer.experiment.evaluation.threshold
    thresholds = postprocessing.thresholds[cases.unit] if postprocessing else None
    arrays = cases.labels, cases.probabilities
    figures = {
        "roc": roc_curves(*arrays, threshold=threshold),
        "reliability": reliability_curves(*arrays),
        "thresholds": threshold_sweep(*arrays, threshold=threshold, chosen=thresholds),
    }
    for kind, figure in figures.items():
        save_png(figure, scorer.run.figures / f"{kind}_{name}.png")


def _draw_slices(
    scorer: RunScorer, shards: ShardSet, split: str, predictions: Predictions, name: str
) -> None:
    """Draws the figures that show slices."""

    def read(slice_ids: list[str]) -> np.ndarray:
        return read_images(shards, slice_ids)

    with reading(shards.folder):
        maps = draw_class_maps(scorer.with_maps, shards, split)
        grid = draw_class_grid(scorer.forward, shards, split, scorer.step)
        draw_worst_errors(scorer, name, predictions, read, shards.input.shown_channel)
    save_png(maps, scorer.run.figures / f"class_maps_{name}.png")
    save_png(grid, scorer.run.figures / f"class_grid_{name}.png")


def draw_worst_errors(
    scorer: RunScorer,
    name: str,
    predictions: Predictions,
    read: Callable[[list[str]], np.ndarray],
    shown_channel: int,
) -> None:
    """Draws the worst errors; if there are none, removes an earlier figure of them.

    `predictions`, `read` and `shown_channel` are those of `draw_errors`.
    """
    path = scorer.run.figures / f"errors_{name}.png"
    threshold = scorer.experiment.evaluation.threshold
    errors = draw_errors(scorer.with_maps, predictions, threshold, read, shown_channel)
    if errors is None:
        path.unlink(missing_ok=True)
    else:
        save_png(errors, path)

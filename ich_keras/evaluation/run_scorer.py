"""A trained run with everything that is needed to predict with it and to score it."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_keras.data.batches import reading
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.shards import DatasetError, ShardSet, open_shards
from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.model.forward import Forward, compile_forward, predict_images, predict_split
from ich_keras.model.mirror import as_answering
from ich_keras.model.network import load_model, with_class_maps
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder, RunInput, read_input
from ich_keras.run.state import read_position
from ich_keras.scores.cases import Cases, slice_cases
from ich_keras.scores.postprocessing import (
    Postprocessing,
    current_source,
    fit_postprocessing,
    read_postprocessing,
    write_postprocessing,
)
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.shard_path import ShardPath, shard_path

VALIDATION = "val"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateResult:
    """The scores of a run, which are the content of `evaluation/<name>.json`."""

    run: RunFolder
    name: str
    scores: dict[str, Any]

    def sentence(self) -> str:
        """The most important scores, each beside its baseline."""
        auc, scores = self.scores["mean_auc"], self.scores
        interval = "no interval"
        if auc["interval"] is not None:
            interval = f"95 % interval {auc['interval'][0]:.4f} to {auc['interval'][1]:.4f}"
        value = "undefined" if auc["value"] is None else f"{auc['value']:.4f}"
        loss, which = "", "AUC of any"  # the only label, where the kinds are not known
        if scores["weighted_log_loss"] is not None:
            which = "mean AUC"
            loss = (
                f", weighted log loss {scores['weighted_log_loss']:.4f} (prevalences"
                f" {scores['prior_weighted_log_loss']:.4f})"
            )
        return (
            f"{self.name}: {which} {value} ({interval}),"
            f" accuracy {scores['accuracy_mean']:.4f} (always negative"
            f" {scores['always_negative_accuracy_mean']:.4f}){loss}: {self.run.report}"
        )


class RunScorer:
    """The best checkpoint of a run, loaded."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.experiment: Experiment = load_experiment(str(run.experiment))
        self.trained: RunInput = read_input(run)
        model = as_answering(load_model(run.best), self.experiment.evaluation)
        self.step: int = read_position(run).best_step
        self.forward: Forward = compile_forward(model)
        self.with_maps: Forward = compile_forward(with_class_maps(model))

    def open(self, folder: ShardPath, size: int | None) -> ShardSet:
        """Shards at a size, by default that of the training.

        Raises:
            UsageError: if their windows or neighbours are not those of the training.
        """
        shards = open_shards(folder, self.experiment.data, size or self.trained.network.size)
        _check_input(shards, self.trained.network)
        return shards

    def predict(self, shards: ShardSet, split: str) -> Predictions:
        batch_size = self.experiment.evaluation.batch_size
        with reading(shards.folder):
            return predict_split(
                self.forward, shards, split, batch_size=batch_size, with_plain_rule=True
            )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (N, 6) of a network input, uint8 (N, size, size, channels)."""
        return predict_images(self.forward, images, self.experiment.evaluation.batch_size)

    def cases(self, predictions: Predictions) -> Cases:
        """The slices as cases, with the bootstrap draws of the experiment."""
        draws = self.experiment.evaluation.bootstrap_draws
        return slice_cases(predictions, draws, self.experiment.seed)

    def trained_on(self, shards: ShardSet) -> bool:
        return shards.manifest.fingerprint == self.trained.fingerprint

    def fit_postprocessing(self, predictions: Predictions, size: int) -> Postprocessing:
        """Fits on predictions of the run's validation slices, and writes `fitted/<size>.json`."""
        postprocessing = fit_postprocessing(predictions, current_source(self.run, size))
        write_postprocessing(self.run, postprocessing)
        return postprocessing

    def postprocessing(self, size: int) -> Postprocessing | None:
        """What is fitted on the run's validation slices at a size; None if they are unavailable."""
        existing = read_postprocessing(self.run, size)
        if existing is not None:
            return existing
        try:
            if self.trained.shards is None:
                raise DatasetError(f"{self.run.path}: came without the slices of its training")
            shards = self.open(shard_path(self.trained.shards), size)
            if not self.trained_on(shards):
                raise DatasetError(f"{shards.folder}: no longer holds the shards of the training")
            log.info("fitting thresholds and smoothing on the validation slices")
            return self.fit_postprocessing(self.predict(shards, VALIDATION), size)
        except InputError as error:
            log.warning("no thresholds of validation: %s", error)
            return None


def _check_input(shards: ShardSet, trained: NetworkInput) -> None:
    """Refuses other channels; warns if HU are averaged and windowed in another order."""
    given = shards.input
    if (given.windows, given.neighbours) != (trained.windows, trained.neighbours):
        raise UsageError(
            f"{shards.folder}: has the windows {json.dumps(given.windows)} and"
            f" {given.neighbours} neighbours, the run was trained on"
            f" {json.dumps(trained.windows)} and {trained.neighbours}; convert with those"
        )
    if given.shard_size != trained.at(given.size).shard_size:
        log.warning(
            "%s: HU were windowed at %d pixels, those of the training at %d; a slice looks slightly"
            " different where bone and brain share a pixel (docs/background/data_flow.md)",
            *(shards.folder, given.shard_size, trained.shard_size),
        )

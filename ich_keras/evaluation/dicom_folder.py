"""Scores a run on DICOM files that were never shards, with labels of slices or of whole studies."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.given import nothing_usable
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject, write_rejects
from ich_keras.data.studies import (
    ReadSeries,
    Study,
    find_studies,
    read_series,
)
from ich_keras.evaluation.error_pages import write_error_pages
from ich_keras.evaluation.evaluate import draw_scores, draw_worst_errors
from ich_keras.evaluation.report import write_report
from ich_keras.evaluation.run_scorer import EvaluateResult, RunScorer
from ich_keras.evaluation.score_files import write_scores
from ich_keras.evaluation.truth import Truth, distinct, labelled_studies, read_truth
from ich_keras.model.baseline import plain_rule_areas
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder
from ich_keras.scores.cases import group_maximum, rows_by_group
from ich_keras.scores.scorecard import scorecard, study_scorecard
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.dataset.keys import keyed_hash
from tfrecords_tools.errors import InputError
from tfrecords_tools.progress import progress


def evaluate_dicom(
    run: RunFolder, folder: Path, labels: Path, *, name: str, size: int | None = None
) -> EvaluateResult:
    """Scores a run on the labelled DICOM files of a folder or zip archive.

    If the labels are of studies, the series that is judged is scored (`ich_keras.data.series`), and
    the probability of a study is the maximum of its slices. The folder is searched to any depth,
    archives too; for the labels see `read_truth`. Without `size` it is that of the training. Raises
    InputError if labels or files cannot be read, or have nothing in common.
    """
    truth = read_truth(labels)
    scorer = RunScorer(run)
    trained = scorer.trained.network
    network_input = trained.at(size or trained.size)
    rejected, rejects = run.evaluation / f"{name}_rejects.csv", list[Reject]()
    try:
        labelled = _labelled(folder, labels, truth, rejected, rejects)
        predictions = _predict(scorer, labelled, truth, network_input, rejects)
    finally:  # they say why, also where nothing can be scored
        write_rejects(rejected, rejects)
    postprocessing = scorer.postprocessing(network_input.size)
    names = {truth.name_of(file) for study in labelled for file in study.files}
    card = study_scorecard if truth.unit == "study" else scorecard
    config, seed = scorer.experiment.evaluation, scorer.experiment.seed
    scores: dict[str, Any] = {
        "unit": truth.unit,
        "size": network_input.size,
        "checkpoint_step": scorer.step,
        "data_fingerprint": _fingerprint(predictions),
        "rejected": len(rejects),
        "labels_without_files": len(truth.labels) - len(names & set(truth.labels.index)),
        **card(predictions, config, seed, postprocessing),
    }
    write_scores(run, name, scores, predictions)
    cases = scorer.cases(predictions)
    if truth.unit == "study":
        cases = cases.maximum("study", predictions.study_id)
        predictions = _most_suspicious(predictions)
    draw_scores(scorer, name, cases, postprocessing)
    read = partial(_read_images, labelled, network_input)
    draw_worst_errors(scorer, name, predictions, read, network_input.shown_channel)
    write_error_pages(scorer, name, predictions, labelled, truth, network_input, postprocessing)
    write_report(run)
    return EvaluateResult(run, name, scores)


def _labelled(
    folder: Path, labels: Path, truth: Truth, rejected: Path, rejects: list[Reject]
) -> list[Study]:
    """The studies with a label; `rejects`, which will be written to `rejected`, gets the others."""
    studies, others = find_studies([folder])
    rejects += others
    if not studies:
        raise nothing_usable("evaluate", [folder], rejects, f"all are in {rejected}; ")
    labelled = labelled_studies(studies, truth, rejects)
    if not labelled:
        slices = sum(len(study.files) for study in studies)
        raise InputError(
            f"{labels}: knows none of the {slices:,} CT slices in {folder}"
            f" ({len(rejects):,} other files: {rejected}); check that both belong together"
        )
    return labelled


def _most_suspicious(predictions: Predictions) -> Predictions:
    """One row per study: the slice with the highest `any`, with the probabilities of the study."""
    any_probability = predictions.probabilities[:, ANY]
    by_study = rows_by_group(predictions.study_id)
    chosen = [rows[np.argsort(any_probability[rows], kind="stable")[-1]] for rows in by_study]
    of_studies = group_maximum(predictions.probabilities, predictions.study_id)
    return predictions.take(np.array(chosen)).with_probabilities(of_studies)


def _read_images(
    studies: Iterable[Study], network_input: NetworkInput, slice_ids: list[str]
) -> np.ndarray:
    """Reads single slices again, with their neighbours; uint8 (N, size, size, channels)."""
    requested, images = set(slice_ids), {}
    for series in (series for study in studies for series in study.series):
        if requested.isdisjoint(file.slice_id for file in series.files):
            continue
        for read in read_series([series], network_input, []):
            for file, image in zip(read.files, read.images, strict=True):
                if file.slice_id in requested:
                    images[file.slice_id] = image
    return np.stack([images[name] for name in slice_ids])


def _fingerprint(predictions: Predictions) -> str:
    """A hash of the scored slices and their labels."""
    order = np.argsort(predictions.slice_id)
    content = hashlib.sha256("\n".join(predictions.slice_id[order]).encode())
    content.update(predictions.labels[order].astype(np.uint8).tobytes())
    return content.hexdigest()


def _predict(
    scorer: RunScorer,
    studies: list[Study],
    truth: Truth,
    network_input: NetworkInput,
    rejects: list[Reject],
) -> Predictions:
    """Predicts every labelled slice; files that cannot be read are added to the rejects."""
    tables = []
    for study in progress(distinct(studies), desc="score", unit="study"):
        reading = read_series(study.series, network_input, rejects)
        judged = islice(reading, 1) if truth.unit == "study" else reading
        tables += [_table(scorer, study, series, truth, network_input) for series in judged]
    if not any(len(x) for x in tables):
        counts = Counter(x["reason"] for x in rejects).most_common()
        reasons = ", ".join(f"{reason} ({count})" for reason, count in counts)
        raise InputError(
            f"no labelled slice can be read: {reasons}; docs/reference/dicom.md says what to do"
        )
    table = pd.concat(tables)
    areas = table["dense_mm2"].to_numpy(float)
    key = str(scorer.experiment.seed).encode()
    return Predictions(
        slice_id=table["slice_id"].to_numpy(str),
        study_id=table["study_id"].to_numpy(str),
        patient_key=keyed_hash(table["patient"], key).to_numpy(str),
        position_mm=table["position_mm"].to_numpy(np.float32),
        labels=truth.labels.loc[table["name"]].to_numpy(np.int64),
        probabilities=table[list(LABELS)].to_numpy(np.float32),
        dense_mm2=None if np.isnan(areas).any() else areas,
        series_id=table["series_id"].to_numpy(str),
    )


def _table(
    scorer: RunScorer, study: Study, series: ReadSeries, truth: Truth, network_input: NetworkInput
) -> pd.DataFrame:
    """One row per labelled slice: identifiers, probabilities, and the area of the plain rule."""
    header = series.slices[0].header
    table = pd.DataFrame(scorer.probabilities(series.images), columns=list(LABELS)).assign(
        name=[truth.name_of(file) for file in series.files],
        slice_id=[file.slice_id for file in series.files],
        study_id=study.study_id,
        patient=study.patient_id or study.study_id,
        series_id=f"{study.patient_id} {study.study_id} {header.series_id}",
        position_mm=series.position_mm,
        dense_mm2=plain_rule_areas(series.images, network_input, _pixel_mm(series)),
    )
    return table[table["name"].isin(truth.labels.index)]


def _pixel_mm(series: ReadSeries) -> float | None:
    """Edge of a pixel of the network's input, the median of the slices; None if unknown."""
    edges = np.array([x.header.edge_mm for x in series.slices]) / series.images.shape[1]
    return None if np.isnan(edges).all() else float(np.nanmedian(edges))

"""Scores a run on DICOM files that were never shards, with labels of slices or of whole studies."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.sources import Reject, write_rejects
from ich_keras.data.studies import (
    ReadStudy,
    SliceFile,
    Study,
    find_studies,
    read_studies,
    study_images,
)
from ich_keras.evaluation import cq500
from ich_keras.evaluation.evaluate import draw_scores, draw_worst_errors
from ich_keras.evaluation.report import write_report
from ich_keras.evaluation.run_scorer import EvaluateResult, RunScorer
from ich_keras.evaluation.score_files import write_scores
from ich_keras.model.baseline import plain_rule_areas
from ich_keras.model.predictions import Predictions
from ich_keras.run.folder import RunFolder
from ich_keras.scores.cases import group_maximum, rows_by_group
from ich_keras.scores.scorecard import scorecard, study_scorecard
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.dataset.keys import keyed_hash
from tfrecords_tools.errors import InputError
from tfrecords_tools.tables.label_csv import (
    STUDY_ID_COLUMNS,
    label_columns,
    read_labels,
    read_study_labels,
)


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of slices or of studies."""

    unit: str  # `slice` or `study`
    labels: pd.DataFrame  # columns LABELS, 0 or 1, indexed by name
    name_of: Callable[[SliceFile], str]  # the name of a slice, or of the study that it belongs to

    def has(self, file: SliceFile) -> bool:
        return self.name_of(file) in self.labels.index


def read_truth(path: Path) -> Truth:
    """Labels of slices (as for `convert`), of studies (a column `study_id`), or the CQ500 reads."""
    columns = label_columns(path)
    if cq500.has_reads(columns):
        return Truth("study", cq500.read_reads(path), _scan)
    if {name.lower() for name in columns} & set(STUDY_ID_COLUMNS):
        return Truth("study", read_study_labels(path), lambda x: x.header.slice.study_id)
    return Truth("slice", read_labels(path), lambda x: x.header.slice.slice_id)


def _scan(file: SliceFile) -> str:
    name = cq500.scan_name(file.source.name) or cq500.scan_name(file.header.slice.patient_id)
    return name or file.source.name


def evaluate_dicom(
    run: RunFolder, folder: Path, labels: Path, *, name: str, size: int | None = None
) -> EvaluateResult:
    """Scores a run on labelled DICOM files.

    If the labels are of studies, one series of each is scored: without contrast, with a soft
    kernel, and as thick as usual (`cq500.choose_series`). The probability of a study is the maximum
    of its slices. The folder is searched to any depth, archives too; for the labels see
    `read_truth`. Without `size` it is that of the training. Raises InputError if labels or files
    cannot be read, or have nothing in common.
    """
    truth = read_truth(labels)
    scorer = RunScorer(run)
    trained = scorer.trained.network
    network_input = trained.at(size or trained.size)
    studies, rejects = find_studies([folder])
    labelled = _labelled_studies(studies, truth)
    if not labelled:
        slices = sum(len(study.files) for study in studies)
        raise _none_labelled(labels, folder, slices, len(rejects))
    predictions = _predict(scorer, labelled, truth, network_input, rejects)
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
    write_rejects(run.evaluation / f"{name}_rejects.csv", rejects)
    cases = scorer.cases(predictions)
    if truth.unit == "study":
        cases = cases.maximum("study", predictions.study_id)
        predictions = _most_suspicious(predictions)
    draw_scores(scorer, name, cases, postprocessing)

    def read(slice_ids: list[str]) -> np.ndarray:
        return _read_images(labelled, slice_ids, network_input)

    draw_worst_errors(scorer, name, predictions, read, network_input.shown_channel)
    write_report(run.path)
    return EvaluateResult(run, name, scores)


def _none_labelled(labels: Path, folder: Path, slices: int, others: int) -> InputError:
    return InputError(
        f"{labels}: knows none of the {slices:,} CT slices in {folder} ({others:,} other files);"
        " check that both belong together"
    )


def _most_suspicious(predictions: Predictions) -> Predictions:
    """One row per study: the slice with the highest `any`, with the probabilities of the study."""
    any_probability = predictions.probabilities[:, ANY]
    by_study = rows_by_group(predictions.study_id)
    chosen = [rows[np.argsort(any_probability[rows], kind="stable")[-1]] for rows in by_study]
    of_studies = group_maximum(predictions.probabilities, predictions.study_id)
    return predictions.take(np.array(chosen)).with_probabilities(of_studies)


def _read_images(
    studies: Iterable[Study], slice_ids: list[str], network_input: NetworkInput
) -> np.ndarray:
    """Reads single slices again, with their neighbours; uint8 (N, size, size, channels)."""
    requested, images = set(slice_ids), {}
    for study in studies:
        if requested.isdisjoint(x.header.slice.slice_id for x in study.files):
            continue
        _, slices = zip(*study.read()[0], strict=True)
        for ct, image in zip(slices, study_images(slices, network_input), strict=True):
            if ct.header.slice_id in requested:
                images[ct.header.slice_id] = image
    return np.stack([images[name] for name in slice_ids])


def _labelled_studies(studies: Iterable[Study], truth: Truth) -> list[Study]:
    """Studies with any labelled slice, or one series of each labelled study."""
    if truth.unit == "slice":  # slices without labels serve as neighbours
        return [study for study in studies if any(truth.has(file) for file in study.files)]
    by_name: dict[str, list[SliceFile]] = defaultdict(list)
    for study in studies:
        for file in filter(truth.has, study.files):
            by_name[truth.name_of(file)].append(file)
    return [Study(name, tuple(_chosen_series(files))) for name, files in by_name.items()]


def _chosen_series(files: list[SliceFile]) -> list[SliceFile]:
    by_series: dict[str, list[SliceFile]] = defaultdict(list)
    for file in files:
        by_series[file.header.slice.series_id].append(file)
    chosen = cq500.choose_series([_series(name, x) for name, x in by_series.items()])
    return by_series[chosen.series_id]


def _series(series_id: str, files: list[SliceFile]) -> cq500.Series:
    distances = np.diff([x.header.slice.position_mm for x in files])
    spacing_mm = float(np.median(distances)) if len(distances) else float("nan")
    first = files[0].header.slice
    return cq500.Series(series_id, len(files), spacing_mm, first.kernel, first.contrast)


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
    reading = read_studies(studies, network_input, rejects, desc="score")
    tables = [_table(scorer, study, truth, network_input) for study in reading]
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
        labels=truth.labels.loc[table["name"], list(LABELS)].to_numpy(np.int64),
        probabilities=table[list(LABELS)].to_numpy(np.float32),
        dense_mm2=None if np.isnan(areas).any() else areas,
        series_id=table["series_id"].to_numpy(str),
    )


def _table(
    scorer: RunScorer, study: ReadStudy, truth: Truth, network_input: NetworkInput
) -> pd.DataFrame:
    """One row per labelled slice: identifiers, probabilities, and the area of the plain rule."""
    headers = [file.header.slice for file in study.files]
    table = pd.DataFrame(scorer.probabilities(study.images), columns=list(LABELS)).assign(
        name=[truth.name_of(file) for file in study.files],
        slice_id=[x.slice_id for x in headers],
        study_id=study.study_id,
        patient=[x.patient_id or study.study_id for x in headers],
        series_id=[f"{study.study_id} {x.series_id}" for x in headers],
        position_mm=[x.position_mm for x in headers],
        dense_mm2=plain_rule_areas(study.images, network_input, _pixel_mm(study)),
    )
    return table[table["name"].isin(truth.labels.index)]


def _pixel_mm(study: ReadStudy) -> float | None:
    """Edge of a pixel of the network's input, the median of the slices; None if unknown."""
    edges = np.array([x.header.edge_mm for x in study.slices]) / study.images.shape[1]
    return None if np.isnan(edges).all() else float(np.nanmedian(edges))

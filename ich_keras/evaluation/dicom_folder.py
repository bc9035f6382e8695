"""A run judged on somebody else's DICOM files, with labels of slices or of whole studies."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.studies import (
    ReadStudy,
    Reject,
    SliceFile,
    Study,
    find_studies,
    read_studies,
    study_images,
    write_rejects,
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
    """What is known of slices or of studies.

    Attributes:
        unit: `slice` or `study`.
        labels: columns LABELS, 0 or 1, by the names that `name_of` gives.
        name_of: the name under which a slice, or the study it belongs to, is known.
    """

    unit: str
    labels: pd.DataFrame
    name_of: Callable[[SliceFile], str]


def read_truth(path: Path) -> Truth:
    """Labels of slices (as for `convert`), of studies (a column `study_id`), or CQ500's reads.

    Raises:
        LabelError: if the file is none of these, or has a fault.
        OSError: if it cannot be opened.
    """
    columns = label_columns(path)
    if cq500.has_reads(columns):
        return Truth("study", cq500.read_reads(path), _scan)
    if {name.lower() for name in columns} & set(STUDY_ID_COLUMNS):
        return Truth("study", read_study_labels(path), lambda x: x.header.slice.study_id)
    return Truth("slice", read_labels(path), lambda x: x.header.slice.slice_id)


def _scan(found: SliceFile) -> str:
    name = cq500.scan_name(found.source.name) or cq500.scan_name(found.header.slice.patient_id)
    return name or found.source.name


def evaluate_dicom(
    run: RunFolder, folder: Path, labels: Path, *, name: str, size: int | None = None
) -> EvaluateResult:
    """Scores a run on labelled DICOM files that were never shards.

    Where labels are of studies, one series of each is judged: without contrast, of a soft kernel,
    and as thick as usual (`cq500.choose_series`); a study is as probable to bleed as its most
    probable slice.

    Args:
        run: a trained run.
        folder: searched to any depth; archives too.
        labels: a CSV, see `read_truth`.
        name: of the scores' files.
        size: edge of a slice in pixels; None means the size of the training.

    Raises:
        InputError: if labels or files cannot be read, or have nothing in common.
    """
    truth = read_truth(labels)
    scorer = RunScorer(run)
    trained = scorer.trained.network
    network_input = trained.at(size or trained.size)
    studies, rejects = find_studies([folder])
    known = _known(studies, truth)
    if not known:
        raise InputError(
            f"{labels}: knows none of the {sum(len(x.files) for x in studies):,} CT slices in"
            f" {folder} ({len(rejects):,} other files); check that both belong together"
        )
    predictions = _predict(scorer, known, truth, network_input, rejects)
    postprocessing = scorer.postprocessing(network_input.size)
    config, seed = scorer.experiment.evaluation, scorer.experiment.seed
    by_study = truth.unit == "study"
    card = (study_scorecard if by_study else scorecard)(predictions, config, seed, postprocessing)
    names = {truth.name_of(found) for study in known for found in study.files}
    scores: dict[str, Any] = {
        "unit": truth.unit,
        "size": network_input.size,
        "checkpoint_step": scorer.step,
        "data_fingerprint": _fingerprint(predictions),
        "rejected": len(rejects),
        "labels_without_files": len(truth.labels) - len(names & set(truth.labels.index)),
        **card,
    }
    write_scores(run, name, scores, predictions)
    write_rejects(run.evaluation / f"{name}_rejects.csv", rejects)
    cases = scorer.cases(predictions)
    if by_study:
        cases = cases.maximum("study", predictions.study_id)
    draw_scores(scorer, name, cases, postprocessing)
    draw_worst_errors(
        scorer,
        name,
        _most_suspicious(predictions) if by_study else predictions,
        lambda names: _read_images(known, names, network_input),
        network_input.shown_channel,
    )
    write_report(run.path)
    return EvaluateResult(run, name, scores)


def _most_suspicious(predictions: Predictions) -> Predictions:
    """A row per study: its slice with the highest `any`, with the probabilities of the study."""
    probability = predictions.probabilities[:, ANY]
    by_study = rows_by_group(predictions.study_id)
    chosen = [rows[np.argsort(probability[rows], kind="stable")[-1]] for rows in by_study]
    of_studies = group_maximum(predictions.probabilities, predictions.study_id)
    return predictions.take(np.array(chosen)).with_probabilities(of_studies)


def _read_images(
    studies: Iterable[Study], slice_ids: list[str], network_input: NetworkInput
) -> np.ndarray:
    """Reads single slices again, with their neighbours; uint8 (N, size, size, channels)."""
    wanted, images = set(slice_ids), {}
    for study in studies:
        if not wanted.isdisjoint(x.header.slice.slice_id for x in study.files):
            _, slices = zip(*study.read()[0], strict=True)
            for ct, image in zip(slices, study_images(slices, network_input), strict=True):
                if ct.header.slice_id in wanted:
                    images[ct.header.slice_id] = image
    return np.stack([images[name] for name in slice_ids])


def _known(studies: Iterable[Study], truth: Truth) -> list[Study]:
    """The studies that are labelled, whole or in part; of wholly labelled ones one series each."""
    if truth.unit == "slice":  # neighbours without a label are looked at all the same
        return [
            study
            for study in studies
            if any(truth.name_of(found) in truth.labels.index for found in study.files)
        ]
    by_name: dict[str, list[SliceFile]] = {}
    for study in studies:
        for found in study.files:
            if truth.name_of(found) in truth.labels.index:
                by_name.setdefault(truth.name_of(found), []).append(found)
    return [Study(name, tuple(_judged_series(members))) for name, members in by_name.items()]


def _fingerprint(predictions: Predictions) -> str:
    """Of which slices were judged, and of their labels."""
    order = np.argsort(predictions.slice_id)
    content = hashlib.sha256("\n".join(predictions.slice_id[order]).encode())
    content.update(predictions.labels[order].astype(np.uint8).tobytes())
    return content.hexdigest()


def _judged_series(members: list[SliceFile]) -> list[SliceFile]:
    by_series: dict[str, list[SliceFile]] = {}
    for found in members:
        by_series.setdefault(found.header.slice.series_id, []).append(found)
    best = cq500.choose_series([_facts(name, x) for name, x in by_series.items()])
    return by_series[best.series_id]


def _facts(series_id: str, members: list[SliceFile]) -> cq500.Series:
    places = np.diff([x.header.slice.position_mm for x in members])
    first = members[0].header.slice
    return cq500.Series(
        series_id=series_id,
        slices=len(members),
        spacing_mm=float(np.median(places)) if len(places) else float("nan"),
        kernel=first.kernel,
        contrast=first.contrast,
    )


def _predict(
    scorer: RunScorer,
    studies: list[Study],
    truth: Truth,
    network_input: NetworkInput,
    rejects: list[Reject],
) -> Predictions:
    """The network's answer for every labelled slice; files that cannot be read become rejects."""
    rows: list[dict[str, Any]] = []
    for study in read_studies(studies, network_input, rejects, desc="score"):
        answers = scorer.probabilities(study.images)
        areas = _dense_areas(network_input, study)
        for found, answer, area in zip(study.files, answers, areas, strict=True):
            if truth.name_of(found) in truth.labels.index:
                header = found.header.slice
                rows.append(
                    {
                        "slice_id": header.slice_id,
                        "study_id": study.study_id,
                        "patient": header.patient_id or study.study_id,
                        "series_id": f"{study.study_id} {header.series_id}",
                        "position_mm": header.position_mm,
                        "labels": truth.labels.loc[truth.name_of(found), list(LABELS)],
                        "probabilities": answer,
                        "area": area,
                    }
                )
    if not rows:
        reasons = pd.Series([x["reason"] for x in rejects]).value_counts().to_dict()
        said = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
        raise InputError(
            f"no labelled slice can be read: {said}; docs/reference/dicom.md says what to do"
        )
    return _predictions(pd.DataFrame(rows), str(scorer.experiment.seed).encode())


def _predictions(table: pd.DataFrame, key: bytes) -> Predictions:
    """A row a slice, patients by a hash with the key."""
    areas = table["area"].to_numpy()
    return Predictions(
        slice_id=table["slice_id"].to_numpy(str),
        study_id=table["study_id"].to_numpy(str),
        patient_key=keyed_hash(table["patient"], key).to_numpy(str),
        position_mm=table["position_mm"].to_numpy(np.float32),
        labels=np.stack(table["labels"].to_list()).astype(np.int64),
        probabilities=np.stack(table["probabilities"].to_list()),
        dense_mm2=None if np.isnan(areas).any() else areas,
        series_id=table["series_id"].to_numpy(str),
    )


def _dense_areas(network_input: NetworkInput, study: ReadStudy) -> np.ndarray:
    """What the plain rule sees, mm², float (N,); NaN where no window shows what it needs."""
    edges = np.array([x.header.edge_mm for x in study.slices]) / study.images.shape[1]
    pixel_mm = float(np.nanmedian(edges)) if not np.isnan(edges).all() else None
    areas = plain_rule_areas(study.images, network_input, pixel_mm)
    return np.full(len(study.slices), np.nan) if areas is None else areas

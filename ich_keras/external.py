"""A run judged on somebody else's DICOM files, with labels of slices or of whole studies."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.evaluation import EvaluateResult, RunScorer, draw_scores, write_scores
from ich_keras.levels import of_slices, of_studies
from ich_keras.plain_rule import dense_areas, window_for_rule
from ich_keras.report import write_report
from ich_keras.run_folder import RunFolder
from ich_keras.scorecard import scorecard, study_scorecard
from ich_keras.scoring import Predictions
from ich_keras.studies import FoundSlice, Reject, Study, find_studies, study_images
from tfrecords_tools import cq500
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.dicom import CTSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.labels import (
    STUDY_ID_COLUMNS,
    label_columns,
    read_labels,
    read_study_labels,
)
from tfrecords_tools.progress import progress
from tfrecords_tools.split import keyed_hash

log = logging.getLogger(__name__)


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
    name_of: Callable[[FoundSlice], str]


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


def _scan(found: FoundSlice) -> str:
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
    edge = size or scorer.trained.size
    studies, rejects = find_studies([folder])
    known = list(_known(studies, truth))
    if not known:
        raise InputError(
            f"{labels}: knows none of the {sum(len(x.slices) for x in studies):,} CT slices in"
            f" {folder} ({len(rejects):,} other files); check that both belong together"
        )
    predictions, unreadable = _predict(scorer, known, truth, edge)
    fitted = scorer.fitted(edge)
    config, seed = scorer.experiment.evaluation, scorer.experiment.seed
    by_study = truth.unit == "study"
    card = (study_scorecard if by_study else scorecard)(predictions, config, seed, fitted)
    scores: dict[str, Any] = {
        "unit": truth.unit,
        "size": edge,
        "checkpoint_step": scorer.step,
        "rejected": len(rejects) + len(unreadable),
        "labels_without_files": len(truth.labels) - len(set(_names(known, truth))),
        **card,
    }
    rows = of_studies(predictions) if by_study else of_slices(predictions)
    write_scores(scorer, name, scores, predictions)
    thresholds = fitted.thresholds[truth.unit] if fitted else None
    draw_scores(scorer, name, rows, thresholds, None if by_study else fitted)
    write_report(run.path)
    return EvaluateResult(run, name, scores)


def _known(studies: Iterable[Study], truth: Truth) -> Iterable[Study]:
    """The slices with labels; of each study with labels the series to judge."""
    by_name: dict[str, list[FoundSlice]] = {}
    for study in studies:
        for found in study.slices:
            if truth.name_of(found) in truth.labels.index:
                key = truth.name_of(found) if truth.unit == "study" else study.study_id
                by_name.setdefault(key, []).append(found)
    for name, members in by_name.items():
        chosen = _judged_series(members) if truth.unit == "study" else members
        yield Study(name, tuple(chosen))


def _judged_series(members: list[FoundSlice]) -> list[FoundSlice]:
    by_series: dict[str, list[FoundSlice]] = {}
    for found in members:
        by_series.setdefault(found.header.slice.series_id, []).append(found)
    best = cq500.choose_series([_facts(name, x) for name, x in by_series.items()])
    return by_series[best.series_id]


def _facts(series_id: str, members: list[FoundSlice]) -> cq500.Series:
    places = np.diff([x.header.slice.position_mm for x in members])
    first = members[0].header.slice
    return cq500.Series(
        series_id=series_id,
        slices=len(members),
        spacing_mm=float(np.median(places)) if len(places) else float("nan"),
        kernel=first.kernel,
        contrast=first.contrast,
    )


def _names(studies: Iterable[Study], truth: Truth) -> list[str]:
    return [truth.name_of(found) for study in studies for found in study.slices]


def _predict(
    scorer: RunScorer, studies: list[Study], truth: Truth, edge: int
) -> tuple[Predictions, list[Reject]]:
    """The network's answer for every slice, and what could not be read."""
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for study in progress(studies, desc="score", unit="study"):
        read, unreadable = study.read()
        rejects += unreadable
        if read:
            members = [ct for _, ct in read]
            images = study_images(members, scorer.trained, edge)
            probabilities = scorer.probabilities(images)
            areas = _dense_areas(scorer, images, members)
            for (found, ct), answer, area in zip(read, probabilities, areas, strict=True):
                rows.append(
                    {
                        "slice_id": ct.header.slice_id,
                        "study_id": study.study_id,
                        "patient": ct.header.patient_id or study.study_id,
                        "position_mm": ct.header.position_mm,
                        "labels": truth.labels.loc[truth.name_of(found), list(LABELS)],
                        "probabilities": answer,
                        "area": area,
                    }
                )
    if not rows:
        raise InputError("no pixels could be read of any labelled slice; see what is rejected")
    table = pd.DataFrame(rows)
    key = str(scorer.experiment.seed).encode()
    areas = table["area"].to_numpy()
    return (
        Predictions(
            slice_id=table["slice_id"].to_numpy(str),
            study_id=table["study_id"].to_numpy(str),
            patient_key=keyed_hash(table["patient"], key).to_numpy(str),
            position_mm=table["position_mm"].to_numpy(np.float32),
            labels=np.stack(table["labels"].to_list()).astype(np.int64),
            probabilities=np.stack(table["probabilities"].to_list()),
            dense_mm2=None if np.isnan(areas).any() else areas,
        ),
        rejects,
    )


def _dense_areas(scorer: RunScorer, images: np.ndarray, members: list[CTSlice]) -> np.ndarray:
    """What the plain rule sees, NaN where no window shows what it needs."""
    window = window_for_rule(scorer.trained.windows)
    if window is None:
        return np.full(len(members), np.nan)
    reach = scorer.trained.neighbours
    shown = images[..., window * (2 * reach + 1) + reach]
    edges = np.array([x.header.edge_mm for x in members]) / images.shape[1]
    pixel_mm = float(np.nanmedian(edges)) if not np.isnan(edges).all() else None
    return dense_areas(np.ascontiguousarray(shown), scorer.trained.windows[window], pixel_mm)

"""Pages of the studies with the worst errors, of labelled DICOM files."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.studies import ReadSeries, Study, read_series
from ich_keras.evaluation.run_scorer import RunScorer
from ich_keras.evaluation.truth import Truth
from ich_keras.figures.examples import worst_errors
from ich_keras.model.forward import predict_images
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from ich_keras.model.predictions import Predictions
from ich_keras.scores.postprocessing import Postprocessing
from ich_keras.view.html import write_page
from ich_keras.view.study_page import StudyPage, study_page


def write_error_pages(
    scorer: RunScorer,
    name: str,
    predictions: Predictions,
    studies: Sequence[Study],
    truth: Truth,
    network_input: NetworkInput,
    postprocessing: Postprocessing | None,
) -> None:
    """Writes a page of each series with one of the slices that `draw_worst_errors` draws.

    Removes those of an earlier evaluation.
    """
    for old in scorer.run.pages(name):
        old.unlink()
    threshold = scorer.experiment.evaluation.threshold
    labels, probabilities = predictions.labels, predictions.probabilities
    rows, _ = worst_errors(labels, probabilities, predictions.patient_key, threshold)
    wrong = set(predictions.slice_id[rows].tolist())
    chosen = [x for study in studies for x in study.series if _has_any(x.files, wrong)]
    for number, read in enumerate(read_series(chosen, network_input, []), start=1):
        page = _page(scorer, number, read, network_input, postprocessing)
        labelled = replace(page, labels=_true_labels(read, truth))
        write_page(scorer.run.page(name, number), labelled)


def _has_any(files: Sequence, slice_ids: set[str]) -> bool:
    return any(file.slice_id in slice_ids for file in files)


def _page(
    scorer: RunScorer,
    number: int,
    read: ReadSeries,
    network_input: NetworkInput,
    postprocessing: Postprocessing | None,
) -> StudyPage:
    batch_size = scorer.experiment.evaluation.batch_size
    outputs = predict_images(scorer.with_maps, read.images, batch_size)
    return study_page(
        number,
        read,
        network_input,
        outputs[PROBABILITIES],
        outputs[CLASS_MAPS],
        postprocessing,
        smooth=False,
        rejects=[],
        notice=scorer.run.notice,
    )


def _true_labels(read: ReadSeries, truth: Truth) -> np.ndarray:
    """Of each slice, none where it has no labels; or of the study."""
    names = [truth.name_of(file) for file in read.files]
    labels = truth.labels.reindex(names).fillna(0).to_numpy(int)
    return labels[:1] if truth.unit == "study" else labels

"""Slices of a split, chosen, scored and drawn."""

from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.data.batches import read_images
from ich_keras.data.shards import ShardSet
from ich_keras.figures.class_grid import choose_grid_slices, class_grid_figure
from ich_keras.figures.curves import class_map_overlay
from ich_keras.model.forward import Forward
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from ich_keras.model.predictions import Predictions
from tfrecords_tools.classes import ANY, LABELS, SUBTYPES

EXAMPLES_A_KIND = 2  # on the sheet of class maps, beside as many slices without bleeding
WORST = 6  # errors of each type on the sheet of errors


def split_index(shards: ShardSet, split: str) -> pd.DataFrame:
    """The rows of `index.csv` that belong to a split, a slice each, in a fixed order."""
    index = shards.index()
    return index[index["split"] == split].sort_values("slice_id").reset_index(drop=True)


def draw_class_grid(forward: Forward, shards: ShardSet, split: str, step: int) -> Figure:
    """The class grid of the write-up, for slices of a split that are always the same.

    Args:
        forward: the network.
        shards: the slices.
        split: of the shards.
        step: that the network has come to.
    """
    index = split_index(shards, split)
    labels = index[list(LABELS)].to_numpy(int)
    choice = choose_grid_slices(labels, index["patient_key"].to_numpy())
    chosen = choice[choice >= 0]
    images = read_images(shards, split, index["slice_id"].to_numpy()[chosen])
    probabilities = forward(images).numpy()
    shown = images[..., [shards.input.shown_channel]]
    return class_grid_figure(shown, labels[chosen], probabilities, choice >= 0, step=step)


def draw_class_maps(model: keras.Model, shards: ShardSet, split: str) -> Figure:
    """A sheet of slices with each kind of bleeding, and without any, under their class maps.

    Args:
        model: from `with_class_maps`.
        shards: the slices.
        split: of the shards.
    """
    index = split_index(shards, split)
    labels = index[list(LABELS)].to_numpy(int)
    chosen = _examples(labels)
    images = read_images(shards, split, index["slice_id"].to_numpy()[chosen])
    shown = images[..., [shards.input.shown_channel]]
    return class_map_overlay(shown, *_answers(model, images), labels[chosen])


def draw_errors(
    model: keras.Model,
    predictions: Predictions,
    threshold: float,
    read: Callable[[list[str]], np.ndarray],
    shown_channel: int,
) -> Figure | None:
    """The worst errors under their class maps; None if there are none.

    Args:
        model: from `with_class_maps`.
        predictions: of the slices.
        threshold: probability at or above which a label counts as predicted.
        read: gives the network input of slices by their ids, uint8 (N, size, size, channels).
        shown_channel: of that input.
    """
    places, titles = worst_errors(
        predictions.labels, predictions.probabilities, predictions.patient_key, threshold
    )
    if not places:
        return None
    images = read(predictions.slice_id[places].tolist())
    shown = images[..., [shown_channel]]
    return class_map_overlay(shown, *_answers(model, images), predictions.labels[places], titles)


def _answers(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class maps and probabilities."""
    answer = model(images, training=False)
    return answer[CLASS_MAPS].numpy(), answer[PROBABILITIES].numpy()


def worst_errors(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, threshold: float
) -> tuple[list[int], list[str]]:
    """The slices that were judged most wrongly, of each type at most one a patient.

    Args:
        labels: int (N, 6), 0 or 1.
        probabilities: float (N, 6), 0..1.
        patients: (N,), whose slice each is.
        threshold: from which probability on a label is said to be there.

    Returns:
        Places of slices, and what is wrong with each: bleedings missed altogether, false alarms,
        and of each kind the one that was missed by most.
    """
    truth, said = labels == 1, probabilities >= threshold
    missed, alarms = truth & ~said, ~truth & said
    surest, least = probabilities[:, ANY], -probabilities[:, ANY]
    found = [(i, "missed") for i in _worst(missed[:, ANY], least, patients, WORST)]
    found += [(i, "false alarm") for i in _worst(alarms[:, ANY], surest, patients, WORST)]
    for k, label in enumerate(SUBTYPES):
        for i in _worst(missed[:, k], -probabilities[:, k], patients, 1):
            found.append((i, f"missed {label} {probabilities[i, k]:.2f}"))
    return [place for place, _ in found], [title for _, title in found]


def _worst(wrong: np.ndarray, badness: np.ndarray, patients: np.ndarray, count: int) -> list[int]:
    """Places of the worst of the wrong ones, the worst first, at most one a patient."""
    candidates = np.flatnonzero(wrong)
    by_badness = candidates[np.argsort(-badness[candidates], kind="stable")]
    _, first = np.unique(patients[by_badness], return_index=True)
    return by_badness[np.sort(first)][:count].tolist()


def _examples(labels: np.ndarray) -> np.ndarray:
    """Places of the first slices with fewest companions of each kind, and of healthy ones."""
    companions = labels.sum(axis=1)
    chosen: list[int] = []
    for k in range(len(SUBTYPES)):
        bearing = np.flatnonzero(labels[:, k])
        alone_first = bearing[np.argsort(companions[bearing], kind="stable")]
        chosen += [int(i) for i in alone_first if i not in chosen][:EXAMPLES_A_KIND]
    healthy = np.flatnonzero(companions == 0)
    count = min(EXAMPLES_A_KIND, len(healthy))
    spread = healthy[np.linspace(0, len(healthy) - 1, count).astype(int)]
    return np.array([*chosen, *spread], int)

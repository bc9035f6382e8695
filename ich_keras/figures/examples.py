"""Slices of a split that are drawn as examples: the class grid, class maps and the worst errors."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.data.batches import read_images
from ich_keras.data.shards import ShardSet
from ich_keras.figures.class_grid import GridSlices, choose_grid_slices, class_grid_figure
from ich_keras.figures.class_maps import class_map_sheet
from ich_keras.model.forward import Forward
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES
from ich_keras.model.predictions import Predictions
from tfrecords_tools.classes import ANY, LABELS, SUBTYPES, known_labels

EXAMPLES_PER_SUBTYPE = 2  # on the sheet of class maps, and as many slices without hemorrhage
WORST = 6  # errors of each type on the sheet of errors


def split_index(shards: ShardSet, split: str) -> pd.DataFrame:
    """The rows of `index.csv` of a split, one per slice, sorted by slice."""
    index = shards.index()
    return index[index["split"] == split].sort_values("slice_id").reset_index(drop=True)


def draw_class_grid(forward: Forward, shards: ShardSet, split: str, step: int) -> Figure:
    """The class grid of a split, whose slices are the same at every step of the training."""
    index = split_index(shards, split)
    labels = index[list(LABELS)].to_numpy(int)
    choice = choose_grid_slices(labels, index["patient_key"].to_numpy())
    chosen = choice[choice >= 0]
    images = read_images(shards, index["slice_id"].to_numpy()[chosen])
    probabilities = forward(images).numpy()
    shown = images[..., shards.input.shown_channel]
    slices = GridSlices(shown, labels[chosen], probabilities, filled=choice >= 0)
    return class_grid_figure(slices, step=step)


def draw_class_maps(with_maps: Forward, shards: ShardSet, split: str) -> Figure:
    """Slices with each subtype, and without; `with_maps` has the outputs of `with_class_maps`."""
    index = split_index(shards, split)
    labels = index[list(LABELS)].to_numpy(int)
    chosen = _examples(labels)
    images = read_images(shards, index["slice_id"].to_numpy()[chosen])
    shown = images[..., shards.input.shown_channel]
    return class_map_sheet(shown, *_predict(with_maps, images), labels[chosen])


def draw_errors(
    with_maps: Forward,
    predictions: Predictions,
    threshold: float,
    read: Callable[[list[str]], np.ndarray],
    shown_channel: int,
) -> Figure | None:
    """The worst errors under their class maps; None if there are none.

    `with_maps` has the outputs of `with_class_maps`. `read` returns the network input of slices by
    their ids, uint8 (N, size, size, channels), of which `shown_channel` is shown.
    """
    rows, titles = worst_errors(
        predictions.labels, predictions.probabilities, predictions.patient_key, threshold
    )
    if not rows:
        return None
    images = read(predictions.slice_id[rows].tolist())
    shown = images[..., shown_channel]
    return class_map_sheet(shown, *_predict(with_maps, images), predictions.labels[rows], titles)


def _predict(with_maps: Forward, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class maps and probabilities."""
    outputs = with_maps(images)
    return outputs[CLASS_MAPS].numpy(), outputs[PROBABILITIES].numpy()


def worst_errors(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, threshold: float
) -> tuple[list[int], list[str]]:
    """The slices with the worst errors, of each type at most one per patient.

    `labels` and `probabilities` have shape (N, 6), or the labels (N, 1) of `any` alone; a label is
    predicted where its probability is at least the threshold. Returns rows of slices, and the error
    of each: slices whose hemorrhage was missed, false alarms, and for each subtype that is known
    the missed slice with the lowest probability.
    """
    names = known_labels(labels.shape[1])
    truth, predicted = labels == 1, probabilities[:, -len(names) :] >= threshold
    missed, alarms = truth & ~predicted, ~truth & predicted
    highest, lowest = probabilities[:, ANY], -probabilities[:, ANY]
    errors = [(i, "missed") for i in _worst(missed[:, -1], lowest, patients, WORST)]
    errors += [(i, "false alarm") for i in _worst(alarms[:, -1], highest, patients, WORST)]
    for k, label in enumerate(names[:-1]):
        for i in _worst(missed[:, k], -probabilities[:, k], patients, 1):
            errors.append((i, f"missed {label} {probabilities[i, k]:.2f}"))
    return [row for row, _ in errors], [title for _, title in errors]


def _worst(wrong: np.ndarray, badness: np.ndarray, patients: np.ndarray, count: int) -> list[int]:
    """Rows of the worst errors, the worst first, at most one per patient."""
    candidates = np.flatnonzero(wrong)
    by_badness = candidates[np.argsort(-badness[candidates], kind="stable")]
    _, first = np.unique(patients[by_badness], return_index=True)
    return by_badness[np.sort(first)][:count].tolist()


def _examples(labels: np.ndarray) -> np.ndarray:
    """Rows of slices of each subtype with the fewest other labels, and of slices without any."""
    count_of_labels = labels.sum(axis=1)
    chosen: list[int] = []
    for k in range(len(SUBTYPES)):
        positive = np.flatnonzero(labels[:, k])
        fewest_first = positive[np.argsort(count_of_labels[positive], kind="stable")]
        chosen += [int(i) for i in fewest_first if i not in chosen][:EXAMPLES_PER_SUBTYPE]
    healthy = np.flatnonzero(count_of_labels == 0)
    count = min(EXAMPLES_PER_SUBTYPE, len(healthy))
    spread = healthy[np.linspace(0, len(healthy) - 1, count).astype(int)]
    return np.array([*chosen, *spread], int)

"""Slices of a split, chosen, scored and drawn."""

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ich_keras.class_grid import choose_grid_slices, class_grid_figure
from ich_keras.dataset import ShardSet
from ich_keras.figures import class_map_overlay
from ich_keras.model import CLASS_MAPS, PROBABILITIES
from ich_keras.scoring import Forward, read_images
from tfrecords_tools.bleedings import BLEEDINGS, LABELS

EXAMPLES_A_KIND = 2  # on the sheet of class maps, beside as many slices without bleeding


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
    shown = images[..., [shards.shown_channel]]
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
    answer = model.predict(images, verbose=0)
    shown = images[..., [shards.shown_channel]]
    return class_map_overlay(shown, answer[CLASS_MAPS], labels[chosen], answer[PROBABILITIES])


def _examples(labels: np.ndarray) -> np.ndarray:
    """Places of the first slices with fewest companions of each kind, and of healthy ones."""
    companions = labels.sum(axis=1)
    chosen: list[int] = []
    for k in range(len(BLEEDINGS)):
        bearing = np.flatnonzero(labels[:, k])
        alone_first = bearing[np.argsort(companions[bearing], kind="stable")]
        chosen += [int(i) for i in alone_first if i not in chosen][:EXAMPLES_A_KIND]
    healthy = np.flatnonzero(companions == 0)
    count = min(EXAMPLES_A_KIND, len(healthy))
    spread = healthy[np.linspace(0, len(healthy) - 1, count).astype(int)]
    return np.array([*chosen, *spread], int)

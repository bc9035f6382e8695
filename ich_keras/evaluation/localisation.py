"""How often a class map is highest at the hemorrhage, measured with true masks.

The network is trained with labels of whole slices, never with outlines. Whether its maps point at
the hemorrhage is therefore a separate question, which phantoms can answer.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ich_keras.data.batches import iterate_images
from ich_keras.data.shards import DatasetError, ShardSet
from ich_keras.model.forward import Forward
from ich_keras.model.network import CLASS_MAPS
from ich_keras.scores.bootstrap import estimate
from ich_keras.scores.cases import Cases
from ich_keras.scores.ranking import ratio
from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.masks import read_mask
from tfrecords_tools.windows import pad_square

CHUNK = 256  # slices in memory at a time


def localise(
    with_maps: Forward,
    shards: ShardSet,
    slice_ids: np.ndarray,
    cases: Cases,
    masks: Path,
    threshold: float,
) -> dict[str, Any]:
    """How often the highest cell of a class map is on the hemorrhage, over all true positives.

    A cell is on the hemorrhage if its centre is at most the edge of one cell (the stride of the
    network) away from the mask. `with_maps` has the outputs of `with_class_maps`; `slice_ids`,
    (N,), are in the order of `cases`. `masks` holds `<slice_id>.png`, bit k set where label k is,
    as `synth` writes them.

    Returns, by subtype and for `all`: `true_positives`, `hits` as an estimate of the share of them,
    and `chance`, the mean share of the cells of the head that would be hits.
    """
    predicted = cases.probabilities[:, : len(SUBTYPES)] >= threshold
    detected = predicted & (cases.labels[:, : len(SUBTYPES)] == 1)
    hits, chance = _find_hits(with_maps, shards, slice_ids, detected, masks)
    columns = {name: [k] for k, name in enumerate(SUBTYPES)} | {"all": list(range(len(SUBTYPES)))}
    return {
        name: {
            "true_positives": int(detected[:, chosen].sum()),
            "hits": estimate(
                ratio(
                    cases.resampling.counts(hits[:, chosen]).sum(axis=1),
                    cases.resampling.counts(detected[:, chosen]).sum(axis=1),
                )
            ),
            "chance": _mean(chance[:, chosen][detected[:, chosen]]),
        }
        for name, chosen in columns.items()
    }


def _find_hits(
    with_maps: Forward,
    shards: ShardSet,
    slice_ids: np.ndarray,
    detected: np.ndarray,
    masks: Path,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each detected subtype is hit, bool (N, 5), and the share of cells that would be."""
    hits, chance = np.zeros(detected.shape, bool), np.zeros(detected.shape)
    row_of = {slice_ids[row]: row for row in np.flatnonzero(detected.any(axis=1))}
    slices = iterate_images(shards, list(row_of))
    while chunk := list(islice(slices, CHUNK)):
        names, images = zip(*chunk, strict=True)
        maps = with_maps(np.stack(images))[CLASS_MAPS].numpy()
        for name, image, cells in zip(names, images, maps, strict=True):
            row = row_of[name]
            mask = _read_mask(masks / f"{name}.png")
            head = _shrink(image[..., shards.input.shown_channel] > 0, cells.shape[:2])
            for k in np.flatnonzero(detected[row]):
                near = _near(mask >> k & 1, cells.shape[:2])
                hits[row, k] = near.flat[cells[..., k].argmax()]
                chance[row, k] = near[head].mean() if head.any() else near.mean()
    return hits, chance


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _read_mask(path: Path) -> np.ndarray:
    """uint8, square."""
    if not path.is_file():
        raise DatasetError(f"{path}: no such mask; give the folder with the masks of these slices")
    return pad_square(read_mask(path), fill=0).astype(np.uint8)


def _shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The cells that contain any of a mask; bool, of that shape."""
    size = shape[::-1]
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0


def _near(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The cells whose centre is at most the edge of one cell from the mask; bool, of that shape."""
    edge = mask.shape[0] / shape[0]
    distance = cv2.distanceTransform(
        (mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    rows, columns = (((np.arange(n) + 0.5) * edge).astype(int) for n in shape)
    return distance[np.ix_(rows, columns)] <= edge

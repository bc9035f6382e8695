"""What the page of a study shows, as plain data."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.series import GAP
from ich_keras.data.sources import Reject
from ich_keras.data.studies import ReadSeries
from ich_keras.scores.postprocessing import Postprocessing, Thresholds, answer_thresholds
from ich_keras.scores.smoothing import smooth_series
from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dicom.orientation import View, usual_view
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.masks import kinds_in, read_mask, resample_mask
from tfrecords_tools.windows import AIR, pad_square, resize_area

MAX_BYTES = 40_000_000  # of an array of the page before compression; 76 slices of 512 pixels


@dataclass(frozen=True)
class Plane:
    """How slices, and the square that class maps cover, lie to each other, in square pixels."""

    height: int  # of a slice
    width: int
    left: int  # columns of the square that lie left of the slice; the same number lies right
    top: int
    edge: int  # of the square
    pixel_mm: float | None  # edge of such a pixel; None if unknown


@dataclass(frozen=True, eq=False)
class StudyPage:
    """The judged series of a study, with its answer; the slices are along the normal, from below.

    Names, dates and identifiers of files are no part of it.
    """

    number: int  # of the study, from 1
    hu: np.ndarray  # int16 (N, rows, columns), in the usual view
    plane: Plane
    placed: bool  # whether positions and orientation are known
    position_mm: np.ndarray  # (N,), NaN where unknown
    network: np.ndarray  # uint8 (N, size, size, windows): the slices as the network sees them
    network_windows: tuple[str, ...]  # their names; fewer than the network has if too large
    maps: np.ndarray  # uint8 (N, height, width, 5): 255 times the class maps of the five kinds
    raw: np.ndarray  # probabilities, float64 (N, 6)
    smoothed: np.ndarray | None  # the same; None if no smoothing was fitted
    thresholds: dict[str, Thresholds] | None  # of `raw` and `smoothed`, by rule and label
    shows_smoothed: bool  # whether the page opens with smoothed probabilities
    remarks: Sequence[str]
    rejects: dict[str, int]  # number of files by reason
    notice: str  # of the network
    # true labels, 0 or 1, (N, 6), or (1, 6) of the study; with one column of `any` alone
    labels: np.ndarray | None = None
    own_threshold: float | None = None  # of `any`, given instead of the fitted one
    masks: np.ndarray | None = None  # uint8 like `hu`; bit k is the mask of kind k

    def gaps(self) -> list[int]:
        """The slices after which others seem to be missing, by the rule of `SeriesFacts`."""
        distances = np.diff(self.position_mm)
        beside = np.maximum(distances[:-2], distances[2:])
        return (np.flatnonzero(distances[1:-1] > GAP * beside) + 1).tolist()


def study_page(
    number: int,
    series: ReadSeries,
    network_input: NetworkInput,
    raw: np.ndarray,
    maps: np.ndarray,
    postprocessing: Postprocessing | None,
    *,
    smooth: bool,
    rejects: Sequence[Reject],
    notice: str,
    masks: dict[str, Path] | None = None,
    own_threshold: float | None = None,
) -> StudyPage:
    """The page of a series.

    `raw` are its probabilities, (N, 6), not smoothed; `maps` its class maps in 0..1, (N, height,
    width, 6). `masks` are the files of true masks (`tfrecords_tools.masks`) by slice id.
    """
    edge = _edge(series.slices, network_input.size)
    hu = [_shown(ct.hu, usual_view(ct.header), edge) for ct in series.slices]
    true_masks, labels = (None, None) if masks is None else _true_masks(series, masks, edge)
    raw = raw.astype(np.float64)
    seen = _seen_by_the_network(series.images, network_input)
    return StudyPage(
        number=number,
        hu=np.rint(hu).astype(np.int16),  # MIN_HU and MAX_HU are within its range
        plane=_plane_of(series.slices, edge),
        placed=all(ct.header.placed for ct in series.slices),
        position_mm=series.position_mm,
        network=seen,
        network_windows=tuple(x.name for x in network_input.windows[: seen.shape[-1]]),
        maps=np.rint(255 * maps[..., : len(SUBTYPES)]).astype(np.uint8),
        raw=raw,
        smoothed=_smoothed(raw, series.position_mm, postprocessing),
        thresholds=_thresholds(postprocessing),
        shows_smoothed=smooth,
        remarks=series.remarks(),
        rejects=dict(Counter(x["reason"] for x in rejects).most_common()),
        notice=notice,
        labels=labels,
        own_threshold=own_threshold,
        masks=true_masks,
    )


def _edge(slices: Sequence[CTSlice], size: int) -> int | None:
    """The edge of the squares to average slices to; None if they are shown as they are.

    That is where they are alike and few enough. The squares are as large as MAX_BYTES allows, but
    at least `size`: those of the network may be too coarse for a reader, and 600 slices still have
    182 pixels.
    """
    shapes = [ct.hu.shape for ct in slices]
    alike = len({(shape, usual_view(x.header)) for shape, x in zip(shapes, slices, strict=True)})
    if alike == 1 and 2 * len(slices) * slices[0].hu.size <= MAX_BYTES:
        return None
    largest = math.isqrt(MAX_BYTES // (2 * len(slices)))
    return max(size, min(largest, *(max(shape) for shape in shapes)))


def _shown(pixels: np.ndarray, view: View, edge: int | None, fill: float = AIR) -> np.ndarray:
    """A slice as it is shown, or the share of each pixel in a mask, with `fill` 0."""
    if edge is None:
        return view.turn.apply(pixels)
    return resize_area(pad_square(view.apply(pixels), fill), edge)


def _plane_of(slices: Sequence[CTSlice], edge: int | None) -> Plane:
    if edge is None:
        return _plane(slices[0], usual_view(slices[0].header))
    millimetres = {ct.header.edge_mm / edge for ct in slices}
    pixel_mm = millimetres.pop() if len(millimetres) == 1 else math.nan
    return Plane(edge, edge, 0, 0, edge, pixel_mm if math.isfinite(pixel_mm) else None)


def _true_masks(
    series: ReadSeries, masks: dict[str, Path], edge: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Masks as they are shown, and labels (N, 6); empty where a slice has no mask.

    Raises:
        InputError: if a file holds no mask, or that of a slice of another size.
    """
    shown, labels = [], []
    for file, ct in zip(series.files, series.slices, strict=True):
        path = masks.get(file.slice_id)
        mask = np.zeros(ct.hu.shape, np.uint8) if path is None else read_mask(path)
        if mask.shape != ct.hu.shape:
            raise InputError(f"{path}: a mask of {mask.shape} pixels, the slice has {ct.hu.shape}")
        resample = partial(_shown, view=usual_view(ct.header), edge=edge, fill=0.0)
        shown.append(resample_mask(mask, resample))
        labels.append([*kinds_in(mask), int(mask.any())])
    return np.stack(shown), np.array(labels)


def _plane(ct: CTSlice, view: View) -> Plane:
    """The plane of a slice that is shown as it is, whose pixels may not be square."""
    rows, columns = view.turn.apply(ct.hu).shape
    if view.square is not None:
        rows, columns = view.square[::-1] if view.turn.swapped else view.square
    edge = max(rows, columns)
    millimetres = ct.header.edge_mm / edge
    pixel_mm = millimetres if math.isfinite(millimetres) else None
    return Plane(rows, columns, (edge - columns) // 2, (edge - rows) // 2, edge, pixel_mm)


def _seen_by_the_network(images: np.ndarray, network_input: NetworkInput) -> np.ndarray:
    """The slices themselves, without neighbours, in as many windows as MAX_BYTES allows."""
    count = min(len(network_input.windows), MAX_BYTES // images[..., 0].size)
    return images[..., [network_input.channel_of(k) for k in range(count)]]


def _smoothed(
    raw: np.ndarray, position_mm: np.ndarray, postprocessing: Postprocessing | None
) -> np.ndarray | None:
    if postprocessing is None:
        return None
    return smooth_series(raw, np.zeros(len(raw)), position_mm, postprocessing.smoothing)


def _thresholds(postprocessing: Postprocessing | None) -> dict[str, Any] | None:
    if postprocessing is None:
        return None
    levels = {"raw": "study", "smoothed": "study_smoothed"}
    rules = {name: postprocessing.thresholds[level] for name, level in levels.items()}
    return {
        name: {"answer": answer_thresholds(x), "youden": x["youden"]} for name, x in rules.items()
    }

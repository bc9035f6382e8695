"""What the page of a study shows, as plain data."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.series import GAP
from ich_keras.data.sources import Reject
from ich_keras.data.studies import ReadSeries
from ich_keras.scores.postprocessing import Postprocessing, Thresholds
from ich_keras.scores.smoothing import smooth_series
from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dicom.orientation import View, usual_view
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.windows import pad_square, resize_area

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
    labels: np.ndarray | None = None  # true labels, 0 or 1 (N, 6)
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
) -> StudyPage:
    """The page of a series.

    `raw` are its probabilities, (N, 6), not smoothed; `maps` its class maps in 0..1, (N, height,
    width, 6).
    """
    hu, plane = _shown_slices(series.slices, network_input.size)
    raw = raw.astype(np.float64)
    seen = _seen_by_the_network(series.images, network_input)
    return StudyPage(
        number=number,
        hu=hu,
        plane=plane,
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
    )


def _shown_slices(slices: Sequence[CTSlice], size: int) -> tuple[np.ndarray, Plane]:
    """The slices as they are if they are alike and few enough, otherwise averaged to squares.

    The squares are as large as MAX_BYTES allows, but at least `size`: those of the network may be
    too coarse for a reader, and 600 slices still have 182 pixels.
    """
    views = [usual_view(ct.header) for ct in slices]
    turned = [view.turn.apply(ct.hu) for view, ct in zip(views, slices, strict=True)]
    alike = len({(x.shape, view) for x, view in zip(turned, views, strict=True)}) == 1
    if alike and 2 * len(turned) * turned[0].size <= MAX_BYTES:
        return _whole_hu(np.stack(turned)), _plane(slices[0], turned[0].shape, views[0])
    squares = [pad_square(view.apply(ct.hu)) for view, ct in zip(views, slices, strict=True)]
    largest = max(size, math.isqrt(MAX_BYTES // (2 * len(slices))))
    edge = min(largest, *(len(x) for x in squares)) if largest > size else size
    small = np.stack([resize_area(x, edge) for x in squares])
    millimetres = np.array([ct.header.edge_mm for ct in slices]) / edge
    known = len(set(millimetres.tolist())) == 1
    pixel_mm = float(millimetres[0]) if known else None
    return _whole_hu(small), Plane(edge, edge, 0, 0, edge, pixel_mm)


def _plane(ct: CTSlice, shape: tuple[int, ...], view: View) -> Plane:
    """The plane of a slice that was turned, to a shape, and whose pixels may not be square."""
    rows, columns = shape
    if view.square is not None:
        rows, columns = view.square[::-1] if view.turn.swapped else view.square
    edge = max(rows, columns)
    millimetres = ct.header.edge_mm / edge
    pixel_mm = millimetres if math.isfinite(millimetres) else None
    return Plane(rows, columns, (edge - columns) // 2, (edge - rows) // 2, edge, pixel_mm)


def _whole_hu(hu: np.ndarray) -> np.ndarray:
    return np.rint(hu).astype(np.int16)  # MIN_HU and MAX_HU are within its range


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
    levels = postprocessing.thresholds
    return {"raw": levels["study"], "smoothed": levels["study_smoothed"]}

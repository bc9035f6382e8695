"""The series of a study: which one is judged, and what is doubtful about each.

A study holds the same head several times: with soft and sharp kernels, before and after a contrast
agent, as reformats and projections. Only some of them look like what a network was trained on, and
any other can make a healthy head alarm. So one series is judged for the study; each has its row.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.dicom.header import SliceHeader
from tfrecords_tools.dicom.orientation import NO_TURN, is_square, turn_of

SHARP = re.compile(r"bone|edge|sharp|lung|detail|^[bhj][a-z]?(5[5-9]|[6-9]\d)", re.IGNORECASE)
"""Sharp kernels, which are noisy: by name, or Siemens' numbers from 55."""
PROJECTION = re.compile(r"\bM(AX|IN)?_?IP\b|MINIP|PROJECTION|\bVRT?\b|3D", re.IGNORECASE)
"""Values of Image Type of pixels that are no HU of a slice, such as the highest along a ray."""
HEAD = re.compile(r"HEAD|BRAIN|SKULL|NEURO|CRAN|KOPF|TETE", re.IGNORECASE)
MIN_SLICES = 10  # of a series through a head
MAX_FIELD_MM = 350.0  # of a slice, and of a series along its normal; a head is smaller
MIN_FIELD_MM = 120.0  # of a slice; that of a single ear is smaller, that of an infant's head larger
USUAL_SPACING_MM = 5.0  # of the training data, and of CQ500's thick series
GAP = 1.5  # times both of the distances beside it
TIE_MM = 0.01


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of a series say."""

    slices: int
    spacing_mm: float  # median distance of neighbouring slices along the normal; NaN if unknown
    kernel: str = ""  # Convolution Kernel
    contrast: bool = False  # whether a contrast agent was given
    projection: bool = False  # whether its pixels are the highest or lowest along a ray
    other_body_part: str = ""  # Body Part Examined, if it is no head
    placed: bool = True  # whether positions are known in mm
    missing: int = 0  # distances that are larger than those beside them
    doubled: int = 0  # slices at the position of another one
    large: bool = False  # too large for a head
    small: bool = False  # too small for a head
    turned: bool = False  # whether slices are stored in another orientation than the usual
    resampled: bool = False  # whether pixels are not square

    def remarks(self) -> list[str]:
        """What a reader of the answer should know, in a few words each."""
        said = {
            "contrast agent": self.contrast,
            f"sharp kernel {self.kernel}": self.is_sharp,
            "projection": self.projection,
            f"body part {self.other_body_part}": bool(self.other_body_part),
            f"fewer than {MIN_SLICES} slices": self.slices < MIN_SLICES,
            "larger than a head": self.large,
            "smaller than a head": self.small,
            "positions unknown": not self.placed,
            f"gaps between slices: {self.missing}": self.missing > 0,
            f"slices at the position of another: {self.doubled}": self.doubled > 0,
            "turned to the usual view": self.turned,
            "pixels made square": self.resampled,
        }
        return [remark for remark, true in said.items() if true]

    @property
    def is_sharp(self) -> bool:
        return SHARP.search(self.kernel) is not None


def series_facts(headers: Sequence[SliceHeader]) -> SeriesFacts:
    """The facts of a series, whose slices are along the normal."""
    first, placed = headers[0], all(x.placed for x in headers)
    positions = np.array([x.position_mm for x in headers])
    distances = np.diff(positions) if placed else np.empty(0)
    apart = distances[distances > TIE_MM]
    edges = [x.edge_mm for x in headers if np.isfinite(x.edge_mm)]
    large = max(edges, default=0.0) > MAX_FIELD_MM
    return SeriesFacts(
        slices=len(headers),
        spacing_mm=float(np.median(apart)) if len(apart) else float("nan"),
        kernel=first.kernel,
        contrast=first.contrast,
        projection=any(PROJECTION.search(x) for x in first.image_type),
        other_body_part="" if HEAD.search(first.body_part) else first.body_part,
        placed=placed,
        missing=_gaps(apart),
        doubled=len(distances) - len(apart),
        large=bool(large or (placed and np.ptp(positions) > MAX_FIELD_MM)),
        small=max(edges, default=MIN_FIELD_MM) < MIN_FIELD_MM,
        turned=any(turn_of(x) != NO_TURN for x in headers),
        resampled=not all(map(is_square, headers)),
    )


def ranked_series(series: Sequence[SeriesFacts]) -> list[int]:
    """The indices of the series, the one to judge first."""
    left, ranked = list(range(len(series))), []
    while left:
        ranked.append(_first_of(series, left))
        left.remove(ranked[-1])
    return ranked


def _first_of(series: Sequence[SeriesFacts], candidates: list[int]) -> int:
    """Of a head, without contrast, soft, as thick as usual; a rule must leave a series."""
    for rule in (
        lambda x: not x.projection,
        lambda x: not (x.other_body_part or x.large or x.small),
        lambda x: not x.contrast,
        lambda x: x.slices >= MIN_SLICES,
        lambda x: not x.is_sharp,
        lambda x: x.placed,
    ):
        candidates = [i for i in candidates if rule(series[i])] or candidates
    return min(candidates, key=lambda i: _preference(series[i]))


def _preference(series: SeriesFacts) -> tuple[float, int, str]:
    difference = abs(series.spacing_mm - USUAL_SPACING_MM)
    distance = difference if np.isfinite(difference) else np.inf
    return distance, -series.slices, repr(series)  # the last so that their order does not matter


def _gaps(distances: np.ndarray) -> int:
    """Distances much larger than both of their neighbours; a change of thickness is none."""
    if len(distances) < 3:
        return 0
    beside = np.maximum(distances[:-2], distances[2:])
    return int((distances[1:-1] > GAP * beside).sum())

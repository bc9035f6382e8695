"""Slices of a head in memory: as arrays, without any file, or read from the files of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich_keras.data.given import check_exist, nothing_usable
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.series import series_facts
from ich_keras.data.slice_file import SliceFile
from ich_keras.data.sources import REJECT_COLUMNS, Reject
from ich_keras.data.studies import ReadSeries, Series, find_studies, seen_series
from tfrecords_tools.dicom.header import (
    MAX_COSINE_ERROR,
    MAX_EDGE,
    MIN_AXIAL_COSINE,
    MIN_EDGE,
    SliceHeader,
)
from tfrecords_tools.dicom.reader import CTSlice
from tfrecords_tools.dicom.rescale import MAX_HU, MIN_HU
from tfrecords_tools.errors import UsageError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the patient's right on the left, the nose above
SAME_SPACING_MM = 1e-3


@dataclass(frozen=True, eq=False)
class HeadCT:
    """Slices of one series, of one size and orientation, from the lowest to the highest.

    Raises UsageError if shapes do not fit each other, or if values cannot be HU.
    """

    hu: np.ndarray  # HU, (S, rows, columns); kept as float32
    position_mm: np.ndarray | None  # (S,), along the slice normal, not falling; None if unknown
    spacing_mm: tuple[float, float] | None  # between rows, and between columns; None if unknown
    orientation: tuple[float, ...] = AXIAL  # cosines, as in Image Orientation (Patient)
    corner_mm: np.ndarray | None = None  # (S, 3), Image Position (Patient); None if unknown
    slice_ids: tuple[str, ...] = ()  # by default numbers from 1
    study_id: str = ""
    series_id: str = ""

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # of a frozen instance
        set_field(self, "hu", _checked_hu(self.hu))
        count = len(self.hu)
        if self.position_mm is not None:
            set_field(self, "position_mm", _checked_positions(self.position_mm, count))
        set_field(self, "spacing_mm", _checked_spacing(self.spacing_mm))
        set_field(self, "orientation", _checked_orientation(self.orientation))
        if self.corner_mm is not None:
            set_field(self, "corner_mm", _numbers("corner_mm", self.corner_mm, (count, 3)))
        ids = tuple(map(str, self.slice_ids or range(1, count + 1)))
        if len(ids) != count:
            raise UsageError(f"slice_ids: {len(ids)} for {count} slices; give one per slice")
        set_field(self, "slice_ids", ids)

    def seen(self, network_input: NetworkInput) -> ReadSeries:
        """The series as a network sees it; UsageError if the values are certainly not HU."""
        if self.hu.min() >= 0:
            raise UsageError(
                f"hu: values from {self.hu.min():g} to {self.hu.max():g} are no HU of a head,"
                " around which is air at -1000; apply Rescale Slope and Intercept, and no window"
            )
        slices = [CTSlice(self._header(i), hu) for i, hu in enumerate(self.hu)]
        return seen_series(slices, series_facts([x.header for x in slices]), network_input)

    def _header(self, i: int) -> SliceHeader:
        height = float(i if self.position_mm is None else self.position_mm[i])
        corner = _normal(self.orientation) * height if self.corner_mm is None else self.corner_mm[i]
        return SliceHeader(
            slice_id=self.slice_ids[i],
            patient_id="",
            study_id=self.study_id,
            series_id=self.series_id,
            rows=self.hu.shape[1],
            columns=self.hu.shape[2],
            position=tuple(corner.tolist()),
            orientation=self.orientation,
            position_mm=height,
            pixel_spacing=self.spacing_mm,
            placed=self.position_mm is not None,
        )


@dataclass(frozen=True, eq=False)
class ReadStudy:
    """What could be read of a study, and what could not."""

    series: tuple[HeadCT, ...]  # the one that `predict` judges first
    rejects: pd.DataFrame  # one row per rejected file: path, reason, detail


def read_study(paths: str | Path | Sequence[str | Path]) -> ReadStudy:
    """Reads the slices of one study in HU from DICOM files, folders or zip archives.

    A series whose slices differ in size, spacing or orientation gives one HeadCT for each of them.

    Raises:
        UsageError: if a path does not exist, or the files belong to several studies.
        InputError: if no file can be used.
    """
    given = [Path(x) for x in ([paths] if isinstance(paths, str | Path) else paths)]
    check_exist(given)
    studies, rejects = find_studies(given)
    if len(studies) > 1:
        names = ", ".join(map(str, given))
        raise UsageError(f"{names}: holds {len(studies)} studies; give the files of one")
    heads = [head for x in studies for series in x.series for head in _heads(series, rejects)]
    if not heads:
        raise nothing_usable("read", given, rejects)
    return ReadStudy(tuple(heads), reject_table(rejects))


def reject_table(rejects: Sequence[Reject]) -> pd.DataFrame:
    return pd.DataFrame(rejects, columns=REJECT_COLUMNS)


def _heads(series: Series, rejects: list[Reject]) -> list[HeadCT]:
    """The slices of a series that could be read, by their geometry."""
    read, unreadable = series.read()
    rejects += unreadable
    alike: list[list[tuple[SliceFile, CTSlice]]] = []
    for one in read:
        for group in alike:
            if _same_geometry(group[0][1].header, one[1].header):
                group.append(one)
                break
        else:
            alike.append([one])
    return [_head(group) for group in alike]


def _head(read: Sequence[tuple[SliceFile, CTSlice]]) -> HeadCT:
    files, slices = zip(*read, strict=True)
    headers = [ct.header for ct in slices]
    placed, first = all(x.placed for x in headers), headers[0]
    return HeadCT(
        hu=np.stack([ct.hu for ct in slices]),
        position_mm=np.array([x.position_mm for x in headers]) if placed else None,
        spacing_mm=_usable(first.pixel_spacing),
        orientation=first.orientation,
        corner_mm=np.array([x.position for x in headers]) if placed else None,
        slice_ids=tuple(file.slice_id for file in files),
        study_id=first.study_id,
        series_id=first.series_id,
    )


def _usable(spacing: tuple[float, ...] | None) -> tuple[float, float] | None:
    """The spacing of a header; files exist in which it is 0."""
    return (spacing[0], spacing[1]) if spacing is not None and min(spacing) > 0 else None


def _same_geometry(one: SliceHeader, other: SliceHeader) -> bool:
    return (
        (one.rows, one.columns) == (other.rows, other.columns)
        and np.allclose(one.orientation, other.orientation, rtol=0, atol=MAX_COSINE_ERROR)
        and (one.pixel_spacing is None) == (other.pixel_spacing is None)
        and np.allclose(
            one.pixel_spacing or 0, other.pixel_spacing or 0, rtol=0, atol=SAME_SPACING_MM
        )
    )


def _checked_hu(given: object) -> np.ndarray:
    hu = _numbers("hu", given, (None, None, None))
    if not len(hu) or min(hu.shape[1:]) < MIN_EDGE or max(hu.shape[1:]) > MAX_EDGE:
        raise UsageError(
            f"hu: shape {hu.shape}; give slices of {MIN_EDGE} to {MAX_EDGE} pixels along each edge"
        )
    if hu.min() < MIN_HU or hu.max() > MAX_HU:
        raise UsageError(
            f"hu: values from {hu.min():g} to {hu.max():g} are no HU; they lie from {MIN_HU:g} to"
            f" {MAX_HU:g}"
        )
    return hu.astype(np.float32, copy=False)


def _checked_positions(given: object, count: int) -> np.ndarray:
    positions = _numbers("position_mm", given, (count,)).astype(np.float64)
    if (np.diff(positions) < 0).any():
        raise UsageError(
            "position_mm: falls; order the slices of hu and position_mm from the lowest to the"
            " highest"
        )
    return positions


def _checked_spacing(given: tuple[float, float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    between_rows, between_columns = _numbers("spacing_mm", given, (2,)).tolist()
    if min(between_rows, between_columns) <= 0:
        raise UsageError(f"spacing_mm: {given}; give two numbers above 0, or None")
    return float(between_rows), float(between_columns)


def _checked_orientation(given: Sequence[float]) -> tuple[float, ...]:
    cosines = _numbers("orientation", given, (6,)).astype(np.float64)
    orientation = tuple(cosines.tolist())
    lengths = np.linalg.norm([cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])], axis=1)
    if np.abs(lengths - 1).max() > MAX_COSINE_ERROR:
        raise UsageError(f"orientation: {given} is not two orthogonal unit vectors")
    if abs(_normal(orientation)[2]) < MIN_AXIAL_COSINE:
        raise UsageError(f"orientation: {given} is not axial; resample to axial slices first")
    return orientation


def _numbers(name: str, given: object, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of finite numbers of that shape; None is any length."""
    array = np.asarray(given)
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iuf":
        wanted = str(shape).replace("None", "any")
        raise UsageError(f"{name}: {array.dtype} {array.shape}; give numbers of shape {wanted}")
    if not np.isfinite(array).all():
        raise UsageError(f"{name}: has values that are not finite")
    return array


def _normal(orientation: Sequence[float]) -> np.ndarray:
    """Along which positions grow, towards the head."""
    normal = np.cross(orientation[:3], orientation[3:])
    return normal * np.copysign(1, normal[2])

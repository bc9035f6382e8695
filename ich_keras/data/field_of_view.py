"""Crops slices whose field of view is larger than networks know to the head in them.

Scans of a whole body have fields of 500 mm. A head in them is half as large as in training, and
its hemorrhages are missed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from ich_keras.data.cross_section import MAX_HEAD_CM2, body_outline, is_larger_than_a_head
from ich_keras.data.series import MAX_FIELD_MM
from tfrecords_tools.dicom.reader import CTSlice

CROPPED_MM = 300.0  # edge of a cropped field; the longest heads have about 230


class _Box(NamedTuple):
    """A part of a slice, in pixels; ends are not part of it."""

    left: int
    top: int
    right: int
    bottom: int


def cropped_to_head(slices: Sequence[CTSlice]) -> tuple[CTSlice, ...]:
    """The slices of a series, cropped alike; as they are if that might cut a head.

    Only fields larger than MAX_FIELD_MM are cropped, and only if the slices are of one geometry and
    show no trunk. A cropped slice is a slice of a smaller field: its header says where it is.
    """
    header, whole = slices[0].header, tuple(slices)
    geometries = {(x.hu.shape, x.header.pixel_spacing, x.header.orientation) for x in slices}
    if not header.edge_mm > MAX_FIELD_MM or len(geometries) > 1 or is_larger_than_a_head(slices):
        return whole
    head = _head(slices)
    if head is None or header.pixel_spacing is None:
        return whole
    height, width = (round(CROPPED_MM / x) for x in header.pixel_spacing)
    if head.right - head.left > width or head.bottom - head.top > height:
        return whole
    left, right = _span(head.left, head.right, width, header.columns)
    top, bottom = _span(head.top, head.bottom, height, header.rows)
    return tuple(_cropped(ct, _Box(left, top, right, bottom)) for ct in slices)


def _head(slices: Sequence[CTSlice]) -> _Box | None:
    """The box around the body in all slices but those with shoulders."""
    boxes = [
        cv2.boundingRect(outline.points)
        for outline in map(body_outline, slices)
        if outline is not None and outline.cm2 <= MAX_HEAD_CM2
    ]
    if not boxes:
        return None
    corners = np.array([(x, y, x + width, y + height) for x, y, width, height in boxes])
    return _Box(*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist())


def _span(begin: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """A span of a length around another one, within 0 and the limit."""
    length = min(length, limit)
    first = min(max((begin + end - length) // 2, 0), limit - length)
    return first, first + length


def _cropped(ct: CTSlice, box: _Box) -> CTSlice:
    header = ct.header
    down, right = np.array(header.pixel_spacing) * (box.top, box.left)
    along_row, along_column = np.reshape(header.orientation, (2, 3))
    position = np.array(header.position) + along_row * right + along_column * down
    cropped = replace(
        header,
        rows=box.bottom - box.top,
        columns=box.right - box.left,
        position=tuple(position.tolist()),
    )
    return CTSlice(cropped, ct.hu[box.top : box.bottom, box.left : box.right])

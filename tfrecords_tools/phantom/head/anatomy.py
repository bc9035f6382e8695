"""A head without hemorrhage in a slice: skull and brain together."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import cv2
import numpy as np

from tfrecords_tools.phantom.head import brain, skull, surfaces
from tfrecords_tools.phantom.head.brain import Brain
from tfrecords_tools.phantom.head.dura import Dura
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import inside, inside_profile, mix
from tfrecords_tools.phantom.head.windows import Window, bounding_window

Part = TypeVar("Part", Brain, Dura)


@dataclass(frozen=True, eq=False)
class Tissue:
    """A slice of a head without hemorrhage.

    Attributes:
        hu: Hounsfield units.
        depth: mm inside the inner table and above the skull base; negative outside.
        table: mm inside the inner table alone.
        inside: 0..1, inside the dura.
        edge: width in mm over which the inner table blurs; see `Points.edge`.
        brain: the content of the dura.
    """

    hu: Array
    depth: Array
    table: Array
    inside: Array
    edge: Array
    brain: Brain


def render(head: Head, points: Points, shifted: Points, squeeze: Array | float) -> Tissue:
    """Renders the head at the pixels of one slice.

    Args:
        head: of the patient.
        points: of the slice, for the skull.
        shifted: the same for the brain, which a mass may have displaced.
        squeeze: 0..1, how far swelling closes the sulci.
    """
    distance = surfaces.distances(head, points)
    hu = skull.render(head, points, distance)
    depth = np.minimum(distance.brain, distance.floor)
    above_floor = inside_profile(distance.floor, distance.floor_edge)
    within = inside(distance.brain, distance.edge) * above_floor
    window = bounding_window(within > 0)
    if isinstance(squeeze, np.ndarray):
        squeeze = squeeze[window]
    content = brain.render(head, shifted.crop(window), depth[window], squeeze)
    mix(hu[window], content.hu, within[window])
    content = _continued(content, window, points.shape)
    return Tissue(hu, depth, distance.brain, within, distance.edge, content)


def _continued(part: Part, window: Window, shape: tuple[int, int]) -> Part:
    """The brain in a window, continued to a whole slice by the pixels at its rim."""
    (top, bottom), (left, right) = (
        (span.start, n - span.stop) for span, n in zip(window, shape, strict=True)
    )
    changes = {}
    for field in fields(part):
        value = getattr(part, field.name)
        changes[field.name] = (
            cv2.copyMakeBorder(value, top, bottom, left, right, cv2.BORDER_REPLICATE)
            if isinstance(value, np.ndarray)
            else _continued(value, window, shape)
        )
    return replace(part, **changes)

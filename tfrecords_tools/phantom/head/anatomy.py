"""A head without hemorrhage in a slice: skull and brain together."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head import brain, skull, surfaces
from tfrecords_tools.phantom.head.brain import Brain
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import inside, mix


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
    within = inside(depth, distance.edge)
    content = brain.render(head, shifted, depth, squeeze)
    mix(hu, content.hu, within)
    return Tissue(hu, depth, distance.brain, within, distance.edge, content)

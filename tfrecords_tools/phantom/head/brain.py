"""The content of the dura: cortex, nuclei, ventricles, cisterns, cerebellum, falx, tentorium."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head import findings
from tfrecords_tools.phantom.head.csf import (
    CSF,
    INSULA,
    MIDBRAIN,
    PONS,
    render_sulci,
    render_ventricles,
)
from tfrecords_tools.phantom.head.dura import Dura, paint_dura, render_dura
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import (
    Capsule,
    Ellipsoid,
    both_sides,
    inside,
    join,
    mix,
    sheet,
)

WHITE = 33.0  # HU before beam hardening, which subtracts some 4; grey is 12 HU denser
NUCLEI = 0.75  # share of the cortex's contrast, since fibres run through them

# Shapes with x > 0 exist on both sides.
CEREBELLAR_WHITE = Ellipsoid((15.0, 38.0, -42.0), (17.0, 14.0, 11.0))  # with the peduncles
CAUDATE = Ellipsoid((11.0, -21.0, 9.0), (5.0, 9.0, 9.0))
CAUDATE_BODY = Capsule((13.0, -14.0, 17.0), (20.0, 14.0, 21.0), (4.0, 2.0))
LENTIFORM = Ellipsoid((25.0, -4.0, 5.0), (8.0, 17.0, 12.0))
THALAMUS = Ellipsoid((11.0, 11.0, 5.0), (10.0, 15.0, 11.0))
INSULAR_CORTEX = 4.0  # mm


@dataclass(frozen=True, eq=False)
class Brain:
    """The inside of the dura in a slice.

    Attributes:
        hu: Hounsfield units; meaningless outside.
        ventricles: 0..1.
        sulci: 0..1, sulci, fissures and cisterns: the CSF around the brain.
        near_sulci: 0..1, the same as wide as blood in it appears.
        grey: 0..1, cortex and nuclei.
        dense: 0..1, the folds of the dura and the blood in their sinuses.
        dura: its folds.
    """

    hu: Array
    ventricles: Array
    sulci: Array
    near_sulci: Array
    grey: Array
    dense: Array
    dura: Dura


def render(head: Head, points: Points, depth: Array, squeeze: Array | float) -> Brain:
    """Renders brain, CSF and dura; see `anatomy.render` for the arguments."""
    dura = render_dura(head, points, depth)
    # Hemispheres have cortex on their inner side too, where sulci are less deep.
    below_surface = np.minimum(depth, np.abs(dura.falx) + 8 + 20 * (1 - dura.fissure))
    cortex = np.clip((18 + 4 * points.texture - below_surface) / 3, 0, 1) * (1 - dura.below)
    open_share = (1 - 0.95 * head.fullness) * (1 - 0.8 * squeeze)
    sulci, near_sulci = render_sulci(head, points, depth, cortex, dura, open_share)
    ventricles = render_ventricles(head, points)
    grey = _grey(points, below_surface, cortex, dura)
    hu = _matter(head, points, dura, grey)
    findings.change_density(head.findings, hu, points)
    mix(hu, CSF, sulci)
    mix(hu, CSF, ventricles)
    dense = paint_dura(head, points, hu, depth, dura)
    findings.replace_tissue(head.findings, hu, points, inside(depth, points.pixel))
    return Brain(hu, ventricles, sulci, near_sulci, grey, dense, dura)


def _grey(points: Points, depth: Array, cortex: Array, dura: Dura) -> Array:
    """Cortex and nuclei, 0..1."""
    # The folded cortex takes most of the outer two centimetres; white matter reaches into it.
    ribbon = cortex * np.clip(3.0 - np.abs(points.folds) / 0.5, 0.0, 1)
    ribbon = np.maximum(np.clip((4.5 - depth) / 2, 0, 1), ribbon)
    nuclei = np.zeros(points.shape, np.float32)
    for nucleus in both_sides(CAUDATE, CAUDATE_BODY, LENTIFORM, THALAMUS):
        join(nuclei, nucleus, points, rough=1.0)
    for insula in (INSULA, INSULA.mirrored):
        _insular_cortex(insula, points, ribbon)
    return np.maximum(ribbon, NUCLEI * nuclei) * (1 - dura.below)


def _insular_cortex(insula: Ellipsoid, points: Points, grey: Array) -> None:
    """Adds the cortex on the outer side of an insula, in place."""
    window = insula.window(points, INSULAR_CORTEX)
    if window is None:
        return
    x, y, z = (a[window] for a in points.xyz)
    middle = np.abs(insula.depth(x, y, z) - INSULAR_CORTEX / 2)
    shell = sheet(middle, INSULAR_CORTEX / 2, points.pixel) * (np.abs(x) > INSULA.center[0])
    np.maximum(grey[window], shell, out=grey[window])


def _matter(head: Head, points: Points, dura: Dura, grey: Array) -> Array:
    """Grey and white matter, and the folia of the cerebellum; HU."""
    white = np.zeros(points.shape, np.float32)
    for part in both_sides(CEREBELLAR_WHITE):
        join(white, part, points, rough=3.0)
    for part in (*MIDBRAIN, *PONS):
        join(white, part, points, rough=1.0)
    mixed = np.maximum(grey, (0.85 - 0.6 * white) * dura.below)
    hu = WHITE + head.brain_offset + head.contrast * mixed + 1.8 * points.texture
    hu -= head.leukoaraiosis * _around_ventricles(points) * (1 - mixed)
    folia = np.abs(np.sin(0.75 * dura.tentorium + points.texture))
    return hu - (3 + 9 * head.atrophy) * dura.below * np.clip(1 - 3 * folia, 0, 1)


def _around_ventricles(points: Points) -> Array:
    """The white matter around the lateral ventricles, 0..1."""
    x, y, z = points.xyz
    near = (np.abs(x) - 18) ** 2 / 250 + (y - 2) ** 2 / 2200 + (z - 22) ** 2 / 350
    return np.clip(1.6 - near + 0.3 * points.texture, 0, 1)

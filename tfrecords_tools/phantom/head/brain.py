"""The content of the dura: cortex, nuclei, ventricles, cisterns, cerebellum, falx, tentorium."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head import findings
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

MM_PER_FOLD = 4.7  # distance from a sulcus at which the field of folds is 1
FAR = np.float32(99)  # mm; the distance from a surface that is absent
TENT_SLOPE = 0.4  # mm of height per mm
CSF, WHITE = 9.0, 35.0  # HU before beam hardening, which subtracts some 4; grey is 10 HU denser
NUCLEI = 0.75  # share of the cortex's contrast, since fibres run through them

# Shapes with x > 0 exist on both sides.
LATERAL_VENTRICLE = (
    Capsule((10.0, -34.0, 4.0), (4.0, -19.0, 7.0), (2.4, 3.0)),  # frontal horn, a sheet
    Capsule((13.0, -35.0, 9.0), (4.5, -18.0, 12.0), (2.8, 3.4)),
    Capsule((14.0, -33.0, 14.0), (5.0, -16.0, 16.0), (2.8, 3.6)),
    Capsule((12.0, -26.0, 19.0), (5.0, -14.0, 18.0), (2.4, 3.6)),
    Capsule((5.0, -14.0, 18.0), (9.0, 10.0, 22.0), (3.6, 4.2)),  # body
    Capsule((9.0, -12.0, 20.0), (14.0, 8.0, 22.0), (2.6, 3.2)),
    Capsule((9.0, 10.0, 22.0), (20.0, 32.0, 12.0), (4.5, 6.5)),
    Capsule((20.0, 32.0, 12.0), (19.0, 52.0, 4.0), (6.5, 2.0)),  # occipital horn
    Capsule((20.0, 32.0, 10.0), (31.0, 14.0, -16.0), (5.5, 2.5)),
    Capsule((31.0, 14.0, -16.0), (27.0, -12.0, -22.0), (2.5, 2.0)),  # temporal horn
)
THIRD_VENTRICLE = Ellipsoid((0.0, 6.0, -2.0), (2.2, 14.0, 9.0))
AQUEDUCT = Capsule((0.0, 20.0, -8.0), (0.0, 30.0, -30.0), (1.0, 1.4))
FOURTH_VENTRICLE = Ellipsoid((0.0, 37.0, -40.0), (7.5, 3.4, 9.0))
CEREBELLAR_WHITE = Ellipsoid((17.0, 41.0, -42.0), (15.0, 13.0, 11.0))
CAUDATE = Ellipsoid((11.0, -21.0, 9.0), (5.0, 9.0, 9.0))
LENTIFORM = Ellipsoid((24.0, -6.0, 4.0), (7.5, 16.0, 9.0))
THALAMUS = Ellipsoid((10.5, 12.0, 5.0), (8.5, 13.0, 9.0))
INSULA = Ellipsoid((29.0, 1.0, 4.0), (13.0, 25.0, 19.0))
SYLVIAN = Ellipsoid((44.0, -2.0, 4.0), (42.0, 45.0, 45.0))  # around the fissure
PEDUNCLE = Capsule((11.0, 3.0, -13.0), (7.0, 13.0, -16.0), (6.0, 7.5))
MIDBRAIN = (Ellipsoid((0.0, 17.0, -14.0), (12.0, 9.0, 11.0)), PEDUNCLE, PEDUNCLE.mirrored)
PONS = (
    Ellipsoid((0.0, 20.0, -36.0), (16.0, 12.5, 14.0)),
    Capsule((0.0, 23.0, -46.0), (0.0, 27.0, -70.0), (9.0, 7.0)),  # medulla
)
CEREBELLOPONTINE = Capsule((17.0, 8.0, -40.0), (27.0, 14.0, -38.0), (3.5, 1.5))
SUPRASELLAR = (
    Ellipsoid((0.0, -9.0, -22.0), (11.0, 8.0, 5.5)),
    Capsule((0.0, -12.0, -22.0), (0.0, -38.0, -18.0), (2.5, 1.0)),
    Capsule((8.0, -10.0, -22.0), (28.0, -16.0, -16.0), (3.0, 2.0)),
    Capsule((8.0, -6.0, -22.0), (17.0, 8.0, -18.0), (2.5, 1.5)),
)
QUADRIGEMINAL = (
    Capsule((0.0, 27.0, -10.0), (14.0, 23.0, -10.0), (2.8, 1.5)),
    Ellipsoid((0.0, 31.0, -4.0), (6.0, 4.0, 6.0)),
)
STRAIGHT_SINUS = Capsule((0.0, 36.0, 6.0), (0.0, 74.0, -10.0), (1.8, 2.8))
GREAT_VEIN = Capsule((0.0, 14.0, 7.0), (0.0, 36.0, 6.0), (1.0, 1.8))
TORCULA = Ellipsoid((0.0, 82.0, -12.0), (9.0, 5.0, 7.0))
CISTERNA_MAGNA = Ellipsoid((0.0, 56.0, -62.0), (10.0, 8.0, 8.0))


@dataclass(frozen=True, eq=False)
class Dura:
    """The folds of the dura, which divide the brain.

    Attributes:
        falx: mm to the left of the falx, or of its continuation where it ends.
        falx_reach: 0..1, where the falx exists.
        tentorium: mm above the tentorium.
        below: 0..1, below it: cerebellum and brainstem.
    """

    falx: Array
    falx_reach: Array
    tentorium: Array
    below: Array


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
    dura = _dura(head, points, depth)
    # Hemispheres have cortex on their inner side too.
    below_surface = np.minimum(depth, np.abs(dura.falx) + 20 * (1 - dura.falx_reach))
    cortex = np.clip((17 + 5 * points.texture - below_surface) / 5, 0, 1) * (1 - dura.below)
    open_share = (1 - 0.95 * head.fullness) * (1 - 0.8 * squeeze)
    sulci, near_sulci = _sulci(head, points, depth, cortex, dura, open_share)
    ventricles = _ventricles(head, points)
    grey = _grey(points, below_surface, cortex, dura)
    hu = _matter(head, points, dura, grey)
    findings.change_density(head.findings, hu, points)
    mix(hu, CSF, sulci)
    mix(hu, CSF, ventricles)
    dense = _paint_dura(head, points, hu, depth, dura)
    findings.replace_tissue(head.findings, hu, points, inside(depth, points.pixel))
    return Brain(hu, ventricles, sulci, near_sulci, grey, dense, dura)


def _dura(head: Head, points: Points, depth: Array) -> Dura:
    x, y, z = points.xyz
    behind_petrous = np.clip(
        (y - 1 - 0.42 * np.abs(x)) / 6, 0, 1
    )  # the tentorium is attached there
    tentorium = points.smooth(_above_tentorium)
    below = inside(-tentorium, points.pixel) * behind_petrous
    falx = x - head.falx_bend * np.clip(depth / 15, 0, 1) - 0.5 * points.texture
    reach = np.clip(np.maximum((z - 28) / 4, np.maximum((-y - 36) / 4, (y - 46) / 4)), 0, 1)
    return Dura(falx, reach * (1 - below), tentorium + FAR * (1 - behind_petrous), below)


def _sulci(
    head: Head, points: Points, depth: Array, cortex: Array, dura: Dura, open_share: Array | float
) -> tuple[Array, Array]:
    """The CSF around the brain, and the same as wide as blood in it appears."""
    ridge = np.abs(points.folds)
    half = MM_PER_FOLD * (0.12 + 0.22 * head.atrophy) * open_share
    # Their walls are oblique to the layer.
    sulci = sheet(MM_PER_FOLD * ridge, half, points.pixel + 0.4 * points.thickness) * cortex
    front = np.clip(0.3 - points.xyz[1] / 50, 0, 1) * head.frontal_space
    outer = inside((0.3 + 2.4 * head.atrophy**1.5) * open_share + front - depth, points.pixel)
    split = (0.5 + 1.4 * head.atrophy) * open_share + 0.5 * front
    between = sheet(np.abs(dura.falx), split, points.pixel) * dura.falx_reach
    deep = np.maximum(between, _cisterns(head, points))
    near_sulci = np.maximum(np.clip(1.5 - ridge / 0.42, 0, 1) * cortex, deep)
    return np.maximum.reduce([sulci, outer, deep]), near_sulci


def _grey(points: Points, depth: Array, cortex: Array, dura: Dura) -> Array:
    """Cortex and nuclei, 0..1."""
    # The folded cortex takes most of the outer two centimetres; white matter reaches into it.
    ribbon = cortex * np.clip(1.9 - np.abs(points.folds) / 0.45, 0.0, 1)
    ribbon = np.maximum(np.clip((5 - depth) / 2.5, 0, 1), ribbon)
    nuclei = np.zeros(points.shape, np.float32)
    for nucleus in both_sides(CAUDATE, LENTIFORM, THALAMUS):
        join(nuclei, nucleus, points, rough=1.0)
    return np.maximum(ribbon, NUCLEI * nuclei) * (1 - dura.below)


def _matter(head: Head, points: Points, dura: Dura, grey: Array) -> Array:
    """Grey and white matter, and the folia of the cerebellum; HU."""
    white = np.zeros(points.shape, np.float32)
    for side in both_sides(CEREBELLAR_WHITE):
        join(white, side, points, rough=3.0)
    mixed = np.maximum(grey, (0.75 - 0.45 * white) * dura.below)
    hu = WHITE + head.brain_offset + head.contrast * mixed + 1.8 * points.texture
    hu -= head.leukoaraiosis * _around_ventricles(points) * (1 - mixed)
    folia = np.abs(np.sin(0.75 * dura.tentorium + points.texture))
    return hu - (3 + 9 * head.atrophy) * dura.below * np.clip(1 - 3 * folia, 0, 1)


def _above_tentorium(x: Array, y: Array, z: Array) -> Array:
    """Height above a tent that falls from its notch in the middle to the transverse sinuses, mm."""
    return z - (2 - 0.28 * np.abs(x) - 0.24 * np.clip(y - 30, -20, 70))


def _cisterns(head: Head, points: Points) -> Array:
    """CSF around brainstem and insula, 0..1."""
    wide = 0.75 + 0.6 * head.atrophy - 0.25 * head.fullness
    mask, stem, pons = np.zeros((3, *points.shape), np.float32)
    for shape in MIDBRAIN:
        join(mask, shape, points, grow=0.8 + 2.4 * head.atrophy)
        join(stem, shape, points, rough=0.5)
    for shape in PONS:
        join(pons, shape, points, grow=(4.0 + 3.0 * head.atrophy) * (1 - 0.7 * head.fullness))
        join(stem, shape, points, rough=0.5)
    _, y, z = points.xyz
    # Pons and medulla touch the cerebellum behind them; the temporal lobe touches the midbrain in
    # places.
    mask *= np.clip(0.7 + 0.6 * points.texture, 0, 1)
    np.maximum(mask, pons * np.clip((18 - y - 0.3 * (z + 36)) / 6, 0, 1), out=mask)
    for shape in (*both_sides(*SUPRASELLAR, *QUADRIGEMINAL, CEREBELLOPONTINE), CISTERNA_MAGNA):
        join(mask, shape.scaled(wide), points, rough=0.4)
    mask *= 1 - stem
    for side in (-1.0, 1.0):
        _sylvian(side, (0.8 + 2.2 * head.atrophy) * (1 - 0.8 * head.fullness), points, mask)
    return mask


def _sylvian(side: float, width: float, points: Points, mask: Array) -> None:
    """Adds a cleft over the insula, and another from there to the surface, in place."""
    region = SYLVIAN if side > 0 else SYLVIAN.mirrored
    window = region.window(points, 0.0)
    if window is None:
        return
    x, y, z = (a[window] for a in points.xyz)
    over = np.abs(INSULA.depth(side * x, y, z)) + FAR * (side * x < 35)
    out = 0.75 * np.abs(z - 2 + 1.1 * (y + 4) + 2.5 * points.texture[window])
    out = out + FAR * (side * x < 40)
    # Opercula meet in places.
    half = width * np.clip(0.4 + 1.0 * points.grain[window], 0, 2)
    blur = points.pixel + 0.3 * points.thickness
    cleft = sheet(np.minimum(over, out), half, blur) * (np.abs(y + 2) < 30)
    np.maximum(mask[window], cleft, out=mask[window])


def _around_ventricles(points: Points) -> Array:
    """The white matter around the lateral ventricles, 0..1."""
    x, y, z = points.xyz
    near = (np.abs(x) - 18) ** 2 / 250 + (y - 2) ** 2 / 2200 + (z - 22) ** 2 / 350
    return np.clip(1.6 - near + 0.3 * points.texture, 0, 1)


def _ventricles(head: Head, points: Points) -> Array:
    mask = np.zeros(points.shape, np.float32)
    left, right = head.ventricles
    for part in LATERAL_VENTRICLE:
        join(mask, part.scaled(left), points, rough=0.3)
        join(mask, part.mirrored.scaled(right), points, rough=0.3)
    third = 0.2 + 0.43 * (left + right)
    for unpaired in (THIRD_VENTRICLE, FOURTH_VENTRICLE, AQUEDUCT):
        join(mask, unpaired.scaled(min(third, 1.25)), points)
    return mask


def _paint_dura(head: Head, points: Points, hu: Array, depth: Array, dura: Dura) -> Array:
    """Paints falx, tentorium and the great sinuses, which are denser than brain, in place.

    Returns:
        Where they are, 0..1.
    """
    x, y, z = points.xyz
    tentorium = np.abs(dura.tentorium)
    falx = 0.75 * sheet(np.abs(dura.falx), 0.6, points.pixel) * dura.falx_reach
    mix(hu, head.falx_hu, falx)
    lateral = np.clip((np.abs(x) - 8) / 4, 0, 1)
    # Height above a tent, so a thick layer smears it over a band.
    tent = 0.8 * sheet(tentorium, 0.8, points.thickness + TENT_SLOPE * points.pixel) * lateral
    mix(hu, head.falx_hu - 8, tent)
    sagittal = inside(5 - np.abs(x) - 0.8 * depth, points.pixel) * ((y > 20) | (z > 40))
    transverse = inside(5 - tentorium - 0.9 * depth, points.pixel) * (y > 30)
    sinuses = np.maximum(sagittal, transverse)
    for vein in (STRAIGHT_SINUS, GREAT_VEIN, TORCULA):
        join(sinuses, vein, points)
    mix(hu, head.sinus_hu, sinuses)
    return np.maximum.reduce([falx, tent, sinuses])

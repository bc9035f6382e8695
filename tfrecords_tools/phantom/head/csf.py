"""Where CSF is: ventricles, cisterns, clefts and sulci."""

import numpy as np

from tfrecords_tools.phantom.head.dura import FAR, Dura
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import Capsule, Ellipsoid, both_sides, inside, join, sheet

CSF = 9.0  # HU before beam hardening, which subtracts some 4
MM_PER_FOLD = 4.7  # distance from a sulcus at which the field of folds is 1

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
INSULA = Ellipsoid((29.0, 1.0, 4.0), (13.0, 25.0, 19.0))
SYLVIAN = Ellipsoid((44.0, -2.0, 4.0), (42.0, 45.0, 45.0))  # around the fissure
PEDUNCLE = Capsule((11.0, 3.0, -13.0), (7.0, 13.0, -16.0), (6.0, 7.5))
MIDBRAIN = (Ellipsoid((0.0, 17.0, -14.0), (12.0, 9.0, 11.0)), PEDUNCLE, PEDUNCLE.mirrored)
PONS = (
    Ellipsoid((0.0, 20.0, -36.0), (16.0, 12.5, 14.0)),
    Capsule((0.0, 23.0, -46.0), (0.0, 27.0, -70.0), (9.0, 7.0)),  # medulla
)
CEREBELLOPONTINE = Capsule((16.0, 9.0, -40.0), (30.0, 16.0, -39.0), (4.5, 2.0))
VALLECULA = Capsule((0.0, 72.0, -30.0), (0.0, 60.0, -62.0), (2.0, 5.0))  # behind the vermis
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
NODULE = Ellipsoid((0.0, 42.0, -41.0), (4.0, 4.0, 6.0))  # of the vermis
CISTERNA_MAGNA = Ellipsoid((0.0, 56.0, -62.0), (10.0, 8.0, 8.0))


def render_sulci(
    head: Head, points: Points, depth: Array, cortex: Array, dura: Dura, open_share: Array | float
) -> tuple[Array, Array]:
    """The CSF around the brain, and the same as wide as blood in it appears."""
    ridge = np.abs(points.folds)
    # They are wider at the surface, reach in to different depths, and touch in places.
    uneven = np.clip(1.4 - depth / 14 + 0.5 * points.texture, 0.1, 1)
    uneven *= np.clip(1 + 0.5 * points.grain, 0.2, 2)
    half = MM_PER_FOLD * (0.14 + 0.2 * head.atrophy) * open_share * uneven
    # Their walls are oblique to the layer.
    sulci = sheet(MM_PER_FOLD * ridge, half, points.pixel + 0.3 * points.thickness) * cortex
    front = np.clip(0.3 - points.xyz[1] / 50, 0, 1) * head.frontal_space
    outer = inside((0.3 + 2.4 * head.atrophy**1.5) * open_share + front - depth, points.pixel)
    split = (0.4 + 1.2 * head.atrophy) * open_share + 0.5 * front
    split *= np.clip(0.3 + 0.9 * points.grain, 0, 2)  # its banks touch in places
    between = sheet(np.abs(dura.falx), split, points.pixel) * dura.fissure
    deep = np.maximum(between, _cisterns(head, points))
    near_sulci = np.maximum(np.clip(1.5 - ridge / 0.42, 0, 1) * cortex, deep)
    return np.maximum.reduce([sulci, outer, deep]), near_sulci


def render_ventricles(head: Head, points: Points) -> Array:
    """The ventricles, 0..1."""
    mask = np.zeros(points.shape, np.float32)
    left, right = head.ventricles
    for part in LATERAL_VENTRICLE:
        join(mask, part.scaled(left), points, rough=0.3)
        join(mask, part.mirrored.scaled(right), points, rough=0.3)
    third = 0.2 + 0.43 * (left + right)
    for unpaired in (THIRD_VENTRICLE, FOURTH_VENTRICLE, AQUEDUCT):
        join(mask, unpaired.scaled(min(third, 1.25)), points)
    nodule = np.zeros_like(mask)
    join(nodule, NODULE.scaled(head.nodule), points, rough=0.3)
    return mask * (1 - nodule)


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
    np.maximum(mask, pons * np.clip((18 - y - 0.5 * (z + 36)) / 6, 0, 1), out=mask)
    for shape in (
        *both_sides(*SUPRASELLAR, *QUADRIGEMINAL, CEREBELLOPONTINE),
        CISTERNA_MAGNA,
        VALLECULA,
    ):
        join(mask, shape.scaled(wide), points, rough=0.9)
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

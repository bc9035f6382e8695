"""A made-up head: tissue at any point, from a few dozen numbers drawn per patient.

Coordinates are millimetres in the head's own frame, x to the patient's left, y to the back, z up;
the origin lies midway between the lateral ventricles, some 95 mm below the vertex. Shapes are
implicit functions evaluated on the pixels of one slice, with soft edges a pixel wide. Sizes follow
adult means and spreads of common atlases; HU are those that textbooks of cranial CT give.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Array = np.ndarray  # float32, shape (rows, columns), unless said otherwise

AIR, FAT, MUSCLE = -1000.0, -90.0, 55.0  # HU
CSF, WHITE, GREY, BLOOD_IN_SINUS, FALX = 6.0, 28.0, 37.0, 55.0, 58.0
DIPLOE, CORTICAL_BONE = 600.0, 1250.0

# Ellipsoids: centre (|x|, y, z) and half axes in mm; those with x > 0 stand on both sides.
LATERAL_VENTRICLE = (
    ((9.0, -26.0, 14.0), (6.0, 13.0, 9.0)),  # frontal horn
    ((13.0, 0.0, 20.0), (7.0, 22.0, 7.0)),  # body
    ((24.0, 30.0, 8.0), (7.0, 15.0, 12.0)),  # atrium
    ((31.0, -2.0, -20.0), (3.5, 12.0, 4.0)),  # temporal horn
)
THIRD_VENTRICLE = ((0.0, 0.0, 0.0), (2.2, 14.0, 9.0))
FOURTH_VENTRICLE = ((0.0, 36.0, -38.0), (7.0, 6.0, 9.0))
CISTERNS = (
    ((0.0, -12.0, -27.0), (13.0, 9.0, 6.0)),  # suprasellar
    ((10.0, 17.0, -14.0), (9.0, 4.0, 7.0)),  # ambient
    ((0.0, 22.0, -10.0), (8.0, 4.0, 5.0)),  # quadrigeminal
)
SYLVIAN = ((48.0, -8.0, 0.0), (17.0, 4.0, 13.0))
DEEP_GREY = (
    ((11.0, 10.0, 6.0), (8.0, 14.0, 9.0)),  # thalamus
    ((24.0, -10.0, 7.0), (7.0, 16.0, 10.0)),  # lentiform nucleus
)
PETROUS = ((40.0, 12.0, -38.0), (27.0, 9.0, 9.0))
CLIVUS = ((0.0, -2.0, -44.0), (10.0, 10.0, 15.0))
ORBIT = ((31.0, -72.0, -34.0), (18.0, 22.0, 17.0))
GLOBE = ((31.0, -78.0, -34.0), (12.0, 12.0, 12.0))
ETHMOID = ((0.0, -72.0, -38.0), (13.0, 22.0, 20.0))
MASTOID = ((56.0, 22.0, -44.0), (13.0, 14.0, 14.0))


@dataclass(frozen=True)
class Spot:
    """A calcification: bright, and no bleeding.

    Attributes:
        center: x, y, z in mm.
        radius: mm.
        hu: at its middle.
    """

    center: tuple[float, float, float]
    radius: float
    hu: float


@dataclass(frozen=True)
class Infarct:
    """A region of dark brain.

    Attributes:
        center: x, y, z in mm.
        radius: mm.
        depth: HU below the healthy tissue.
    """

    center: tuple[float, float, float]
    radius: float
    depth: float


@dataclass(frozen=True)
class Head:
    """What distinguishes one patient's head.

    Attributes:
        half_axes: of the scalp's ellipsoid in x, y, z, mm.
        squareness: exponent of the superellipsoid; 2 is an ellipsoid.
        asymmetry: share by which the left half is wider than the right.
        scalp: thickness in mm.
        skull: thickness in mm.
        atrophy: 0 (young) to 1 (old): wider ventricles, sulci and outer CSF.
        ventricle_scale: of all half axes of the ventricles.
        grey_offset: HU added to all brain, for scanner and patient.
        sinus_hu: density of the blood in the dural sinuses.
        falx_hu: density of falx and tentorium.
        pneumatization: 0 to 1, air in mastoid and paranasal cells.
        base_height: mm by which the floor of the skull is shifted.
        spots: calcifications.
        infarcts: old and new ones.
    """

    half_axes: tuple[float, float, float]
    squareness: float
    asymmetry: float
    scalp: float
    skull: float
    atrophy: float
    ventricle_scale: float
    grey_offset: float
    sinus_hu: float
    falx_hu: float
    pneumatization: float
    base_height: float
    spots: tuple[Spot, ...]
    infarcts: tuple[Infarct, ...]


@dataclass(frozen=True)
class Points:
    """Where the pixels of a slice lie in the head, and the random fields there.

    Attributes:
        x, y, z: mm in the head's frame.
        folds: zero where a sulcus runs; unit variance, correlated over some 7 mm.
        texture: unit variance, correlated over some 12 mm.
        pixel: edge of a pixel in mm.
    """

    x: Array
    y: Array
    z: Array
    folds: Array
    texture: Array
    pixel: float

    @cached_property
    def heights(self) -> tuple[float, float]:
        """Lowest and highest z: most structures do not reach most slices."""
        return float(self.z.min()), float(self.z.max())


@dataclass(frozen=True)
class Tissue:
    """A slice of a healthy head.

    Attributes:
        hu: Hounsfield units.
        depth: mm inside the inner table and above the skull base; negative outside.
        brain: 0..1, inside the dura.
        ventricles: 0..1.
        sulci: 0..1, sulci, fissures and cisterns: where CSF surrounds the brain.
        floor_gap: mm above the floor of the skull.
    """

    hu: Array
    depth: Array
    brain: Array
    ventricles: Array
    sulci: Array
    floor_gap: Array


def sample_head(rng: np.random.Generator) -> Head:
    """Draws a patient."""
    atrophy = float(rng.beta(1.6, 2.2))
    return Head(
        half_axes=(
            float(rng.normal(77, 3.5)),
            float(rng.normal(95, 4.5)),
            float(rng.normal(98, 4)),
        ),
        squareness=float(rng.uniform(2.0, 2.5)),
        asymmetry=float(rng.normal(0, 0.015)),
        scalp=float(rng.uniform(3.5, 8.0)),
        skull=float(rng.uniform(4.5, 9.0)),
        atrophy=atrophy,
        ventricle_scale=float(0.75 + 0.65 * atrophy + rng.normal(0, 0.06)),
        grey_offset=float(rng.normal(0, 1.5)),
        sinus_hu=float(rng.normal(BLOOD_IN_SINUS, 4)),
        falx_hu=float(rng.normal(FALX, 4)),
        pneumatization=float(rng.uniform(0.2, 1.0)),
        base_height=float(rng.normal(0, 3)),
        spots=_sample_spots(rng),
        infarcts=_sample_infarcts(rng),
    )


def render(head: Head, points: Points) -> Tissue:
    """The healthy head at the pixels of one slice."""
    x, y, z = points.x, points.y, points.z
    depth_scalp = _depth_below_scalp(head, points)
    skull = head.skull * (1 + 0.18 * points.texture) + 0.05 * np.clip(-z, 0, 60)
    to_inner = depth_scalp - head.scalp - skull  # mm inside the inner table
    floor_gap = z - _floor(head, x, y) + 1.5 * points.texture
    depth = np.minimum(to_inner, floor_gap)

    hu = _scalp_and_face(head, points, depth_scalp, to_inner, floor_gap)
    hu = _mix(
        hu,
        _bone(points, depth_scalp - head.scalp, skull),
        _skull_mask(head, points, depth_scalp, to_inner),
    )
    hu = _base_structures(head, points, hu, floor_gap, to_inner)

    inside = _inside(depth, points.pixel)
    brain_hu, ventricles, sulci = _brain(head, points, depth)
    hu = _mix(hu, brain_hu, inside)
    hu = _mix(hu, CORTICAL_BONE * 0.8, _ellipsoid(PETROUS, points) * (floor_gap < 26))
    hu = _spots(head, points, hu, inside)
    return Tissue(
        hu=hu,
        depth=depth,
        brain=inside,
        ventricles=ventricles * inside,
        sulci=sulci * inside,
        floor_gap=floor_gap,
    )


def inner_table(head: Head, direction: Array) -> Array:
    """The point where a ray from the origin meets the inner table; float, shape (3,), mm."""
    radius = 1 / np.sum(np.abs(direction / np.array(head.half_axes)) ** head.squareness) ** (
        1 / head.squareness
    )
    return direction * (radius - head.scalp - head.skull)


def _depth_below_scalp(head: Head, points: Points) -> Array:
    """Distance to the scalp's surface along the ray through the origin."""
    a, b, c = head.half_axes
    p = head.squareness
    x = points.x * (1 + head.asymmetry * np.sign(points.x))
    # Below the origin the head goes on as neck and face: z counts less there.
    z = np.where(points.z < 0, points.z * 0.45, points.z)
    level = (np.abs(x / a) ** p + np.abs(points.y / b) ** p + np.abs(z / c) ** p) ** (1 / p)
    distance = np.sqrt(x**2 + points.y**2 + z**2)
    return distance * (1 / np.maximum(level, 1e-3) - 1)


def _floor(head: Head, x: Array, y: Array) -> Array:
    """Height of the skull base: anterior fossa high, posterior fossa low."""
    back = np.clip((y + 25) / 50, 0, 1)
    lateral = np.clip((np.abs(x) - 12) / 15, 0, 1) * np.clip(1 - np.abs(y + 8) / 26, 0, 1)
    return head.base_height - 24 - 36 * back**1.5 - 16 * lateral


def _scalp_and_face(
    head: Head, points: Points, depth_scalp: Array, to_inner: Array, floor_gap: Array
) -> Array:
    """Air, the scalp's skin, fat and muscle, and the soft tissue of face and neck below."""
    hu = np.full_like(points.x, AIR)
    outside = _inside(depth_scalp, points.pixel)
    temporal = (np.abs(points.y + 10) < 40) & (points.z < 25)
    muscle = np.where(temporal | (points.z < -35), depth_scalp > 3, depth_scalp > head.scalp - 1.5)
    hu = _mix(hu, np.where(muscle, MUSCLE, FAT), outside)
    hu = _mix(hu, 20.0, outside * (depth_scalp < 1.8))  # skin
    below = _inside(-floor_gap - 4, points.pixel) * _inside(to_inner, points.pixel)
    pattern = points.texture + 0.6 * points.folds
    face = np.select([pattern > 1.1, pattern > -0.2, pattern > -0.9], [700.0, MUSCLE, FAT], 30.0)
    return _mix(hu, face, below)


def _bone(points: Points, depth_skull: Array, skull: Array) -> Array:
    """Outer table, diploe, inner table."""
    share = depth_skull / np.maximum(skull, 1)
    middle = np.clip(1 - np.abs(share - 0.5) * 3.2, 0, 1)
    return CORTICAL_BONE - (CORTICAL_BONE - DIPLOE - 80 * points.texture) * middle


def _skull_mask(head: Head, points: Points, depth_scalp: Array, to_inner: Array) -> Array:
    in_shell = _inside(depth_scalp - head.scalp, points.pixel) * _inside(-to_inner, points.pixel)
    return in_shell * np.clip((points.z + 62) / 14, 0, 1)  # the vault ends below the base


def _base_structures(
    head: Head, points: Points, hu: Array, floor_gap: Array, to_inner: Array
) -> Array:
    """The floor itself, clivus, orbits, and the cells that hold air."""
    inside = _inside(to_inner + 2, points.pixel)
    shell = np.clip(1.2 - np.abs(floor_gap + 2.5) / 3.2, 0, 1) * inside
    hu = _mix(hu, 850 + 150 * points.texture, shell)
    hu = _mix(hu, 650 + 200 * points.texture, _ellipsoid(CLIVUS, points) * (floor_gap < 12))
    orbit = _ellipsoid(ORBIT, points)
    rim = np.clip(_ellipsoid(ORBIT, points, grow=3.0) - orbit, 0, 1)
    hu = _mix(hu, 700.0, rim * (floor_gap < 3))
    hu = _mix(hu, FAT, orbit * (floor_gap < 0))
    hu = _mix(hu, 12.0, _ellipsoid(GLOBE, points) * (floor_gap < 0))
    cells = np.where(
        points.texture + 0.5 * points.folds > 0.9 - 2 * head.pneumatization, AIR, 500.0
    )
    for place in (ETHMOID, MASTOID):
        hu = _mix(hu, cells, _ellipsoid(place, points) * (floor_gap < 0))
    return hu


def _brain(head: Head, points: Points, depth: Array) -> tuple[Array, Array, Array]:
    """What lies inside the dura: (HU, ventricles, sulci and cisterns)."""
    x, y, z = points.x, points.y, points.z
    wide = 0.5 + head.atrophy
    below_tentorium = _inside(-(z + 16 - 0.25 * np.clip(50 - y, -20, 40)), points.pixel)
    below_tentorium = below_tentorium * np.clip((y - 4) / 14, 0, 1)

    in_band = np.clip((16 - depth) / 6, 0, 1) * (1 - below_tentorium)
    ridge = np.abs(points.folds)
    sulci = np.clip(1.15 - ridge / (0.10 + 0.16 * head.atrophy), 0, 1) * in_band
    outer = np.clip(1.0 + (0.6 + 2.4 * head.atrophy) - depth, 0, 1)
    fissure = np.clip(1.2 - np.abs(x) / (0.8 + wide), 0, 1)
    fissure *= ((z > 30) | (y < -32) | (y > 45)) * (1 - below_tentorium)
    sulci = np.maximum.reduce([sulci, outer, fissure, _ellipsoid(SYLVIAN, points) * in_band])
    for cistern in CISTERNS:
        sulci = np.maximum(sulci, _ellipsoid(cistern, points, scale=0.7 + 0.4 * wide))

    near_surface = np.clip((5.0 - depth) / 1.5, 0, 1)
    ribbon = np.maximum(near_surface, in_band * np.clip(1.6 - ridge / 0.35, 0, 1))
    for nucleus in DEEP_GREY:
        ribbon = np.maximum(ribbon, _ellipsoid(nucleus, points))
    hu = WHITE + (GREY - WHITE) * np.maximum(ribbon, 0.75 * below_tentorium)
    hu = hu + head.grey_offset + 0.8 * points.texture
    hu -= 4 * below_tentorium * np.clip(1 - np.abs(np.sin(1.1 * depth)) * 2, 0, 1)  # folia
    for infarct in head.infarcts:
        hu = hu - infarct.depth * _ball(infarct.center, infarct.radius, points, rough=3.0)
    hu = _mix(hu, CSF, sulci)

    ventricles = np.zeros_like(x)
    for part in (*LATERAL_VENTRICLE, THIRD_VENTRICLE, FOURTH_VENTRICLE):
        ventricles = np.maximum(ventricles, _ellipsoid(part, points, scale=head.ventricle_scale))
    hu = _mix(hu, CSF, ventricles)
    return _dura(head, points, hu, depth), ventricles, sulci


def _dura(head: Head, points: Points, hu: Array, depth: Array) -> Array:
    """Falx, tentorium and the great sinuses: denser than brain, and always there."""
    x, y, z = points.x, points.y, points.z
    reach = (z > 28) | (y < -38) | ((y > 48) & (z > -10))
    falx = np.clip(1.3 - np.abs(x + 0.6 * points.texture) / 0.9, 0, 1) * reach * (depth < 38)
    hu = _mix(hu, head.falx_hu, falx * 0.8)
    edge = np.abs(z + 14 - 0.25 * np.clip(50 - y, -20, 40))
    tentorium = np.clip(1.2 - edge / 1.2, 0, 1) * (y > 12) * (np.abs(x) > 9)
    hu = _mix(hu, head.falx_hu - 8, tentorium * 0.7)
    sagittal = np.clip(1.2 - (np.abs(x) + 0.9 * depth) / 5.5, 0, 1) * ((y > 30) | (z > 60))
    transverse = np.clip(1.2 - (np.abs(z + 16) + 0.9 * depth) / 5.5, 0, 1) * (y > 38)
    return _mix(hu, head.sinus_hu, np.maximum(sagittal, transverse))


def _spots(head: Head, points: Points, hu: Array, inside: Array) -> Array:
    for spot in head.spots:
        lowest, highest = points.heights
        if lowest - 2 * spot.radius < spot.center[2] < highest + 2 * spot.radius:
            hu = _mix(hu, spot.hu, _ball(spot.center, spot.radius, points, rough=0.6) * inside)
    return hu


def _sample_spots(rng: np.random.Generator) -> tuple[Spot, ...]:
    """Calcified plexus, pineal, falx and basal ganglia, as often as in adults."""
    spots = []

    def add(chance: float, center: tuple[float, float, float], radius: tuple[float, float]) -> None:
        if rng.random() < chance:
            x, y, z = (float(v + rng.normal(0, 1.2)) for v in center)
            spots.append(Spot((x, y, z), float(rng.uniform(*radius)), float(rng.uniform(70, 380))))

    for side in (-1, 1):
        add(0.55, (side * 24.0, 34.0, 7.0), (1.5, 4.0))
        add(0.12, (side * 20.0, -8.0, 6.0), (1.5, 4.0))
    add(0.6, (0.0, 20.0, 1.0), (1.2, 3.0))
    for _ in range(rng.integers(0, 3)):
        add(0.4, (0.0, float(rng.uniform(-60, -30)), float(rng.uniform(20, 70))), (1.2, 3.0))
    return tuple(spots)


def _sample_infarcts(rng: np.random.Generator) -> tuple[Infarct, ...]:
    if rng.random() > 0.2:
        return ()
    side = rng.choice([-1.0, 1.0])
    x, y, z = float(side * rng.uniform(18, 50)), float(rng.uniform(-45, 50)), rng.uniform(0, 50)
    radius, depth = float(rng.uniform(6, 24)), float(rng.uniform(5, 20))
    return (Infarct((x, y, float(z)), radius, depth),)


def _ellipsoid(
    shape: tuple[tuple[float, float, float], tuple[float, float, float]],
    points: Points,
    *,
    scale: float = 1.0,
    grow: float = 0.0,
) -> Array:
    """Soft mask of an ellipsoid, mirrored where it stands beside the midline."""
    (cx, cy, cz), axes = shape
    ax, ay, az = (axis * scale + grow for axis in axes)
    lowest, highest = points.heights
    if highest < cz - az - points.pixel or lowest > cz + az + points.pixel:
        return np.zeros_like(points.x)
    x = np.abs(points.x) if cx else points.x
    level = np.sqrt(
        ((x - cx) / ax) ** 2 + ((points.y - cy) / ay) ** 2 + ((points.z - cz) / az) ** 2
    )
    return _inside((1 - level) * min(ax, ay, az), points.pixel)


def _ball(
    center: tuple[float, float, float], radius: float, points: Points, *, rough: float
) -> Array:
    """Soft mask of a ball whose surface the texture moves by `rough` mm."""
    x, y, z = center
    distance = np.sqrt((points.x - x) ** 2 + (points.y - y) ** 2 + (points.z - z) ** 2)
    return _inside(radius - distance + rough * points.texture, points.pixel)


def _inside(depth: Array, pixel: float) -> Array:
    """1 inside, 0 outside, a ramp of a pixel between: partial volume within the plane."""
    return np.clip(depth / pixel + 0.5, 0, 1)


def _mix(hu: Array, value: Array | float, share: Array) -> Array:
    return hu + (np.asarray(value, np.float32) - hu) * share

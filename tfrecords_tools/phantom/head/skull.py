"""Scalp, vault, skull base and face: everything outside the dura."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import (
    Array,
    Capsule,
    Ellipsoid,
    Points,
    both_sides,
    inside,
    join,
    mix,
    paint,
)
from tfrecords_tools.phantom.head.patient import MEAN_AXES, Head

AIR, FAT, SKIN, MUSCLE = -1000.0, -85.0, 20.0, 55.0  # HU
CORTICAL_BONE, PETROUS_BONE, CARTILAGE = 1300.0, 1500.0, 90.0
FACE_TOP, VAULT_END = -12.0, -58.0  # mm; the face begins, the occipital bone ends
ABSENT = 99.0  # mm; from what a head does not have

# Shapes with x > 0 stand on both sides.
ORBIT = Ellipsoid((30.0, -66.0, -32.0), (17.0, 23.0, 16.0))
GLOBE = Ellipsoid((31.0, -72.0, -32.0), (12.0, 12.0, 12.0))
VITREOUS = Ellipsoid((31.0, -72.0, -32.0), (10.6, 10.6, 10.6))
LENS = Ellipsoid((31.0, -80.0, -32.0), (4.5, 2.2, 4.5))
OPTIC_NERVE = Capsule((30.0, -64.0, -32.0), (12.0, -34.0, -27.0), (2.0, 2.0))
EYE_MUSCLES = (
    Capsule((42.0, -70.0, -32.0), (16.0, -38.0, -29.0), (2.0, 1.5)),
    Capsule((19.0, -74.0, -32.0), (13.0, -40.0, -29.0), (2.0, 1.5)),
)
SOFT_FACE = (
    Ellipsoid((0.0, -97.0, -52.0), (10.0, 16.0, 20.0)),  # nose
    Ellipsoid((80.0, 12.0, -32.0), (5.0, 15.0, 26.0)),  # ear
    Ellipsoid((31.0, -72.0, -32.0), (16.0, 16.0, 17.0)),  # lids
)
EAR_CANAL = Capsule((50.0, 10.0, -42.0), (86.0, 6.0, -40.0), (3.0, 4.5))
NASAL_CAVITY = Ellipsoid((0.0, -66.0, -66.0), (15.0, 26.0, 22.0))
ETHMOID = Ellipsoid((0.0, -62.0, -38.0), (12.0, 24.0, 14.0))
SPHENOID_SINUS = Ellipsoid((0.0, -20.0, -40.0), (13.0, 11.0, 9.0))
MAXILLARY_SINUS = Ellipsoid((29.0, -62.0, -68.0), (14.0, 16.0, 16.0))
FRONTAL_SINUS = Ellipsoid((11.0, -84.0, -6.0), (12.0, 6.0, 13.0))
PHARYNX = Ellipsoid((0.0, -22.0, -76.0), (11.0, 9.0, 20.0))
PETROUS = Capsule((16.0, 0.0, -38.0), (54.0, 26.0, -38.0), (6.0, 11.0))
MASTOID = Ellipsoid((58.0, 28.0, -48.0), (13.0, 15.0, 18.0))
CLIVUS = Capsule((0.0, -3.0, -36.0), (0.0, 17.0, -64.0), (8.0, 6.0))
FACE_BONES = (
    Capsule((52.0, -62.0, -50.0), (68.0, -18.0, -46.0), (5.0, 3.0)),  # zygoma
    Capsule((50.0, -8.0, -50.0), (46.0, -26.0, -100.0), (6.0, 5.0)),  # mandible
    Capsule((14.0, -26.0, -50.0), (17.0, -34.0, -90.0), (2.0, 2.0)),  # pterygoid
    Capsule((10.0, -88.0, -24.0), (12.0, -92.0, -50.0), (4.0, 3.0)),  # nasal root
    Capsule((48.0, -64.0, -22.0), (50.0, -58.0, -50.0), (4.5, 4.5)),  # lateral orbital wall
)
TOOTH = ((-86.0, 2.6), (-98.0, 2.2))  # z and radius of its crown and its tip, mm
ENAMEL = 2200.0  # HU, of crown and root together
VERTEBRA = Capsule((0.0, 30.0, -74.0), (0.0, 34.0, -130.0), (24.0, 24.0))
CANAL = Capsule((0.0, 28.0, -50.0), (0.0, 34.0, -130.0), (15.0, 13.0))
CORD = Capsule((0.0, 26.0, -50.0), (0.0, 33.0, -130.0), (7.0, 5.5))


@dataclass(frozen=True, eq=False)
class Distances:
    """Smooth distances in a slice, in mm.

    Attributes:
        scalp: below the surface of the head.
        swelling: by which the scalp is thicker than it was.
        bone: below the outer table.
        brain: inside the inner table.
        floor: above the floor of the skull.
        edge: mm over which the tables blur; see `Points.edge`.
    """

    scalp: Array
    swelling: Array
    bone: Array
    brain: Array
    floor: Array
    edge: Array


def distances(head: Head, points: Points) -> Distances:
    """How far each pixel lies from scalp, tables and skull floor."""
    whole = points.smooth(lambda x, y, z: _below_scalp(head, x, y, z))
    swelling = points.smooth(lambda x, y, z: _swelling(head, x, y, z))
    cover = points.smooth(lambda x, y, z: _scalp_thickness(head, x, y, z))
    vault = points.smooth(lambda x, y, z: _skull_thickness(head, x, y, z))
    floor = points.smooth(lambda x, y, z: z - floor_height(head, x, y))
    if not head.has_base:
        floor = np.full_like(floor, ABSENT)
    bone = whole - cover
    brain = bone - vault - 0.5 * points.texture
    floor = floor + 0.7 * points.texture
    return Distances(whole + swelling, swelling, bone, brain, floor, points.edge(whole))


def render(head: Head, points: Points, distance: Distances) -> Array:
    """The head without its brain; HU."""
    hu = np.full(points.shape, AIR, np.float32)
    _, y, z = points.xyz
    lowest = float(z.min())
    low = head.has_base and lowest < FACE_TOP + 25
    if low:
        for shape in both_sides(*SOFT_FACE):
            paint(hu, 10 + 60 * points.grain, shape, points, rough=0.5)
    mix(hu, _soft_tissue(head, points, distance), inside(distance.scalp, distance.edge))
    if low:
        below = inside(-distance.floor - 3, points.pixel) * inside(distance.bone, points.pixel)
        _face(head, points, hu, below)
    shell = inside(distance.bone, distance.edge) * inside(-distance.brain, distance.edge)
    if head.has_base and lowest < 5:
        # Below, the shell is vault only at the sides and behind; in front stands the face.
        vault = np.where(y < 22, (z + 30) / 14, (z - VAULT_END) / 12)
        shell *= np.clip(np.where(np.abs(points.xyz[0]) > 62, (z + 52) / 8, vault), 0, 1)
    mix(hu, _vault(head, points, distance), shell)
    if low:
        _base(head, points, distance, hu)
    return hu


def inner_table(head: Head, direction: np.ndarray) -> tuple[float, float, float]:
    """The point where a ray from the origin meets the inner table, mm."""
    reach = np.linspace(30, 110, 161, dtype=np.float32)
    x, y, z = (reach * float(v) for v in direction)
    depth = _below_scalp(head, x, y, z) - _scalp_thickness(head, x, y, z)
    last = int(np.argmin(np.abs(depth - _skull_thickness(head, x, y, z))))
    return float(x[last]), float(y[last]), float(z[last])


def dental_arch(angle: float) -> tuple[float, float]:
    """Where a tooth stands in the upper jaw: x and y, mm.

    Args:
        angle: degrees from the front to the patient's left.
    """
    return 25 * float(np.sin(np.radians(angle))), -56 - 32 * float(np.cos(np.radians(angle)))


def floor_height(head: Head, x: Array, y: Array) -> Array:
    """Height of the skull base: three fossae, each lower than the one before it, mm."""
    side = np.abs(x)
    front = (
        -20
        - 8 * np.exp(-((x / 9) ** 2))
        + 9 * np.exp(-(((side - 30) / 14) ** 2) - ((y + 58) / 24) ** 2)
    )
    middle = np.where(side < 14, -30 - 1.0 * np.clip(y + 3, 0, 40), -48.0)
    middle = np.maximum(middle, -48 + 18 * np.clip((17 - side) / 6, 0, 1) * (y < 4))
    back = -68 + 0.0075 * (x * x + (y - 34) ** 2)
    wing = np.clip((y + 28 + 0.12 * side) / 8, 0, 1)  # 0 before the sphenoid wing
    ridge = -2 + 0.45 * side  # where the petrous ridge runs, as y of x
    behind = np.clip((y - ridge) / 10, 0, 1)
    height = front + (middle - front) * wing
    height = height + (back - height) * behind
    crest = np.exp(-(((y - ridge) / 6) ** 2)) * np.clip((side - 12) / 8, 0, 1)
    ridge_height = -29 - 4 * np.clip((side - 50) / 15, 0, 1)
    height = height + (ridge_height - height) * crest
    return height + head.base


def _below_scalp(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Depth below the surface of the head, along the ray to the origin."""
    a, b, c = MEAN_AXES
    width = a * (1 + head.taper * y / b) * (1 + head.asymmetry * np.sign(x))
    width = width * (1 - 0.10 * np.clip(-z - 15, 0, 40) / 40 * (y < 0) * np.clip(-y / 60, 0, 1))
    # Below the origin the head goes on as face and neck: z counts less there.
    height = np.where(z < 0, 0.42 * z, z)
    p = head.squareness
    level = (np.abs(x) / width) ** p + np.abs(y / b) ** p + np.abs(height / c) ** p
    distance = np.sqrt(x * x + y * y + z * z)
    return distance * (np.maximum(level, 1e-6) ** (-1 / p) - 1)


def _scalp_thickness(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Thicker over the temporal muscle, the neck and the face."""
    temporal = np.exp(-(((y + 22) / 26) ** 2)) * np.clip((28 - z) / 30, 0, 1)
    temporal = temporal * np.clip((np.abs(x) - 35) / 20, 0, 1)
    neck = np.clip((-z - 30) / 35, 0, 1) * np.clip((y - 30) / 40, 0, 1)
    return head.scalp + head.temporal * temporal + 16 * neck


def _swelling(head: Head, x: Array, y: Array, z: Array) -> Array:
    """How far a bruise lifts the scalp, mm."""
    if head.swelling is None:
        return np.zeros_like(x)
    a, b, c = head.swelling.towards
    cosine = (a * x + b * y + c * z) / np.maximum(np.sqrt(x * x + y * y + z * z), 1)
    away = np.degrees(np.arccos(np.clip(cosine, -1, 1))) / head.swelling.extent
    return head.swelling.thickness * np.clip(1 - away * away, 0, 1)


def _skull_thickness(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Thinner at the temples; ridges at forehead and occiput."""
    temple = np.exp(-(((y + 15) / 35) ** 2)) * np.clip((np.abs(x) - 40) / 20, 0, 1)
    crest = np.exp(-((x / 6) ** 2)) * np.where(y > 0, 5.0, 3.0) * (np.abs(y) > 50) * (z < 40)
    return head.skull * (1 - 0.35 * temple * (z < 30)) + crest + 0.05 * np.clip(-z, 0, 50)


def _soft_tissue(head: Head, points: Points, distance: Distances) -> Array:
    """Skin, fat, and muscle against the bone."""
    over_bone = -distance.bone
    muscle_edge = points.smooth(
        lambda x, y, z: _scalp_thickness(head, x, y, z) - head.scalp + 0.25 * head.scalp
    )
    muscle = inside(muscle_edge - over_bone + 0.5 * points.grain, points.pixel)
    hu = FAT + (MUSCLE - FAT) * muscle
    if head.swelling is not None:
        bruise = head.swelling.hu + 8 * points.grain
        mix(hu, bruise, inside(distance.swelling - over_bone, points.pixel))
    mix(hu, SKIN, inside(1.6 - distance.scalp, points.pixel))
    return hu


def _vault(head: Head, points: Points, distance: Distances) -> Array:
    """Outer table, diploe, inner table, and the sutures through them."""
    into = np.minimum(distance.bone, -distance.brain)  # from the nearer table
    spongy = np.clip((into - 0.9) / 1.2, 0, 1)
    hu = CORTICAL_BONE - (CORTICAL_BONE - head.diploe_hu - 130 * points.grain) * spongy
    x, y, z = points.xyz
    wander = 1.5 * points.grain
    coronal = np.abs(y + 18 + 0.3 * (z - 40) + wander)
    lambdoid = np.abs(y - 72 + 0.5 * (z - 20) - 0.25 * np.abs(x) + wander)
    suture = np.clip(1.4 - np.minimum(coronal, lambdoid), 0, 1) * (z > 5)
    return hu - 550 * suture


def _face(head: Head, points: Points, hu: Array, below: Array) -> None:
    """Muscle, fat and air below the skull; bones and eyes."""
    pattern = points.texture + 0.5 * points.grain
    flesh = np.clip((pattern + 0.6) * 2.5, 0, 1)
    mix(hu, FAT + (MUSCLE + 6 * points.grain - FAT) * flesh, below)
    spongy = 650 + 220 * points.grain
    for shape in both_sides(*FACE_BONES):
        paint(hu, spongy, shape, points, within=below, rough=0.8)
    for shape in both_sides(NASAL_CAVITY, MAXILLARY_SINUS, ETHMOID):
        paint(hu, 700.0, shape, points, within=below, grow=1.5)
    turbinates = np.where(
        np.abs(points.grain + 0.4 * points.texture) < 0.35, np.float32(MUSCLE), np.float32(AIR)
    )
    for angle in range(-75, 90, 15):
        (top, crown), (tip, end) = TOOTH
        x, y = dental_arch(angle)
        tooth = Capsule((x, y, top), (x, y, tip), (crown, end))
        paint(hu, ENAMEL, tooth, points, within=below)
    septa = np.where(np.abs(points.grain) < 0.22, np.float32(450), np.float32(AIR))
    paint(hu, turbinates, NASAL_CAVITY, points, within=below)
    paint(hu, septa, ETHMOID, points, within=below)
    for shape in both_sides(MAXILLARY_SINUS):
        paint(hu, AIR, shape, points, within=below)
    paint(hu, AIR, PHARYNX, points, within=below, rough=2.0)
    for shape in both_sides(ORBIT):
        paint(hu, 800.0, shape, points, within=below, grow=2.0)
        paint(hu, FAT, shape, points, within=below)
    for shape, value in ((GLOBE, 38.0), (VITREOUS, 9.0), (LENS, 75.0), (OPTIC_NERVE, 30.0)):
        for one in both_sides(shape):
            paint(hu, value, one, points)
    for one in both_sides(*EYE_MUSCLES):
        paint(hu, 50.0, one, points, within=below)


def _base(head: Head, points: Points, distance: Distances, hu: Array) -> None:
    """The floor itself, clivus, petrous bones, the cells that hold air, and the spine."""
    within = inside(distance.bone, points.pixel)
    plate = np.clip(1.3 - np.abs(distance.floor + 1.8) / 2.2, 0, 1) * within
    mix(hu, 950 + 150 * points.grain, plate)
    bony = within * np.clip((6 - distance.floor) / 3, 0, 1)
    spongy = 500 + 150 * points.grain
    paint(hu, spongy, CLIVUS, points, within=bony, rough=0.8)
    for shape in both_sides(PETROUS):
        paint(hu, PETROUS_BONE + 200 * points.grain, shape, points, within=within, rough=1.2)
    air = head.pneumatization
    cells = np.where(
        points.grain + 0.4 * points.texture > 0.9 - 1.6 * air, np.float32(AIR), np.float32(550)
    )
    for shape in both_sides(MASTOID):
        paint(hu, spongy, shape, points, within=within, grow=2.0)
        paint(hu, cells, shape, points, within=within, rough=2.0)
    for shape in both_sides(EAR_CANAL):
        paint(hu, AIR, shape, points)
    paint(hu, AIR, SPHENOID_SINUS.scaled(0.5 + 0.6 * air), points, within=within, rough=1.5)
    for shape in both_sides(FRONTAL_SINUS.scaled(0.4 + 0.8 * air)):
        in_bone = inside(distance.bone - 1.5, points.pixel)
        in_bone = in_bone * inside(-distance.brain - 1.5, points.pixel)
        paint(hu, AIR, shape, points, within=in_bone, rough=1.5)
    paint(hu, 600 + 200 * points.grain, VERTEBRA, points, rough=2.0)
    canal = np.zeros_like(hu)
    join(canal, CANAL, points)
    mix(hu, 8.0, canal)
    paint(hu, 34.0, CORD, points)

"""The face: its bones, air spaces and teeth, and the eyes."""

from collections.abc import Iterator

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array, Plane, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import (
    Capsule,
    Ellipsoid,
    both_sides,
    inside,
    mix,
    paint,
)
from tfrecords_tools.phantom.head.surfaces import Distances
from tfrecords_tools.phantom.head.windows import Window

AIR, FAT, SKIN, MUSCLE = -1000.0, -85.0, 20.0, 55.0  # HU
ROUGH = 0.5  # mm; of the skin of nose, ears and lids
ENAMEL = 2200.0  # HU of a whole tooth, crown and root
FIRST_TOOTH = 0.7  # years
CROWN, TIP = (-86.0, 2.6), (-98.0, 2.2)  # z and radius of the ends of an upper tooth, mm

# Shapes with x > 0 exist on both sides.
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
NASAL_CAVITY = Ellipsoid((0.0, -66.0, -66.0), (15.0, 26.0, 22.0))
ETHMOID = Ellipsoid((0.0, -62.0, -38.0), (12.0, 24.0, 14.0))
MAXILLARY_SINUS = Ellipsoid((29.0, -62.0, -68.0), (14.0, 16.0, 16.0))
PHARYNX = Ellipsoid((0.0, -22.0, -76.0), (11.0, 9.0, 20.0))
FACE_BONES = (
    Capsule((52.0, -62.0, -50.0), (68.0, -18.0, -46.0), (5.0, 3.0)),  # zygoma
    Capsule((50.0, -8.0, -50.0), (46.0, -26.0, -100.0), (6.0, 5.0)),  # mandible
    Capsule((14.0, -26.0, -50.0), (17.0, -34.0, -90.0), (2.0, 2.0)),  # pterygoid
    Capsule((10.0, -88.0, -24.0), (12.0, -92.0, -50.0), (4.0, 3.0)),  # nasal root
    Capsule((48.0, -64.0, -22.0), (50.0, -58.0, -50.0), (4.5, 4.5)),  # lateral orbital wall
)


def dental_arch(angle: float) -> tuple[float, float]:
    """Place of an upper tooth, x and y in mm; `angle` in degrees from the front to the left."""
    return 25 * float(np.sin(np.radians(angle))), -56 - 32 * float(np.cos(np.radians(angle)))


def windows_around(plane: Plane) -> Iterator[Window]:
    """Windows of a slice around all that protrudes from the head."""
    for shape in both_sides(*SOFT_FACE):
        window = shape.window(plane, 2.5 * ROUGH + plane.pixel)
        if window is not None:
            yield window


def paint_nose_ears_and_lids(hu: Array, points: Points) -> None:
    """Paints the soft tissue that protrudes from the head, in place."""
    for shape in both_sides(*SOFT_FACE):
        paint(hu, 10.0, shape, points, grain=60.0, rough=ROUGH)


def paint_face(head: Head, hu: Array, points: Points, distance: Distances) -> None:
    """Paints the face below the skull base, in place."""
    below = inside(-distance.floor - 1, points.pixel) * inside(distance.bone, points.pixel)
    flesh = np.clip((points.texture + 0.5 * points.grain + 0.6) * 2.5, 0, 1)
    mix(hu, FAT + (MUSCLE + 6 * points.grain - FAT) * flesh, below)
    _paint_bones(head, hu, points, below)
    _paint_air(head, hu, points, below)
    _paint_eyes(hu, points, below)


def _paint_bones(head: Head, hu: Array, points: Points, below: Array) -> None:
    """Facial bones, the walls of the air spaces, and the upper teeth."""
    for shape in both_sides(*FACE_BONES):
        paint(hu, 650.0, shape, points, grain=220.0, within=below, rough=0.8)
    for shape in both_sides(NASAL_CAVITY, MAXILLARY_SINUS, ETHMOID):
        paint(hu, 700.0, shape, points, within=below, grow=1.5)
    for angle in range(-75, 90, 15) if head.age > FIRST_TOOTH else ():
        (top, crown), (bottom, tip) = CROWN, TIP
        x, y = dental_arch(angle)
        paint(hu, ENAMEL, Capsule((x, y, top), (x, y, bottom), (crown, tip)), points, within=below)


def _paint_air(head: Head, hu: Array, points: Points, below: Array) -> None:
    """Nasal cavity with turbinates, ethmoid cells with septa, sinuses and pharynx."""
    folded = np.abs(points.grain + 0.4 * points.texture) < 0.35
    turbinates = AIR + np.float32(MUSCLE - AIR) * folded
    septa = AIR + np.float32(450 - AIR) * (np.abs(points.grain) < 0.22)
    paint(hu, turbinates, NASAL_CAVITY, points, within=below)
    paint(hu, septa, ETHMOID, points, within=below)
    # The jaw, and with it the sinus, grows up to puberty.
    for shape in both_sides(MAXILLARY_SINUS.scaled(min(1.0, 0.4 + 0.05 * head.age))):
        paint(hu, AIR, shape, points, within=below)
    paint(hu, AIR, PHARYNX, points, within=below, rough=2.0)


def _paint_eyes(hu: Array, points: Points, below: Array) -> None:
    for shape in both_sides(ORBIT):
        paint(hu, 800.0, shape, points, within=below, grow=2.0)
        paint(hu, FAT, shape, points, within=below)
    for part, value in ((GLOBE, 38.0), (VITREOUS, 9.0), (LENS, 75.0), (OPTIC_NERVE, 30.0)):
        for shape in both_sides(part):
            paint(hu, value, shape, points)
    for shape in both_sides(*EYE_MUSCLES):
        paint(hu, 50.0, shape, points, within=below)

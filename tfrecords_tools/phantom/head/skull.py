"""Everything outside the dura: scalp, vault, skull base, and the face with it."""

from dataclasses import replace
from functools import partial

import numpy as np

from tfrecords_tools.phantom.head import skull_base
from tfrecords_tools.phantom.head.face import (
    AIR,
    FAT,
    MUSCLE,
    SKIN,
    paint_face,
    paint_nose_ears_and_lids,
)
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.shapes import (
    Capsule,
    Ellipsoid,
    both_sides,
    inside,
    inside_profile,
    mix,
    paint,
)
from tfrecords_tools.phantom.head.surfaces import ABSENT, Distances, cap_height
from tfrecords_tools.phantom.head.windows import bounding_window

SUTURE_END, VAULT_END = 5.0, -58.0  # mm; lower ends of the sutures and of the occipital bone
SAGITTAL_END = 45.0  # mm
SOLID = 0.2  # pneumatization below which frontal and sphenoid bone have no sinus
FACE_TOP = 13.0  # mm; upper end of ears and frontal sinuses
BASE_TOP = 12.0  # mm above the floor of the skull, up to which face and base reach

# Shapes with x > 0 exist on both sides.
EAR_CANAL = Capsule((50.0, 10.0, -42.0), (86.0, 6.0, -40.0), (3.0, 4.5))
SPHENOID_SINUS = Ellipsoid((0.0, -20.0, -40.0), (13.0, 11.0, 9.0))
FRONTAL_SINUS = Ellipsoid((11.0, -84.0, -6.0), (12.0, 6.0, 13.0))
MASTOID = Ellipsoid((58.0, 29.0, -43.0), (13.0, 16.0, 20.0))
VERTEBRA = Capsule((0.0, 30.0, -74.0), (0.0, 34.0, -130.0), (24.0, 24.0))
CANAL = Capsule((0.0, 28.0, -50.0), (0.0, 34.0, -130.0), (15.0, 13.0))
CORD = Capsule((0.0, 26.0, -50.0), (0.0, 33.0, -130.0), (7.0, 5.5))


def render(head: Head, points: Points, distance: Distances) -> Array:
    """The head without its brain; HU."""
    hu = np.full(points.shape, AIR, np.float32)
    with_face = head.has_base and float(points.xyz[2].min()) < FACE_TOP
    if with_face:
        paint_nose_ears_and_lids(hu, points)
    mix(hu, _soft_tissue(head, points, distance), inside(distance.scalp, distance.edge))
    low = (distance.floor < BASE_TOP) & (distance.scalp > 0)
    with_base, window = with_face and bool(low.any()), bounding_window(low)
    low_points, low_distance = points.crop(window), distance.crop(window)
    if with_base:
        paint_face(head, hu[window], low_points, low_distance)
    mix(hu, _vault(head, points, distance), _vault_mask(head, points, distance))
    if with_base:
        _paint_base(head, low_points, low_distance, hu[window])
    if with_face:
        _paint_outer_air(head, points, distance, hu)
    return hu


def _soft_tissue(head: Head, points: Points, distance: Distances) -> Array:
    """HU of the scalp: skin, fat, and muscle against the bone."""
    unswollen = distance.scalp - distance.swelling
    muscle = inside(unswollen - 0.75 * head.scalp + 0.5 * points.grain, points.pixel)
    hu = FAT + (MUSCLE - FAT) * muscle
    if head.swellings:
        bruise = head.swellings[0].hu + 8 * points.grain + 10 * points.texture
        mix(hu, bruise, inside(distance.swelling + distance.bone, points.pixel))
    mix(hu, SKIN, inside(1.6 - distance.scalp, points.pixel))
    return hu


def _vault_mask(head: Head, points: Points, distance: Distances) -> Array:
    """Where the vault lies between outer and inner table, 0..1."""
    shell = inside(distance.bone, distance.edge) * inside(-distance.brain, distance.edge)
    x, y, z = points.xyz
    if head.has_base and float(z.min()) < 5:
        # Further down the shell is vault only at the sides and behind; in front lies the face.
        end = np.where(y < 22, (z + 30) / 14, (z - VAULT_END) / 12)
        shell *= np.clip(np.where(np.abs(x) > 62, (z + 52) / 8, end), 0, 1)
    if head.opening is not None:
        steep = replace(head.opening, thickness=8.0)
        shell *= 1 - np.clip(points.smooth(partial(cap_height, steep)), 0, 1)
    if head.suture > 0 or head.fontanelle > 0:
        shell *= 1 - _open_sutures(head, points)
    return shell


def _vault(head: Head, points: Points, distance: Distances) -> Array:
    """HU of outer table, diploe and inner table, and of the sutures through them."""
    into = np.minimum(distance.bone, -distance.brain)  # from the nearer table
    spongy = np.clip((into - 0.9) / 1.2, 0, 1)
    hu = head.cortical_hu - (head.cortical_hu - head.diploe_hu - 130 * points.grain) * spongy
    if float(points.xyz[2].max()) > SUTURE_END:
        hu -= 550 * _sutures(points)
    return hu


def _sutures(points: Points) -> Array:
    """The coronal and the lambdoid suture, 0..1."""
    coronal, lambdoid = _beside_sutures(points)
    return np.clip(1.4 - np.minimum(coronal, lambdoid), 0, 1) * (points.xyz[2] > SUTURE_END)


def _beside_sutures(points: Points) -> tuple[Array, Array]:
    """Distance from the coronal and from the lambdoid suture, mm."""
    x, y, z = points.xyz
    wander = 1.5 * points.grain
    coronal = np.abs(y + 18 + 0.3 * (z - 40) + wander)
    lambdoid = np.abs(y - 72 + 0.5 * (z - 20) - 0.25 * np.abs(x) + wander)
    return coronal, lambdoid


def _open_sutures(head: Head, points: Points) -> Array:
    """The gaps between the bones of an infant's vault: sutures and fontanelle, 0..1."""
    x, _, z = points.xyz
    coronal, lambdoid = _beside_sutures(points)
    sagittal = np.abs(x + points.grain)
    at_top = sagittal + ABSENT * (z < SAGITTAL_END)
    nearest = np.minimum(np.minimum(coronal, lambdoid), at_top)
    gap = np.maximum(
        head.suture - nearest, head.fontanelle - coronal - sagittal - ABSENT * (z < 40)
    )
    return inside(gap - ABSENT * (z < SUTURE_END), points.pixel) * (gap > -points.pixel)


def _paint_base(head: Head, points: Points, distance: Distances, hu: Array) -> None:
    """Paints the skull base with its air cells, and the upper spine."""
    within = inside(distance.bone, points.pixel)
    _paint_base_bones(head, points, distance, hu, within)
    _paint_air_cells(head, points, distance, hu, within)
    paint(hu, 600.0, VERTEBRA, points, grain=200.0, rough=2.0)
    paint(hu, 8.0, CANAL, points)
    paint(hu, 34.0, CORD, points)


def _paint_base_bones(
    head: Head, points: Points, distance: Distances, hu: Array, within: Array
) -> None:
    """The floor of the three fossae, the clivus and the petrous bones."""
    depth = points.smooth(lambda x, y, _: skull_base.thickness(head.base, x, y))
    bone = 0.9 * head.cortical_hu - 20 * depth + 150 * points.grain
    dense = np.clip((depth - 11) / 3, 0, 1)
    bone += (head.cortical_hu + 200 - bone) * dense
    below = 1 - inside_profile(distance.floor, distance.floor_edge)
    under = 1 - inside_profile(distance.floor + depth, distance.floor_edge)
    mix(hu, bone, (below - under) / np.maximum(below, 0.01) * within)


def _paint_air_cells(
    head: Head, points: Points, distance: Distances, hu: Array, within: Array
) -> None:
    """Mastoid cells and sphenoid sinus."""
    air = head.pneumatization
    hollow = points.grain + 0.4 * points.texture > 2.0 - 2.7 * air
    cells = 550 + np.float32(AIR - 550) * hollow
    for shape in both_sides(MASTOID):
        paint(hu, 500.0, shape, points, grain=150.0, within=within, grow=2.0)
        paint(hu, cells, shape, points, within=within, rough=2.0)
    if air > SOLID:
        paint(hu, AIR, SPHENOID_SINUS.scaled(0.4 + 0.7 * air), points, within=within, rough=1.5)


def _paint_outer_air(head: Head, points: Points, distance: Distances, hu: Array) -> None:
    """Ear canals and frontal sinuses, which reach beyond the base."""
    for shape in both_sides(EAR_CANAL):
        paint(hu, AIR, shape, points)
    if head.pneumatization < SOLID:
        return
    from_tables = np.minimum(distance.bone, -distance.brain)
    in_bone = inside(from_tables - 1.5, points.pixel)
    for shape in both_sides(FRONTAL_SINUS.scaled(0.4 + 0.8 * head.pneumatization)):
        paint(hu, AIR, shape, points, within=in_bone, rough=1.5)

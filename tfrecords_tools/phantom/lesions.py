"""The five bleedings: where each lies, how it looks, and which keep company."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.anatomy import Array, Head, Points, Tissue, inner_table

# Which bleedings a patient has, and how often, chosen so that the prevalences over slices and
# their overlap come near those of the RSNA set (Flanders et al. 2020).
COMPANIES: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.018, ("epidural",)),
    (0.004, ("epidural", "subdural")),
    (0.004, ("epidural", "intraparenchymal", "subarachnoid")),
    (0.050, ("subdural",)),
    (0.018, ("subdural", "subarachnoid")),
    (0.010, ("subdural", "intraparenchymal", "subarachnoid")),
    (0.008, ("subdural", "intraparenchymal")),
    (0.060, ("intraparenchymal",)),
    (0.075, ("intraparenchymal", "intraventricular")),
    (0.030, ("intraparenchymal", "intraventricular", "subarachnoid")),
    (0.015, ("intraparenchymal", "subarachnoid")),
    (0.045, ("subarachnoid",)),
    (0.018, ("subarachnoid", "intraventricular")),
    (0.010, ("intraventricular",)),
)
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Lesion:
    """One bleeding.

    Attributes:
        kind: one of the five labels.
        center: mm, in the head's frame.
        extent: mm; radius, or reach along the inner table.
        thickness: mm from the inner table, where it lies there.
        hu: density; fresh blood has 50 to 90 HU, older blood less.
        oedema: mm of dark rim.
    """

    kind: str
    center: tuple[float, float, float]
    extent: float
    thickness: float
    hu: float
    oedema: float


def company_of(patient: int, seed: int) -> tuple[str, ...]:
    """The kinds of bleeding of a patient; none for most.

    Multiples of the golden section spread evenly over 0..1 however many there are, so a set of a
    few hundred patients has its share of rare kinds, as independent draws would not grant.
    """
    start = np.random.default_rng([seed, 1]).random()
    place = (start + patient * GOLDEN) % 1.0
    for share, kinds in COMPANIES:
        if place < share:
            return kinds
        place -= share
    return ()


def sample_lesions(
    rng: np.random.Generator, head: Head, kinds: tuple[str, ...]
) -> tuple[Lesion, ...]:
    """Draws the bleedings of a patient, one a kind."""
    side = float(rng.choice([-1.0, 1.0]))
    return tuple(_SAMPLERS[kind](rng, head, side) for kind in kinds)


def bleed(
    lesions: tuple[Lesion, ...], points: Points, tissue: Tissue
) -> tuple[Array, dict[str, Array]]:
    """Sets the bleedings into a slice.

    Returns:
        HU with them, and a soft mask 0..1 a kind.
    """
    hu, masks = tissue.hu, {}
    for lesion in lesions:
        mask = _SHAPES[lesion.kind](lesion, points, tissue)
        if lesion.oedema:
            rim = _ball(lesion, points, lesion.extent + lesion.oedema) * tissue.brain
            hu = hu - 10 * rim * (1 - tissue.ventricles)
        hu = hu + (lesion.hu + 3 * points.texture - hu) * mask
        masks[lesion.kind] = mask
    return hu, masks


def _density(rng: np.random.Generator, *, old: float) -> float:
    """HU of the blood; a share `old` is days to weeks old."""
    return float(rng.uniform(38, 50) if rng.random() < old else rng.uniform(56, 82))


def _on_inner_table(head: Head, azimuth: float, elevation: float) -> tuple[float, float, float]:
    """A point of the vault; azimuth from the front to the patient's left, both in degrees."""
    a, e = np.radians([azimuth, elevation])
    direction = np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
    x, y, z = inner_table(head, direction)
    return float(x), float(y), float(z)


def _epidural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    center = _on_inner_table(head, side * rng.uniform(45, 125), rng.uniform(5, 50))
    extent = rng.uniform(24, 38)
    return Lesion(
        "epidural", center, extent, extent * rng.uniform(0.42, 0.62), _density(rng, old=0), 0
    )


def _subdural(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    center = _on_inner_table(head, side * rng.uniform(60, 115), rng.uniform(15, 50))
    thickness = rng.uniform(4.5, 12)
    return Lesion("subdural", center, rng.uniform(58, 84), thickness, _density(rng, old=0.2), 0)


def _subarachnoid(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.4:  # an aneurysm: the basal cisterns
        center = (rng.normal(0, 8), -10 + rng.normal(0, 6), -20 + rng.normal(0, 5))
        extent = rng.uniform(34, 52)
    else:  # an injury: over the convexity
        center = _on_inner_table(head, side * rng.uniform(30, 140), rng.uniform(0, 65))
        extent = rng.uniform(30, 48)
    return Lesion("subarachnoid", center, extent, 0, _density(rng, old=0), 0)


def _intraparenchymal(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    if rng.random() < 0.45:  # hypertensive: basal ganglia and thalamus
        x, y, z = side * float(rng.normal(22, 4)), rng.uniform(-14, 16), rng.uniform(2, 16)
    else:  # lobar
        inward = rng.uniform(0.5, 0.72)
        surface = _on_inner_table(head, side * rng.uniform(15, 165), rng.uniform(5, 60))
        x, y, z = (v * inward for v in surface)
    extent = float(np.exp(rng.uniform(np.log(9), np.log(25))))
    density, oedema = _density(rng, old=0.1), float(rng.uniform(2, 8))
    return Lesion("intraparenchymal", (x, y, z), extent, 0, density, oedema)


def _intraventricular(rng: np.random.Generator, head: Head, side: float) -> Lesion:
    # The level of the layered blood, from the occipital horns alone to a cast.
    return Lesion(
        "intraventricular", (0.0, float(rng.uniform(-34, 22)), 0.0), 0, 0, _density(rng, old=0), 0
    )


def _lens(lesion: Lesion, points: Points, tissue: Tissue) -> Array:
    """Against the inner table, and bulging: the dura holds it."""
    reach = _distance(lesion, points) / lesion.extent
    thickness = lesion.thickness * np.sqrt(np.clip(1 - reach**2, 0, 1))
    return _inside(thickness - tissue.depth, points) * _within(reach) * tissue.brain


def _crescent(lesion: Lesion, points: Points, tissue: Tissue) -> Array:
    """Along one hemisphere, thin and far; it does not cross the falx."""
    reach = _distance(lesion, points) / lesion.extent
    thickness = lesion.thickness * np.sqrt(np.clip(1 - reach**4, 0, 1)) + 0.6 * points.texture
    one_side = np.sign(lesion.center[0]) * points.x > 4
    return _inside(thickness - tissue.depth, points) * _within(reach) * tissue.brain * one_side


def _in_sulci(lesion: Lesion, points: Points, tissue: Tissue) -> Array:
    """In sulci, fissures and cisterns about a point, which blood widens a little."""
    band = np.clip((18 - tissue.depth) / 6, 0, 1) * tissue.brain
    filled = np.clip(1.5 - np.abs(points.folds) / 0.30, 0, 1) * band
    return np.maximum(filled, tissue.sulci) * _ball(lesion, points, lesion.extent)


def _in_brain(lesion: Lesion, points: Points, tissue: Tissue) -> Array:
    return _ball(lesion, points, lesion.extent) * tissue.brain * np.clip(tissue.depth - 1, 0, 1)


def _layered(lesion: Lesion, points: Points, tissue: Tissue) -> Array:
    """The patient lies on the back: blood sinks to the occipital horns, with a level."""
    return tissue.ventricles * _inside(points.y - lesion.center[1], points)


def _distance(lesion: Lesion, points: Points) -> Array:
    x, y, z = lesion.center
    return np.sqrt((points.x - x) ** 2 + (points.y - y) ** 2 + (points.z - z) ** 2)


def _ball(lesion: Lesion, points: Points, radius: float) -> Array:
    return _inside(radius - _distance(lesion, points) + 0.12 * radius * points.texture, points)


def _within(reach: Array) -> Array:
    return np.clip((1 - reach) * 20, 0, 1)


def _inside(depth: Array, points: Points) -> Array:
    return np.clip(depth / points.pixel + 0.5, 0, 1)


_SAMPLERS: dict[str, Callable[[np.random.Generator, Head, float], Lesion]] = {
    "epidural": _epidural,
    "intraparenchymal": _intraparenchymal,
    "intraventricular": _intraventricular,
    "subarachnoid": _subarachnoid,
    "subdural": _subdural,
}
_SHAPES: dict[str, Callable[[Lesion, Points, Tissue], Array]] = {
    "epidural": _lens,
    "intraparenchymal": _in_brain,
    "intraventricular": _layered,
    "subarachnoid": _in_sulci,
    "subdural": _crescent,
}

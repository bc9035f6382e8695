"""Sets phantom hemorrhages into the slices of a real head without hemorrhage.

They show what a network trained on phantoms detects in real tissue and real noise. Blood replaces
the local tissue, and the noise of the slice stays: in a hemorrhage, the result is

    HU + mask * (HU of the blood - local HU of the tissue)

averaged over layers of the slice. Unlike a real mass, it does not displace the brain around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from scipy import ndimage

from benchmarks.real_head import grid
from benchmarks.real_head.fit import Fit, fit_head
from benchmarks.real_head.series import Series, intracranial
from benchmarks.real_head.tissue_maps import tissues
from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.errors import InputError
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.brain import Brain
from tfrecords_tools.phantom.head.dura import Dura
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.lesion_sampling import sample_lesions
from tfrecords_tools.phantom.head.lesions import Lesion, paint_lesions
from tfrecords_tools.phantom.head.story import Cause, sample_story
from tfrecords_tools.phantom.random_fields import SCALES

LAYERS = 4  # of a slice, over which a hemorrhage is averaged
SMALLEST_AREA, LARGEST_AREA = 80.0, 2500.0  # mm² in a slice; target areas are log-uniform
DRAWS = 6  # lesions per try; the one nearest to the target area is used
TRIES = 10  # before a place is given up
ROUGH_STEP = 4.0  # mm²; pixels of this size suffice to find the slice of the target area

Part = TypeVar("Part", Tissue, Brain, Dura)


class ImplantError(InputError):
    """A head in which no hemorrhage finds a place."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A measured head, into which hemorrhages can be set.

    Attributes:
        series: the slices.
        fit: where the head lies in them.
        layers: by slice, its pixels in the head, and the tissue there.
    """

    series: Series
    fit: Fit
    layers: tuple[tuple[Points, Tissue], ...]


@dataclass(frozen=True, eq=False)
class Implant:
    """A slice with a hemorrhage.

    Attributes:
        number: index of the slice in the series.
        subtype: of the hemorrhage.
        hu: float32, shape (rows, columns).
        share: of the hemorrhage in each pixel, 0..1; likewise.
    """

    number: int
    subtype: str
    hu: Array
    share: Array

    @property
    def mask(self) -> np.ndarray:
        """Pixels that count as hemorrhage; bool, shape (rows, columns)."""
        return self.share > 0.5


def survey(series: Series, seed: int = 0) -> Ground:
    """Measures a head, so that hemorrhages can be set into it.

    Args:
        series: of a head without hemorrhage.
        seed: of the phantom heads that it is compared with.

    Raises:
        SeriesError: if no slice shows a closed vault.
    """
    masks = intracranial(series)
    fit = fit_head(series, masks, seed)
    return Ground(series, fit, tuple(tissues(series, masks, fit)))


def implants(ground: Ground, places: int, seed: int = 0) -> Iterator[Implant]:
    """Sets hemorrhages into single slices, one subtype after another.

    The target area lies between SMALLEST_AREA and LARGEST_AREA. Of several lesions in all slices,
    the one of the nearest area is used: a small one is as often the end of a large hemorrhage as a
    small hemorrhage.

    Args:
        ground: from `survey`.
        places: number of hemorrhages; more leave the earlier ones unchanged.
        seed: of all random numbers.

    Raises:
        ImplantError: if hemorrhages of a subtype find no place in the head.
    """
    for place in range(places):
        subtype = SUBTYPES[place % len(SUBTYPES)]
        yield _implant(ground, subtype, np.random.default_rng([seed, place]))


def _implant(ground: Ground, subtype: str, rng: np.random.Generator) -> Implant:
    random = {name: _field(rng, SCALES[name]) for name in ("texture", "grain")}
    for _ in range(TRIES):
        target = float(rng.uniform(np.log(SMALLEST_AREA), np.log(LARGEST_AREA)))
        drawn = [_draw(rng, ground, subtype) for _ in range(DRAWS)]
        areas = np.array([_rough_areas(ground, lesion, random) for lesion in drawn])
        off = np.abs(np.log(np.maximum(areas, 1.0)) - target)
        best, number = (int(place) for place in np.unravel_index(off.argmin(), off.shape))
        implant = _set_in(ground, drawn[best], subtype, random, number)
        if implant.mask.sum() * ground.series.pixel**2 >= SMALLEST_AREA:
            return implant
    raise ImplantError(f"{subtype}: none of {TRIES * DRAWS} hemorrhages found a place in this head")


def _draw(rng: np.random.Generator, ground: Ground, subtype: str) -> Lesion:
    """A lesion after a blow, or, of subtypes that disease causes too, of disease."""
    cause: Cause = "trauma" if subtype == "epidural" or rng.random() < 0.5 else "disease"
    head = ground.fit.head
    return sample_lesions(rng, head, (subtype,), sample_story(rng, cause, head.age))[0]


def _set_in(
    ground: Ground, lesion: Lesion, subtype: str, random: dict[str, Array], number: int
) -> Implant:
    points, tissue = ground.layers[number]
    change, share = np.zeros((2, *points.shape), np.float32)
    across = ground.fit.turn @ ground.series.normal * ground.series.thickness[number]
    for layer in range(LAYERS):
        moved = replace(points, origin=points.origin + across * ((layer + 0.5) / LAYERS - 0.5))
        hu, masks = paint_lesions((lesion,), _with_fields(moved, random), tissue)
        change += (hu - tissue.hu) / LAYERS
        share += masks[subtype] / LAYERS
    return Implant(number, subtype, ground.series.hu[number] + change, share)


def _rough_areas(ground: Ground, lesion: Lesion, random: dict[str, Array]) -> list[float]:
    """The approximate area of a hemorrhage in each slice, mm²."""
    step = max(int(np.sqrt(ROUGH_STEP) / ground.series.pixel), 1)
    areas = []
    for points, tissue in ground.layers:
        few = replace(
            points,
            down=points.down * step,
            along=points.along * step,
            shape=points.folds[::step, ::step].shape,
            folds=points.folds[::step, ::step],
        )
        masked = lesion.mask(_with_fields(few, random), _thinned(tissue, step))
        count = 0 if masked is None else np.count_nonzero(masked[1] > 0.5)
        areas.append(count * (step * ground.series.pixel) ** 2)
    return areas


def _thinned(part: Part, step: int) -> Part:
    """Every `step`-th pixel of all arrays of a tissue."""
    changes: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        thin = value[::step, ::step] if isinstance(value, np.ndarray) else _thinned(value, step)
        changes[field.name] = thin
    return replace(part, **changes)


def _with_fields(points: Points, random: dict[str, Array]) -> Points:
    def sampled(field: Array) -> Array:
        return points.smooth(lambda x, y, z: grid.sample(field, np.stack([x, y, z], axis=-1)))

    return replace(points, texture=sampled(random["texture"]), grain=sampled(random["grain"]))


def _field(rng: np.random.Generator, scale: float) -> Array:
    """A random field of unit variance on the grid, smooth over `scale` mm."""
    white = rng.standard_normal(grid.SHAPE, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, scale / grid.STEP, mode="nearest")
    return smooth / smooth.std()

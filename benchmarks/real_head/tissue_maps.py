"""The tissue of a real head, measured in its slices: what is known of a phantom head."""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from benchmarks.real_head import grid
from benchmarks.real_head.fit import Fit
from benchmarks.real_head.series import Series
from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.brain import Brain
from tfrecords_tools.phantom.head.csf import CSF
from tfrecords_tools.phantom.head.geometry import Array, Points
from tfrecords_tools.phantom.head.shapes import inside

NO_BONE_HU = 60.0  # limit for tissue beside bone; the excess is partial volume of the bone
LOCAL = 1.5  # mm, deviation of the filter that estimates local HU
EDGES = 2.5  # deviations of the noise; larger differences are edges of a tissue
PASSES = 2  # leave a twentieth of the noise of homogeneous tissue in the local HU; one, a quarter
CSF_LIMIT = 0.35  # of the way from CSF to brain; old infarcts and white matter reach about 0.4
CSF_RAMP = 8.0  # HU from pure CSF to none, around that limit
CONTRAST = 18.0  # HU; CSF is darker than brain by this at least, at whatever level both are
PURE = 0.05  # quantile of the pixels near the phantom's ventricles that is pure CSF
CORE = 2.0  # mm, deviation; HU are averaged over it to tell a ventricle from an old infarct
CORE_LIMIT = 0.2  # of a ventricle, so averaged; of the way from CSF to brain
GREY_RAMP, DURA_HU = (
    8.0,
    48.0,
)  # HU; dura is denser than grey matter
SULCUS = 8.0  # mm; wider dark areas are white matter, infarcts or ventricles
SULCUS_HU = (
    5.0,
    12.0,
)  # darker than its surroundings: not a sulcus, a whole sulcus
SULCUS_NOISE = 2.5  # times the same difference caused by noise, if that is larger
SULCUS_AREA = 20.0  # mm²; smaller areas are noise
CORTEX = 24.0  # mm; depth that sulci reach in the brain
BLOOD_WIDER = 0.8  # mm, deviation; by which blood in sulci looks wider than the sulci
FAR = 60.0  # pixels
NEAR_MODEL = 14.0  # mm; largest distance of a head's ventricles and cisterns from the phantom's


def tissues(series: Series, masks: np.ndarray, fit: Fit) -> Iterator[tuple[Points, Tissue]]:
    """The pixels of each slice in the head, and the tissue there.

    HU separate brain from CSF. A cavity belongs to the ventricles or to the cisterns, depending on
    which of those of the fitted phantom most of it is nearer to; inner table and skull base are
    separated likewise. Midline and tentorium are those of the fitted phantom.

    Args:
        series: of the head.
        masks: its intracranial space; bool, shape (slices, rows, columns).
        fit: pose of the head.
    """
    volumes = _volumes(series, masks, fit)
    smooth = np.stack([smoothed(hu, series.pixel) for hu in series.hu])
    brain_hu = float(np.median(smooth[masks]))
    slices = [fit.points(series, number) for number in range(len(masks))]
    near_ventricles = [_sampled(volumes[2], points) for points in slices]
    csf_hu = min(_csf_hu(smooth, masks, near_ventricles), brain_hu - CONTRAST)
    for number, (mask, points) in enumerate(zip(masks, slices, strict=True)):
        depth, table, apart, near_cistern = (_sampled(values, points) for values in volumes)
        within = inside(_signed(mask) * series.pixel, series.pixel)
        hu = np.minimum(smooth[number], NO_BONE_HU)
        to_brain = (hu - csf_hu) / (brain_hu - csf_hu)
        csf = inside(CSF_LIMIT - to_brain, CSF_RAMP / (brain_hu - csf_hu)) * within
        ventricles, cisterns = _cavities(csf, to_brain, apart, series.pixel)
        outer = cisterns * inside(np.maximum(CORTEX - depth, near_cistern), 4.0)
        sulci, near_sulci = _sulci(hu, outer, depth, within, series.pixel)
        dura = anatomy.render(fit.head, points, points, 0.0).brain.dura
        grey, dense = inside(hu - brain_hu, GREY_RAMP), inside(hu - DURA_HU, GREY_RAMP)
        hu = np.minimum(smoothed(series.hu[number], series.pixel, PASSES), NO_BONE_HU)
        brain = Brain(hu, ventricles, sulci, near_sulci, grey, dense, dura)
        yield points, Tissue(hu, depth, table, within, points.edge(table), brain)


def smoothed(hu: Array, pixel: float, passes: int = 1) -> Array:
    """The local HU of soft tissue: a bilateral filter removes noise and keeps edges.

    Args:
        hu: of a slice.
        pixel: mm.
        passes: of the filter. One shows thin sulci best; more leave less noise.
    """
    soft = np.clip(hu, -100, 200)
    noise = soft - cv2.medianBlur(soft, 5)
    brain = (soft > 0) & (soft < NO_BONE_HU)
    # By the mean, since the median of whole HU is a whole HU.
    deviation = 1.25 * float(np.mean(np.abs(noise[brain]))) if brain.any() else 1.0
    for _ in range(passes):
        soft = cv2.bilateralFilter(soft, -1, EDGES * max(deviation, 1.0), LOCAL / pixel)
    return soft


def _depths(series: Series, masks: np.ndarray, fit: Fit) -> tuple[Array, Array]:
    """Depth in the intracranial space, and inside the inner table alone, on the grid; mm.

    Between slices, the space is interpolated by its shape (Raya and Udupa 1990).
    """
    signed = np.stack([_signed(mask) for mask in masks])
    places = fit.to_scanner(grid.places())
    heights, slices = series.origins @ series.normal, np.arange(len(series.origins))
    number = np.interp(places @ series.normal, heights, slices)
    corner = np.stack([np.interp(number, slices, v) for v in series.origins.T], axis=-1)
    row, column = ((places - corner) @ way / series.pixel**2 for way in (series.down, series.along))
    space = ndimage.map_coordinates(signed, [number, row, column], order=1, cval=-99) > 0
    vault = ~space & (fit.model.table < fit.model.depth + 1)  # else the skull base is nearer
    # The surface lies between the points of the grid that it parts.
    half = grid.STEP / 2
    depth = np.where(space, _distance_to(~space) - half, half - _distance_to(space))
    return depth, _distance_to(vault) - half


def _volumes(series: Series, masks: np.ndarray, fit: Fit) -> tuple[Array, ...]:
    """On the grid, mm: depth, depth inside the inner table alone, and nearness of the cavities.

    The third is positive near ventricles, the fourth near cisterns.
    """
    depth, table = _depths(series, masks, fit)
    ventricle = _distance_to(fit.model.ventricles > 0.5)
    cistern = _distance_to(fit.model.cisterns > 0.5)
    apart = np.minimum(NEAR_MODEL, cistern) - ventricle
    return depth, table, apart, NEAR_MODEL - cistern


def _csf_hu(smooth: Array, masks: np.ndarray, apart: list[Array]) -> float:
    """HU of the head's CSF, or of something denser if no ventricle is open."""
    pixels = [hu[mask & (near > 0)] for hu, mask, near in zip(smooth, masks, apart, strict=True)]
    every = np.concatenate(pixels)
    return float(np.quantile(every, PURE)) if every.size else CSF


def _cavities(csf: Array, to_brain: Array, apart: Array, pixel: float) -> tuple[Array, Array]:
    """CSF in ventricles, and in cisterns and wide sulci, 0..1; each cavity is one or the other.

    A cavity without pure CSF is an old infarct, or a sulcus thinner than the slice.
    """
    parts, count = ndimage.label(csf > 0.5)
    numbers = np.arange(1, count + 1)
    core = cv2.GaussianBlur(to_brain, (0, 0), CORE / pixel) < CORE_LIMIT
    pure = np.asarray(ndimage.maximum(core, parts, numbers)) > 0
    near = np.asarray(ndimage.mean(apart > 0, parts, numbers)) > 0.5
    ventricles = _with_edge(np.isin(parts, numbers[pure & near]))
    every = _with_edge(np.isin(parts, numbers[pure]))
    return csf * ventricles, csf * (every & ~ventricles)


def _with_edge(mask: np.ndarray) -> np.ndarray:
    """A mask, grown by the one pixel over which its edge fades."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _sulci(hu: Array, csf: Array, depth: Array, within: Array, pixel: float) -> tuple[Array, Array]:
    """Outer CSF, also in sulci thinner than the slice; and the same as wide as blood appears."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(SULCUS / pixel / 2) + 1,) * 2)
    darker = cv2.morphologyEx(hu, cv2.MORPH_BLACKHAT, disc)
    usual = float(np.median(darker[within > 0.5])) if (within > 0.5).any() else 0.0
    none, all_ = np.array(SULCUS_HU) + max(SULCUS_NOISE * usual - SULCUS_HU[0], 0)
    thin = np.clip((darker - none) / (all_ - none), 0, 1)
    sulci = np.maximum(csf, thin * inside(CORTEX - depth, 4.0) * within)
    sulci *= _large(sulci > 0.3, SULCUS_AREA / pixel**2)
    wide = cv2.GaussianBlur(sulci, (0, 0), BLOOD_WIDER / pixel)
    return sulci, np.maximum(sulci, np.clip(1.6 * wide, 0, 1)) * within


def _large(mask: np.ndarray, pixels: float) -> np.ndarray:
    """The connected parts of a mask that have at least so many pixels."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return sizes[parts] >= pixels


def _sampled(values: Array, points: Points) -> Array:
    return points.smooth(lambda *xyz: grid.sample(values, np.stack(xyz, axis=-1)))


def _distance_to(mask: np.ndarray) -> Array:
    """Distance to a mask on the grid, mm."""
    return ndimage.distance_transform_edt(~mask, grid.STEP).astype(np.float32)


def _signed(mask: np.ndarray) -> Array:
    """Distance in pixels inside the outline of a mask, negative outside, at most FAR."""
    inner, outer = (
        cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for m in (mask, ~mask)
    )
    return np.clip(np.where(mask, inner - 0.5, 0.5 - outer), -FAR, FAR)

"""Measurements by which two head series can be compared: HU, and the texture of the noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.cluster.vq import kmeans2

from benchmarks.real_head.series import Series
from benchmarks.real_head.tissue_maps import PASSES, smoothed
from tfrecords_tools.phantom.head.geometry import Array

RIM = 8.0  # mm; closer to bone, its partial volume matters
PATCH = 16.0  # mm; edge of a patch of homogeneous tissue
PATCHES = 40  # the most homogeneous ones of a series
FREQUENCIES = np.arange(0.075, 1.0, 0.05)  # 1/mm, middles of the bins
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TISSUES = {
    "csf": 0.02,
    "white": 0.4,
    "grey": 0.8,
}  # quantile to start the search at
SOFT_HU = (-5.0, 55.0)  # of these three; outside are calcium, blood in the sinuses, and air
ABOVE_VENTRICLES = (28.0, 52.0)  # mm below the top of the intracranial space
CORTEX, CENTRE = (3.0, 14.0), 0.62  # mm inside the bone; share of the greatest such depth
EVERY = 10  # one of so many pixels suffices to tell them apart


@dataclass(frozen=True, eq=False)
class Likeness:
    """Measurements of a series.

    Attributes:
        interior: HU of the pixels within the skull, away from its bone; float32, shape (n,).
        tissues: HU of each of TISSUES: medians of three classes of the smoothed interior.
        cortex_above_centre: HU by which the rim of the slices above the ventricles, cortex with its
            sulci, is denser than their centre, most of which is white matter.
        noise: standard deviation in patches of homogeneous tissue, HU.
        power: noise power, HU² mm², at FREQUENCIES; NaN above the Nyquist frequency.
    """

    interior: Array
    tissues: dict[str, float]
    cortex_above_centre: float
    noise: float
    power: np.ndarray

    def summary(self) -> dict[str, float]:
        """The same in a few numbers: quantiles in HU, noise in HU, frequencies in 1/mm."""
        values = np.quantile(self.interior, QUANTILES)
        summary = {f"hu_p{100 * q:.0f}": float(v) for q, v in zip(QUANTILES, values, strict=True)}
        summary |= {f"{name}_hu": value for name, value in self.tissues.items()}
        summary["cortex_above_centre_hu"] = self.cortex_above_centre
        known = ~np.isnan(self.power)
        weight = self.power[known] * FREQUENCIES[known]  # of a ring in the plane of frequencies
        summary["noise_hu"] = self.noise
        summary["peak_frequency"] = float(FREQUENCIES[np.nanargmax(self.power)])
        summary["mean_frequency"] = float(np.average(FREQUENCIES[known], weights=weight))
        return summary


def measure(series: Series, masks: np.ndarray) -> Likeness:
    """Measures a series.

    Args:
        series: of a head.
        masks: its intracranial space; bool, shape (slices, rows, columns).
    """
    interior = [_eroded(mask, RIM / series.pixel) for mask in masks]
    patches = _even_patches(series, interior)
    return Likeness(
        interior=np.concatenate([hu[mask] for hu, mask in zip(series.hu, interior, strict=True)]),
        tissues=_tissue_hu(series, interior),
        cortex_above_centre=_cortex_above_centre(series, masks),
        noise=float(np.sqrt(np.mean([patch.var() for patch in patches]))),
        power=noise_power(patches, series.pixel),
    )


def noise_power(patches: np.ndarray, pixel: float) -> np.ndarray:
    """The noise power spectrum, averaged over patches and directions (ICRU report 87, 2012).

    Args:
        patches: float, shape (patches, n, n), HU with mean 0.
        pixel: mm.

    Returns:
        float64, HU² mm², at FREQUENCIES; NaN where no frequency of the patches falls.
    """
    edge = patches.shape[-1]
    spectra = np.abs(np.fft.fft2(patches)) ** 2 * (pixel / edge) ** 2
    along = np.fft.fftfreq(edge, pixel)
    frequency = np.hypot(along[:, None], along)
    nyquist = 0.5 / pixel
    step = FREQUENCIES[1] - FREQUENCIES[0]
    mean = spectra.mean(axis=0)
    power = np.full(len(FREQUENCIES), np.nan)
    for number, middle in enumerate(FREQUENCIES):
        ring = (np.abs(frequency - middle) <= step / 2) & (frequency > 0) & (frequency <= nyquist)
        if ring.any():
            power[number] = mean[ring].mean()
    return power


def _tissue_hu(series: Series, interior: list[np.ndarray]) -> dict[str, float]:
    """HU of three classes by k-means, since the true tissues of a real head are unknown."""
    smooth = np.concatenate(
        [
            smoothed(hu, series.pixel, PASSES)[mask]
            for hu, mask in zip(series.hu, interior, strict=True)
        ]
    )
    low, high = SOFT_HU
    soft = smooth[(smooth > low) & (smooth < high)][::EVERY].astype(float)
    _, number = kmeans2(soft, np.quantile(soft, list(TISSUES.values())), minit="matrix")
    return {name: float(np.median(soft[number == k])) for k, name in enumerate(TISSUES)}


def _cortex_above_centre(series: Series, masks: np.ndarray) -> float:
    """The mean over the slices at the levels ABOVE_VENTRICLES; NaN if there are none."""
    heights = series.origins @ series.normal
    below = heights[masks.any(axis=(1, 2))].max() - heights
    differences = []
    for number in np.flatnonzero((below > ABOVE_VENTRICLES[0]) & (below < ABOVE_VENTRICLES[1])):
        depth = _depth(masks[number]) * series.pixel
        hu = cv2.GaussianBlur(np.clip(series.hu[number], -20, 100), (0, 0), 2.0 / series.pixel)
        rim, centre = (depth > CORTEX[0]) & (depth < CORTEX[1]), depth > CENTRE * depth.max()
        differences.append(np.median(hu[rim]) - np.median(hu[centre]))
    return float(np.mean(differences)) if differences else np.nan


def _even_patches(series: Series, interior: list[np.ndarray]) -> np.ndarray:
    """The most homogeneous patches, without their trend; float, shape (patches, n, n)."""
    edge = max(round(PATCH / series.pixel), 8)
    patches = []
    for hu, mask in zip(series.hu, interior, strict=True):
        smooth = cv2.GaussianBlur(hu, (0, 0), 1.5 / series.pixel)
        for row in range(0, hu.shape[0] - edge, edge):
            for column in range(0, hu.shape[1] - edge, edge):
                at = (slice(row, row + edge), slice(column, column + edge))
                if mask[at].all():
                    patches.append((float(smooth[at].std()), hu[at]))
    even = sorted(patches, key=lambda pair: pair[0])[:PATCHES]
    return np.stack([_without_trend(patch) for _, patch in even])


def _without_trend(patch: np.ndarray) -> np.ndarray:
    """A patch minus the paraboloid that fits it best, since tissue and cupping are not noise."""
    along = np.linspace(-1, 1, len(patch))
    x, y = (axis.ravel() for axis in np.meshgrid(along, along))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = patch.ravel().astype(float)
    fitted = terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return (values - fitted).reshape(patch.shape)


def _eroded(mask: np.ndarray, pixels: float) -> np.ndarray:
    return _depth(mask) > pixels


def _depth(mask: np.ndarray) -> np.ndarray:
    """The distance from the edge of a mask, pixels."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

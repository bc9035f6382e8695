"""The X-ray beam: its spectrum, and how water, bone and metal attenuate it."""

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array

REFERENCE = 200.0  # mm of water that noise is stated for
DARKEST = 2e-4  # of the beam: the least that a detector tells from its own noise

# A 120 kV spectrum behind 7 mm of aluminium, weighted by energy, as detectors do.
SPECTRUM = np.array([0.10, 0.20, 0.28, 0.28, 0.14])  # at 40, 50, 60, 80, 100 keV
# Attenuation in 1/mm: mass attenuation times density, from Hubbell and Seltzer, NISTIR 5632;
# bone is cortical bone of ICRU report 44, metal is titanium.
WATER = np.array([0.2683, 0.2269, 0.2059, 0.1837, 0.1707]) * 0.1
BONE = np.array([0.6655, 0.4242, 0.3148, 0.2229, 0.1855]) * 0.1920
METAL = np.array([2.214, 1.213, 0.7661, 0.4052, 0.2721]) * 0.4506


def transmission(lengths: Array) -> Array:
    """The share of the beam that passes, shape (slices, views, channels).

    Args:
        lengths: of water, bone and metal, HU / 1000 times mm; shape (slices, 3, views, channels).
    """
    water, bone, metal = np.moveaxis(lengths, 1, 0)
    passed = np.zeros_like(water)
    for weight, *per_mm in zip(SPECTRUM.tolist(), *_coefficients(), strict=True):
        of_water, of_bone, of_metal = (float(value) for value in per_mm)
        passed += weight * np.exp(-of_water * water - of_bone * bone - of_metal * metal)
    return np.maximum(passed, DARKEST)


def through_water(lengths: np.ndarray | float) -> np.ndarray:
    """The share of the beam that passes so many mm of water."""
    return np.exp(-np.multiply.outer(lengths, WATER)) @ SPECTRUM


def water_length(passed: Array) -> Array:
    """The water correction: mm of water that transmit the same share of the beam; float32."""
    lengths = np.linspace(0, 700, 1401)
    attenuation = -np.log(through_water(lengths))
    return np.interp(-np.log(passed), attenuation, lengths).astype(np.float32)


def scatter_error(passed: Array, share: float) -> Array:
    """By how many mm of water a ray seems shorter that scattered rays brighten.

    Args:
        passed: share of the beam that passes.
        share: scattered rays relative to the beam behind REFERENCE mm of water.
    """
    here, further = through_water(np.array([REFERENCE, REFERENCE + 1]))
    per_mm = np.log(here / further)
    brighter = np.maximum(share * here / passed, -0.9)
    return np.float32(-1 / per_mm) * np.log1p(brighter, dtype=np.float32)


def _coefficients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attenuation of water, bone and metal per HU / 1000, by energy, 1/mm.

    Bone and metal displace water. Their HU are those that a scanner shows, so their attenuation is
    scaled to be right in the middle of a head, where the beam has lost its low energies.
    """
    hardened = SPECTRUM * np.exp(-WATER * REFERENCE * 0.8)
    water, bone, metal = ((hardened @ x) for x in (WATER, BONE - WATER, METAL - WATER))
    return WATER, (BONE - WATER) * water / bone, (METAL - WATER) * water / metal

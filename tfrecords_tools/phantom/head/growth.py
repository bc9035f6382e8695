"""How heads change from birth to old age."""

import numpy as np

ADULT = 18.0  # years
SWOLLEN = 0.04  # share of the patients whose brain is diffusely swollen
INFANTS, CHILDREN = 0.07, 0.13  # shares of the patients below 2 and below 18 years

# Head circumference relative to an adult's; years (WHO 2007, CDC 2000, Rollins et al. 2010).
_YEARS = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 18.0)
_CIRCUMFERENCE = (0.62, 0.72, 0.78, 0.83, 0.865, 0.91, 0.95, 1.0)


def sample_age(rng: np.random.Generator) -> float:
    """Years. Adults as in hospitals, mostly over 50; children more often than in the RSNA set."""
    group = rng.random()
    if group < INFANTS:
        return float(rng.uniform(0, 2))
    if group < INFANTS + CHILDREN:
        return float(rng.uniform(2, ADULT))
    return float(ADULT + (90 - ADULT) * rng.beta(1.7, 1.4))


def size(age: float) -> tuple[float, float, float]:
    """Mean size relative to an adult in x, y, z; the vault of infants is also lower."""
    share = float(np.interp(age, _YEARS, _CIRCUMFERENCE))
    return share, share, share**1.15


def skull_growth(age: float) -> float:
    """Thickness of the vault relative to an adult's (Li et al. 2015, PLoS ONE 10:e0127322)."""
    return float(np.interp(age, (0, 1, 2, 5, 10, 18), (0.28, 0.38, 0.45, 0.6, 0.8, 1)))


def cortical_hu(age: float) -> float:
    """HU of compact bone, which is woven and less mineralised in infants."""
    return float(np.interp(age, (0, 1, 4, 18), (650, 900, 1150, 1300)))


def sample_suture(rng: np.random.Generator, age: float) -> float:
    """Half the width in mm of the sutures: open in infants, a line later."""
    return float(rng.uniform(0.7, 2.5) * max(0.0, 1 - age / 1.2))


def sample_fontanelle(rng: np.random.Generator, age: float) -> float:
    """Half the diagonal in mm of the anterior fontanelle, which closes in the second year."""
    return float(rng.uniform(10, 22) * max(0.0, 1 - age / rng.uniform(0.8, 2)))


def sample_pneumatization(rng: np.random.Generator, age: float) -> float:
    """0 (none) to 1; mastoid and paranasal cells fill with air up to puberty."""
    return float(rng.uniform(0.2, 1.0) * min(1.0, age / 13))


def sample_contrast(rng: np.random.Generator, age: float) -> tuple[float, float]:
    """HU of white matter relative to an adult's mean, and of grey above white matter.

    White matter of infants holds more water until it is myelinated (Barkovich 2000, AJNR 21:1099).
    """
    young = max(0.0, 1 - age / 1.5)
    return rng.normal(1.5, 3) - 6 * young, float(np.clip(rng.normal(11.5, 2.5), 4, 16) - 2 * young)


def sample_fullness(rng: np.random.Generator, age: float) -> float:
    """How far the brain fills the skull: 0, CSF as wide as in the middle-aged; 1, no sulcus seen.

    Brains of children and young adults are full, and at any age a few are swollen.
    """
    if rng.random() < SWOLLEN:
        return float(rng.uniform(0.7, 1))
    young = np.interp(age, (0, 1.5, 3, 20, 50), (0.2, 0.3, 0.8, 0.75, 0.1))
    return float(rng.beta(4 * young + 0.3, 4 * (1 - young) + 0.3))


def sample_frontal_space(rng: np.random.Generator, age: float) -> float:
    """Width of the CSF over the frontal lobes, mm (Libicher and Troeger 1992, Radiology 184)."""
    young = float(np.interp(age, (0, 0.4, 1, 2, 3), (0.4, 1, 0.8, 0.3, 0)))
    return float(young * rng.uniform(0, 6))


def sample_atrophy(rng: np.random.Generator, age: float) -> float:
    """0 up to 20 years; from there on brains shrink, each at its own rate."""
    mean = 0.85 * max(0.0, (age - 20) / 70) ** 1.3
    return float(np.clip(mean * np.exp(rng.normal(0, 0.45)), 0, 1))

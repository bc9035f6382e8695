"""How heads change from birth to old age."""

import numpy as np

ADULT = 18.0  # years
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


def sample_atrophy(rng: np.random.Generator, age: float) -> float:
    """0 up to 20 years; from there on brains shrink, each at its own rate."""
    mean = 0.85 * max(0.0, (age - 20) / 70) ** 1.3
    return float(np.clip(mean * np.exp(rng.normal(0, 0.45)), 0, 1))

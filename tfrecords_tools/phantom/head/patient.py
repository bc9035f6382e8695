"""A patient: the few dozen numbers that distinguish one made-up head from another."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.findings import Finding, sample_findings

MEAN_AXES = (77.0, 95.0, 98.0)  # mm; half axes of the head in x, y, z
AXES_SPREAD = (3.5, 4.5, 4.0)


@dataclass(frozen=True)
class Swelling:
    """A bruise of the scalp: outside the skull, and no bleeding in the sense of the labels.

    Attributes:
        towards: unit vector from the origin.
        extent: degrees about it.
        thickness: mm at its middle.
        hu: of oedema to blood.
    """

    towards: tuple[float, float, float]
    extent: float
    thickness: float
    hu: float


@dataclass(frozen=True)
class Head:
    """What distinguishes one patient's head. Lengths are in mm of the mean head.

    Attributes:
        size: of the head, as shares of the mean in x, y, z.
        squareness: exponent of the superellipsoid; 2 is an ellipsoid.
        taper: share by which the back is wider, and the front narrower.
        asymmetry: share by which the left half is wider.
        scalp: thickness of the scalp; half of it and more is fat.
        temporal: thickness of the temporal muscle.
        swelling: of the scalp; None in most.
        skull: thickness of the vault.
        diploe_hu: of the spongy bone between the tables.
        atrophy: 0 (young) to 1 (old): wider ventricles, sulci and outer CSF.
        ventricles: scale of the left and the right ventricle.
        brain_offset: HU added to all brain.
        contrast: HU between grey and white matter.
        leukoaraiosis: HU that old white matter loses about the ventricles.
        sinus_hu: blood in the dural sinuses.
        falx_hu: falx and tentorium.
        falx_bend: mm by which the falx bows to the left.
        pneumatization: 0 to 1, how far air fills mastoid, frontal and sphenoid cells.
        base: mm by which the floor of the skull is raised.
        has_base: whether the skull has a base, and a face before it; every real one has.
        findings: what is neither healthy nor bleeding.
    """

    size: tuple[float, float, float]
    squareness: float
    taper: float
    asymmetry: float
    scalp: float
    temporal: float
    swelling: Swelling | None
    skull: float
    diploe_hu: float
    atrophy: float
    ventricles: tuple[float, float]
    brain_offset: float
    contrast: float
    leukoaraiosis: float
    sinus_hu: float
    falx_hu: float
    falx_bend: float
    pneumatization: float
    base: float
    has_base: bool
    findings: tuple[Finding, ...]


def sample_head(rng: np.random.Generator) -> Head:
    """Draws a patient: means and spreads of adults, from the atlases of cranial CT."""
    atrophy = float(rng.beta(1.5, 2.0))
    left, right = 0.82 + 0.75 * atrophy + rng.normal(0, 0.05) + rng.normal(0, 0.05, 2)
    x, y, z = (
        float(1 + rng.normal(0, spread) / mean)
        for mean, spread in zip(MEAN_AXES, AXES_SPREAD, strict=True)
    )
    return Head(
        size=(x, y, z),
        squareness=float(rng.uniform(2.05, 2.5)),
        taper=float(rng.uniform(0.0, 0.16)),
        asymmetry=float(rng.normal(0, 0.015)),
        scalp=float(rng.uniform(3.0, 8.0)),
        temporal=float(rng.uniform(3, 10)),
        swelling=_sample_swelling(rng) if rng.random() < 0.12 else None,
        skull=float(rng.uniform(4.5, 9.5)),
        diploe_hu=float(rng.uniform(350, 900)),
        atrophy=atrophy,
        ventricles=(float(left), float(right)),
        brain_offset=float(rng.normal(0, 3)),
        contrast=float(rng.uniform(7, 13)),
        leukoaraiosis=float(18 * max(0.0, atrophy - 0.25) * rng.random()),
        sinus_hu=float(rng.normal(54, 6)),
        falx_hu=float(rng.normal(56, 5)),
        falx_bend=float(rng.normal(0, 1.2)),
        pneumatization=float(rng.uniform(0.2, 1.0)),
        base=float(rng.normal(0, 3)),
        has_base=True,
        findings=sample_findings(rng, atrophy),
    )


def _sample_swelling(rng: np.random.Generator) -> Swelling:
    azimuth, elevation = np.radians([rng.uniform(-180, 180), rng.uniform(5, 70)])
    x, y = np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth)
    towards = (float(x), float(y), float(np.sin(elevation)))
    return Swelling(towards, rng.uniform(15, 40), rng.uniform(3, 14), rng.uniform(15, 70))

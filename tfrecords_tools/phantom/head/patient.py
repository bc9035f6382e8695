"""A patient: the few dozen numbers in which one phantom head differs from another."""

from dataclasses import dataclass, replace

import numpy as np

from tfrecords_tools.phantom.head import growth
from tfrecords_tools.phantom.head.affine import Point
from tfrecords_tools.phantom.head.findings import Finding, sample_findings
from tfrecords_tools.phantom.head.geometry import as_point, direction
from tfrecords_tools.phantom.head.skull_base import SkullBase, sample_base

MEAN_AXES = (77.0, 95.0, 98.0)  # mm; half axes of the head in x, y, z
AXES_SPREAD = (3.5, 4.5, 4.0)
HYPEROSTOSIS, CRANIECTOMY = 0.06, 0.02  # shares of the patients over 40, and of all
DISTENDED = 0.9  # scale of the ventricles of a middle-aged brain


@dataclass(frozen=True)
class Cap:
    """A layer around one direction, thickest in the middle.

    Attributes:
        toward: unit vector from the origin.
        extent: its angular radius, degrees.
        thickness: mm at its middle.
        margin: share of the radius over which it becomes thinner; 1 is a dome, less a plateau.
    """

    toward: Point
    extent: float
    thickness: float
    margin: float


@dataclass(frozen=True)
class Swelling:
    """A bruise of the scalp: outside the skull, so none of the labelled hemorrhages.

    Attributes:
        cap: its place.
        hu: from those of oedema to those of blood.
    """

    cap: Cap
    hu: float


@dataclass(frozen=True)
class Head:
    """The parameters of one head. Lengths are in mm of the mean head.

    Attributes:
        age: years, 0 (newborn) to 90.
        size: relative to the mean head, in x, y, z.
        squareness: exponent of the superellipsoid; 2 is an ellipsoid.
        taper: fraction by which the back is wider and the front narrower.
        asymmetry: fraction by which the left half is wider.
        skew: fraction by which the back of the left half is wider and its front narrower.
        scalp: thickness of the scalp, at least half of which is fat.
        temporal: thickness of the temporal muscle.
        skull: thickness of the vault.
        hyperostosis: by which the frontal bone has thickened inward.
        opening: after a craniectomy, as deep as scalp and brain have sunk there, or negative if
            they bulge; None in most heads.
        cortical_hu: HU of compact bone.
        suture: half the width of the sutures; 0 where they have closed to a line.
        fontanelle: half the diagonal of the anterior fontanelle; 0 where it has closed.
        diploe_hu: HU of the spongy bone between the tables.
        atrophy: 0 (young) to 1 (old); widens ventricles, sulci and outer CSF.
        fullness: 0 to 1, how far the brain fills the skull at the expense of CSF.
        frontal_space: width of the CSF over the frontal lobes.
        ventricles: scale of the left and the right ventricle.
        brain_offset: HU added to the whole brain.
        contrast: HU between grey and white matter.
        leukoaraiosis: HU that the white matter around the ventricles has lost.
        sinus_hu: HU of the blood in the dural sinuses.
        falx_hu: HU of falx and tentorium.
        falx_thickness: mm.
        falx_bend: mm by which the falx bows to the left.
        nodule: scale of the nodule of the vermis, which bulges into the fourth ventricle.
        pneumatization: 0 to 1, how far air fills mastoid, frontal and sphenoid cells.
        base: the skull base.
        findings: abnormalities that are no hemorrhage.
        swellings: of the scalp; most heads have none.
        dent: by which a blow has driven in the skull; None in most heads.
        has_base: False only in ablations, which leave out skull base and face.
    """

    age: float
    size: tuple[float, float, float]
    squareness: float
    taper: float
    asymmetry: float
    skew: float
    scalp: float
    temporal: float
    skull: float
    hyperostosis: float
    opening: Cap | None
    cortical_hu: float
    suture: float
    fontanelle: float
    diploe_hu: float
    atrophy: float
    fullness: float
    frontal_space: float
    ventricles: tuple[float, float]
    brain_offset: float
    contrast: float
    leukoaraiosis: float
    sinus_hu: float
    falx_hu: float
    falx_thickness: float
    falx_bend: float
    nodule: float
    pneumatization: float
    base: SkullBase
    findings: tuple[Finding, ...]
    swellings: tuple[Swelling, ...] = ()
    dent: Cap | None = None
    has_base: bool = True


def sample_head(rng: np.random.Generator) -> Head:
    """Draws a patient; means and spreads are those of heads of the same age in atlases of CT."""
    age = growth.sample_age(rng)
    atrophy = growth.sample_atrophy(rng, age)
    fullness = growth.sample_fullness(rng, age)
    ventricles = _sample_ventricles(rng, atrophy, fullness)
    brain_offset, contrast = growth.sample_contrast(rng, age)
    size = _sample_size(rng, age)
    return Head(
        age=age,
        size=size,
        squareness=rng.uniform(2.05, 2.5),
        taper=rng.uniform(0.0, 0.16),
        asymmetry=rng.normal(0, 0.015),
        skew=rng.normal(0, 0.015 if age > 2 else 0.05),
        scalp=rng.uniform(3.0, 8.0),
        temporal=rng.uniform(3, 10),
        skull=rng.uniform(4.5, 9.5) * growth.skull_growth(age) / size[0],
        hyperostosis=rng.uniform(2, 9) if age > 40 and rng.random() < HYPEROSTOSIS else 0.0,
        opening=_sample_opening(rng) if rng.random() < CRANIECTOMY else None,
        cortical_hu=growth.cortical_hu(age),
        suture=growth.sample_suture(rng, age),
        fontanelle=growth.sample_fontanelle(rng, age),
        diploe_hu=rng.uniform(350, 900),
        atrophy=atrophy,
        fullness=fullness,
        frontal_space=growth.sample_frontal_space(rng, age),
        ventricles=ventricles,
        brain_offset=brain_offset,
        contrast=contrast,
        leukoaraiosis=float(18 * max(0.0, atrophy - 0.25) * rng.random()),
        sinus_hu=rng.normal(55 if age > 1 else 60, 7),
        falx_hu=rng.normal(57, 7),
        falx_thickness=float(np.clip(1.3 * np.exp(rng.normal(0, 0.35)), 0.6, 3.0)),
        falx_bend=rng.normal(0, 1.2),
        nodule=rng.uniform(0.2, 1.3),
        pneumatization=growth.sample_pneumatization(rng, age),
        base=sample_base(rng),
        findings=sample_findings(rng, age),
    )


def distended(head: Head) -> Head:
    """The same head with ventricles that blood has filled: none is a slit any more."""
    left, right = (max(scale, DISTENDED) for scale in head.ventricles)
    return replace(head, ventricles=(left, right))


def _sample_size(rng: np.random.Generator, age: float) -> tuple[float, float, float]:
    """Relative to the mean head, in x, y, z."""
    x, y, z = (
        share * float(1 + rng.normal(0, spread) / mean)
        for share, mean, spread in zip(growth.size(age), MEAN_AXES, AXES_SPREAD, strict=True)
    )
    return x, y, z


def _sample_ventricles(
    rng: np.random.Generator, atrophy: float, fullness: float
) -> tuple[float, float]:
    """Scales of the left and the right ventricle, which are alike."""
    wide = (0.85 + 0.8 * atrophy) * (1 - 0.6 * fullness) * np.exp(rng.normal(0, 0.1))
    left, right = (float(wide * np.exp(rng.normal(0, 0.1))) for _ in range(2))
    return left, right


def _sample_opening(rng: np.random.Generator) -> Cap:
    """On one side, as after swelling of a hemisphere, or frontal."""
    azimuth = rng.choice([-1.0, 1.0]) * rng.uniform(20, 110)
    toward = as_point(direction(azimuth, rng.uniform(15, 45)))
    return Cap(toward, rng.uniform(20, 42), rng.uniform(-8, 12), 1.0)

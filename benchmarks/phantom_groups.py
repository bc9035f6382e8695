"""Ablations of the phantom: each leaves out one group of its features.

`benchmarks/ladder.py` trains without each of them in turn, to measure what it is worth.
"""

from dataclasses import replace

import numpy as np

from tfrecords_tools.phantom.head.devices import Devices
from tfrecords_tools.phantom.head.extra_axial import (
    Epidural,
    FalxSubdural,
    Subdural,
    TentorialSubdural,
)
from tfrecords_tools.phantom.head.intra_axial import Intraparenchymal, Subarachnoid
from tfrecords_tools.phantom.head.lesions import Blood, Lesion
from tfrecords_tools.phantom.head.skull_base import SkullBase
from tfrecords_tools.phantom.head.trauma import Wound
from tfrecords_tools.phantom.sampling import Ablation, StudyParameters
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.processing import Processing
from tfrecords_tools.phantom.scanner.surroundings import Surroundings

PLAIN_DURA = 30.0  # HU; of brain
USUAL_FOV, USUAL_THICKNESS, FRESH = 236.0, 5.0, 70.0  # mm, mm, HU
USUAL_CONTRAST = 10.0  # HU
USUAL_BASE = SkullBase(0.0, 0.0, 9.0, 26.0, -29.0, 0.5, 2.0, 10.0, 0.7)
THICK, LARGE, WIDE = 7.0, 9.0, 27.0  # mm; thickness, radius, and extent in sulci
BRAIN_ONLY = (-15.0, 60.0)  # mm; no slice of base, face or vertex
NOTHING_ABOUT = Surroundings("none", 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, False, None, None, ())

AS_MEASURED = Processing(1.0, 0.0, None, None, None)


def _no_base(study: StudyParameters) -> StudyParameters:
    return replace(study, head=replace(study.head, has_base=False))


def _no_low_and_high_slices(study: StudyParameters) -> StudyParameters:
    return replace(study, heights=np.linspace(*BRAIN_ONLY, len(study.heights)))


def _no_look_alikes(study: StudyParameters) -> StudyParameters:
    return replace(study, head=replace(study.head, findings=()))


def _no_full_brains(study: StudyParameters) -> StudyParameters:
    middle_aged = replace(study.head, fullness=0.0, contrast=USUAL_CONTRAST)
    return replace(study, head=middle_aged)


def _no_varied_base(study: StudyParameters) -> StudyParameters:
    return replace(study, head=replace(study.head, base=USUAL_BASE))


def _no_dura(study: StudyParameters) -> StudyParameters:
    return replace(study, head=replace(study.head, sinus_hu=PLAIN_DURA, falx_hu=PLAIN_DURA))


def _no_age_of_blood(study: StudyParameters) -> StudyParameters:
    fresh = tuple(replace(x, blood=Blood(FRESH)) for x in study.lesions)
    return replace(study, lesions=fresh)


def _no_trauma(study: StudyParameters) -> StudyParameters:
    return replace(study, wound=Wound(), head=replace(study.head, swellings=(), dent=None))


def _no_small_hemorrhages(study: StudyParameters) -> StudyParameters:
    return replace(study, lesions=tuple(_enlarged(lesion) for lesion in study.lesions))


def _enlarged(lesion: Lesion) -> Lesion:
    if isinstance(lesion, Epidural | Subdural | FalxSubdural | TentorialSubdural):
        return replace(lesion, thickness=max(lesion.thickness, THICK))
    if isinstance(lesion, Intraparenchymal):
        factor = max(1.0, LARGE / max(lesion.lobes[0].axes))
        return replace(lesion, lobes=tuple(lobe.scaled(factor) for lobe in lesion.lobes))
    if isinstance(lesion, Subarachnoid):
        return replace(lesion, extent=max(lesion.extent, WIDE))
    return lesion


def _no_mass_effect(study: StudyParameters) -> StudyParameters:
    return replace(study, pushes=())


def _no_devices(study: StudyParameters) -> StudyParameters:
    return replace(
        study,
        devices=Devices((), (), None),
        scan=replace(study.scan, surroundings=NOTHING_ABOUT),
    )


def _no_pose(study: StudyParameters) -> StudyParameters:
    straight = replace(
        study.scan, fov=USUAL_FOV, tilt=0.0, angles=(0.0, 0.0, 0.0), shift=(0.0, 0.0)
    )
    usual = np.full_like(study.thickness, USUAL_THICKNESS)
    return replace(study, scan=straight, thickness=usual)


def _no_projection(study: StudyParameters) -> StudyParameters:
    exact = replace(
        study.scan, hardening=0.0, scatter=0.0, drift=(0.0, 0.0), motion=None, helix=None, rings=()
    )
    return replace(study, scan=exact)


def _plain_kernel(study: StudyParameters) -> StudyParameters:
    """Noise keeps its strength."""
    plain = Kernel(study.scan.kernel.blur, 0.0, 0.0, 0.0)
    return replace(study, scan=replace(study.scan, kernel=plain))


def _no_processing(study: StudyParameters) -> StudyParameters:
    return replace(study, scan=replace(study.scan, processing=AS_MEASURED))


GROUPS: dict[str, Ablation] = {
    "skull base and face": _no_base,
    "look-alikes": _no_look_alikes,
    "beam hardening, motion, rings": _no_projection,
    "tails, edge enhancement, denoising": _plain_kernel,
    "calibration, resampling, loss": _no_processing,
    "lowest and highest slices": _no_low_and_high_slices,
    "pose, field of view, thickness": _no_pose,
    "age of blood": _no_age_of_blood,
    "devices and surroundings": _no_devices,
    "full brains of low contrast": _no_full_brains,
    "skull bases that differ": _no_varied_base,
    "dense dura and sinuses": _no_dura,
    "mass effect": _no_mass_effect,
    "bruises, fractures, air": _no_trauma,
    "small and thin hemorrhages": _no_small_hemorrhages,
}

"""Ablations of the phantom: each leaves out one group of its features.

`benchmarks/ladder.py` trains without each of them in turn, to measure what it is worth.
"""

from dataclasses import replace

import numpy as np

from tfrecords_tools.phantom.head.devices import Devices
from tfrecords_tools.phantom.head.lesions import Blood
from tfrecords_tools.phantom.sampling import Ablation, Draw
from tfrecords_tools.phantom.scanner.surroundings import Surroundings

PLAIN_DURA = 30.0  # HU; of brain
USUAL_FOV, USUAL_THICKNESS, FRESH = 236.0, 5.0, 70.0  # mm, mm, HU
BRAIN_ONLY = (-15.0, 60.0)  # mm; no slice of base, face or vertex
NOTHING_ABOUT = Surroundings("none", 0.0, 0.0, 0.0, 0.0, 0.0, False, None, 0.0, ())


def _no_base(drawn: Draw) -> Draw:
    return replace(drawn, head=replace(drawn.head, has_base=False))


def _no_low_and_high_slices(drawn: Draw) -> Draw:
    return replace(drawn, heights=np.linspace(*BRAIN_ONLY, len(drawn.heights)))


def _no_look_alikes(drawn: Draw) -> Draw:
    return replace(drawn, head=replace(drawn.head, findings=()))


def _no_dura(drawn: Draw) -> Draw:
    return replace(drawn, head=replace(drawn.head, sinus_hu=PLAIN_DURA, falx_hu=PLAIN_DURA))


def _no_age_of_blood(drawn: Draw) -> Draw:
    fresh = tuple(replace(x, blood=Blood(FRESH)) for x in drawn.bleedings)
    return replace(drawn, bleedings=fresh)


def _no_mass_effect(drawn: Draw) -> Draw:
    return replace(drawn, pushes=())


def _no_devices(drawn: Draw) -> Draw:
    return replace(
        drawn,
        devices=Devices((), (), None),
        scan=replace(drawn.scan, surroundings=NOTHING_ABOUT),
    )


def _no_pose(drawn: Draw) -> Draw:
    straight = replace(
        drawn.scan, fov=USUAL_FOV, tilt=0.0, angles=(0.0, 0.0, 0.0), shift=(0.0, 0.0)
    )
    usual = np.full_like(drawn.thickness, USUAL_THICKNESS)
    return replace(drawn, scan=straight, thickness=usual)


def _no_projection(drawn: Draw) -> Draw:
    return replace(drawn, scan=replace(drawn.scan, hardening=0.0, motion=None, rings=()))


GROUPS: dict[str, Ablation] = {
    "skull base and face": _no_base,
    "look-alikes": _no_look_alikes,
    "beam hardening, motion, rings": _no_projection,
    "lowest and highest slices": _no_low_and_high_slices,
    "pose, field of view, thickness": _no_pose,
    "age of blood": _no_age_of_blood,
    "devices and surroundings": _no_devices,
    "dense dura and sinuses": _no_dura,
    "mass effect": _no_mass_effect,
}

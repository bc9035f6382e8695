"""All that is drawn for a study before it is rendered: patient, bleedings, scanner, slices."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.cohort import company_of
from tfrecords_tools.phantom.head import lesions
from tfrecords_tools.phantom.head.devices import Devices, sample_devices
from tfrecords_tools.phantom.head.geometry import Push
from tfrecords_tools.phantom.head.lesions import Lesion
from tfrecords_tools.phantom.head.patient import MEAN_AXES, Head, sample_head
from tfrecords_tools.phantom.scanner import acquisition as scanner
from tfrecords_tools.phantom.scanner.acquisition import Scan

BELOW, FAR_BELOW, ABOVE = -58.0, -82.0, 6.0  # mm; foramen magnum, upper jaw, above the vertex
FAR = 0.15  # of the studies begin at the upper jaw
BASE = (-20.0, 25.0)  # mm; between these, a study of mixed thickness goes from thin to thick
DOUBLED_POSITION = 13  # each twentieth patient, counted from here, has two slices at one position


@dataclass(frozen=True, eq=False)
class Draw:
    """What distinguishes one study from another, apart from texture and noise.

    Attributes:
        head: the patient's.
        bleedings: in it.
        pushes: by which they move the brain.
        devices: metal and openings.
        scan: the acquisition.
        heights: of the middles of the slices in the scanner, mm; float64, shape (slices,).
        thickness: of the slices, mm; likewise.
    """

    head: Head
    bleedings: tuple[Lesion, ...]
    pushes: tuple[Push, ...]
    devices: Devices
    scan: Scan
    heights: np.ndarray
    thickness: np.ndarray


Ablation = Callable[[Draw], Draw]  # leaves a part of a study out, to measure what it is worth


def draw(patient: int, *, study: int, slices: int, seed: int) -> Draw:
    """Draws a study of a patient; see `study.make_study` for the numbers."""
    own = np.random.default_rng([seed, 0, patient])
    head = sample_head(own)
    bleedings = lesions.sample_lesions(own, head, company_of(patient, seed))
    devices = sample_devices(np.random.default_rng([seed, 3, patient]), head)
    rng = np.random.default_rng([seed, 2, patient, study])
    scan = scanner.sample_scan(rng, patient)
    doubled = patient % 20 == DOUBLED_POSITION
    heights, thickness = _layers(rng, scan, head, slices, doubled=doubled)
    pushes = lesions.pushes(bleedings)
    return Draw(head, bleedings, pushes, devices, scan, heights, thickness)


def _layers(
    rng: np.random.Generator, scan: Scan, head: Head, slices: int, *, doubled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where the middles of the slices lie, in mm of the scanner's z, and how thick they are.

    Their distances are in proportion to their thickness.
    """
    lowest = (FAR_BELOW if rng.random() < FAR else BELOW) + rng.uniform(-6, 6)
    highest = MEAN_AXES[2] * head.size[2] + ABOVE + rng.uniform(-4, 6)
    change = rng.uniform(*BASE)
    base, above = scan.thickness
    steps = np.array([0, (change - lowest) / base, (highest - change) / above]).cumsum()
    heights = np.interp(np.linspace(0, steps[-1], slices), steps, [lowest, change, highest])
    if doubled and slices > 1:
        heights[slices // 2] = heights[slices // 2 - 1]
    return heights, np.where(heights < change, base, above)

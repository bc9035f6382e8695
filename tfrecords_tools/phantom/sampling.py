"""Draws all parameters of a study before it is rendered: patient, hemorrhages, scanner, slices."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.cohort import sample_cause, subtypes_of
from tfrecords_tools.phantom.head.devices import Devices, sample_devices
from tfrecords_tools.phantom.head.geometry import Push
from tfrecords_tools.phantom.head.lesion_sampling import sample_lesions
from tfrecords_tools.phantom.head.lesions import Lesion, pushes
from tfrecords_tools.phantom.head.patient import MEAN_AXES, Head, distended, sample_head
from tfrecords_tools.phantom.head.story import sample_story
from tfrecords_tools.phantom.head.trauma import Wound, sample_wound
from tfrecords_tools.phantom.scanner.scan import Scan, sample_scan

# Where studies begin, mm, and how many: foramen magnum, upper jaw, upper neck, above the base.
LOWEST, SHARES = (-58.0, -82.0, -100.0, -30.0), (0.76, 0.15, 0.04, 0.05)
ABOVE = 6.0  # mm above the vertex, where studies end
LIMIT = -120.0  # mm; random fields reach little further down
BASE = (-20.0, 25.0)  # mm; between these, a study of mixed thickness changes from thin to thick
DOUBLED_POSITION = 13  # every twentieth patient from this one has two slices at one position


@dataclass(frozen=True, eq=False)
class StudyParameters:
    """All in which one study differs from another, apart from texture and noise.

    Attributes:
        head: of the patient.
        lesions: the hemorrhages.
        wound: fractures, air, fluid and swelling.
        pushes: how hemorrhages and swelling displace the brain.
        devices: metal and openings.
        scan: the acquisition.
        heights: of the middles of the slices in the scanner, mm; float64, shape (slices,).
        thickness: of the slices, mm; likewise.
    """

    head: Head
    lesions: tuple[Lesion, ...]
    wound: Wound
    pushes: tuple[Push, ...]
    devices: Devices
    scan: Scan
    heights: np.ndarray
    thickness: np.ndarray


# Leaves a part out of a study, to measure what the part contributes.
Ablation = Callable[[StudyParameters], StudyParameters]


def sample_study(patient: int, *, study: int, slices: int, seed: int) -> StudyParameters:
    """Draws a study of a patient; see `study.make_study` for the arguments."""
    own = np.random.default_rng([seed, 0, patient])
    head = sample_head(own)
    subtypes = subtypes_of(patient, seed)
    if "intraventricular" in subtypes:
        head = distended(head)
    story = sample_story(own, sample_cause(own, head.age, subtypes), head.age)
    lesions = sample_lesions(own, head, subtypes, story)
    head, wound = sample_wound(own, head, story, subtypes)
    devices = sample_devices(np.random.default_rng([seed, 3, patient]), head, story)
    rng = np.random.default_rng([seed, 2, patient, study])
    scan = sample_scan(rng, patient, (head.size[0] + head.size[1]) / 2)
    doubled = patient % 20 == DOUBLED_POSITION
    heights, thickness = _slice_positions(rng, scan, head, slices, doubled=doubled)
    moved = (*pushes(lesions), *wound.swelling)
    return StudyParameters(head, lesions, wound, moved, devices, scan, heights, thickness)


def _slice_positions(
    rng: np.random.Generator, scan: Scan, head: Head, slices: int, *, doubled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Height of the middle of each slice in the scanner, and its thickness, mm.

    The distances between slices are proportional to their thickness.
    """
    lowest = float(rng.choice(LOWEST, p=SHARES)) * head.size[2] + rng.uniform(-6, 6)
    lowest = max(lowest, LIMIT)
    highest = MEAN_AXES[2] * head.size[2] + ABOVE + rng.uniform(-4, 6)
    change = rng.uniform(*BASE)
    base, above = scan.thickness
    steps = np.array([0, (change - lowest) / base, (highest - change) / above]).cumsum()
    heights = np.interp(np.linspace(0, steps[-1], slices), steps, [lowest, change, highest])
    if doubled and slices > 1:
        heights[slices // 2] = heights[slices // 2 - 1]
    return heights, np.where(heights < change, base, above)

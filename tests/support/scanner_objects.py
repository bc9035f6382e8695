"""Simple objects, and what the phantom's scanner measures of them."""

from dataclasses import replace

import numpy as np

from tfrecords_tools.phantom.scanner import acquisition, measurement
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.measurement import Motion
from tfrecords_tools.phantom.scanner.processing import Processing
from tfrecords_tools.phantom.scanner.projection import CHANNELS
from tfrecords_tools.phantom.scanner.scan import Scan
from tfrecords_tools.phantom.scanner.storage import COMMON
from tfrecords_tools.phantom.scanner.surroundings import Surroundings

CELL = 3.0  # mm
FOV, SIZE = 240.0, 256
NOTHING = Surroundings("none", 100.0, 110.0, 4.0, 0.0, 2.0, 0.0, 0.0, False, None, None, ())

AS_MEASURED = Processing(1.0, 0.0, None, None, None)


def scan(**changes) -> Scan:
    plain = Scan(
        fov=FOV,
        thickness=(5.0, 5.0),
        tilt=0.0,
        angles=(0.0, 0.0, 0.0),
        shift=(0.0, 0.0),
        kernel=Kernel(0.5, 0.0, 0.0, 0.0),
        noise=4.0,
        hardening=1.0,
        scatter=0.0,
        drift=(0.0, 0.0),
        modulation=0.0,
        motion=None,
        helix=None,
        rings=(),
        surroundings=NOTHING,
        circle=False,
        extended=False,
        processing=AS_MEASURED,
        storage=COMMON[1],
    )
    return replace(plain, **changes)


def from_middle(size: int = SIZE, edge: float = FOV) -> tuple[np.ndarray, np.ndarray]:
    """x and y in mm."""
    line = (np.arange(size) - (size - 1) / 2) * edge / size
    return np.meshgrid(line, line)


def disc(radius: float, hu: float = 0.0, x: float = 0.0, size: int = SIZE) -> np.ndarray:
    at_x, at_y = from_middle(size)
    inside = np.hypot(at_x - x, at_y) < radius
    return np.where(inside, hu, -1000).astype(np.float32)


def skull(radius: float = 82.0, wall: float = 8.0) -> np.ndarray:
    return np.where(disc(radius - wall) > -1000, 30, disc(radius, 1000.0)).astype(np.float32)


def two_dense_discs() -> np.ndarray:
    """Like the petrous bones in the skull base."""
    return np.maximum(skull(), np.maximum(disc(14, 1300.0, -36), disc(14, 1300.0, 36)))


def errors(hu: np.ndarray, motion: Motion | None = None, **changes) -> measurement.Measurement:
    asked = {
        "hardening": 1.0,
        "scatter": 0.0,
        "modulation": 0.0,
        "gains": np.zeros(CHANNELS, np.float32),
        "helix": None,
    }
    return measurement.measure(
        measurement.materials(hu)[None], CELL, motions=[motion], **(asked | changes)
    )


def error_map(hu: np.ndarray, motion: Motion | None = None, **changes) -> np.ndarray:
    return measurement.enlarge(errors(hu, motion, **changes).error[0], hu.shape)


def acquired_noise(hu: np.ndarray, seed: int = 0, **changes) -> np.ndarray:
    """Noise alone: the difference between two doses."""
    thickness = np.array([changes.get("thickness", (5.0,))[0]])
    loud, quiet = (
        acquisition.acquire(
            scan(**(changes | {"noise": noise})), np.random.default_rng(seed), hu[None], thickness
        )[0]
        for noise in (changes.get("noise", 4.0), 0.0)
    )
    return loud - quiet

"""One acquisition: how the head lies in the scanner, and what the scanner is like."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import as_point
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.measurement import Motion
from tfrecords_tools.phantom.scanner.storage import COMMON, RARE, Storage
from tfrecords_tools.phantom.scanner.surroundings import Surroundings, sample_surroundings


@dataclass(frozen=True)
class Scan:
    """The parameters of one acquisition.

    Attributes:
        fov: width of the field of view, mm.
        thickness: of the slices through the skull base and of those above, mm.
        tilt: of the gantry, degrees.
        angles: yaw, pitch and roll of the head, degrees.
        shift: of the head's origin in the scanner, x and y in mm.
        kernel: of the reconstruction.
        noise: standard deviation in a 5 mm slice in the middle of 200 mm of water, HU.
        hardening: share of the beam hardening that the scanner's bone correction leaves; above 1
            if scatter adds to it.
        modulation: 0 to 1, how far the tube current follows the diameter of each slice.
        motion: of the patient; None if there is none.
        rings: radius in mm and gain error in mm of water of each faulty channel.
        surroundings: objects around the head.
        circle: whether pixels outside the inscribed circle are padding.
        extended: whether HU above `storage.CEILING` are stored.
        storage: how the files store HU.
    """

    fov: float
    thickness: tuple[float, float]
    tilt: float
    angles: tuple[float, float, float]
    shift: tuple[float, float]
    kernel: Kernel
    noise: float
    hardening: float
    modulation: float
    motion: Motion | None
    rings: tuple[tuple[float, float], ...]
    surroundings: Surroundings
    circle: bool
    extended: bool
    storage: Storage

    @property
    def orientation(self) -> tuple[float, ...]:
        """Image Orientation (Patient), six numbers."""
        tilt = np.radians(self.tilt)
        return 1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))


def sample_scan(rng: np.random.Generator, patient: int) -> Scan:
    """Draws an acquisition. Each rare way of storing occurs once in every twenty patients.

    In the RSNA set, the gantry is tilted in 53 % of the series, and half of the series are of
    mixed thickness.
    """
    rare = patient % 20
    common = COMMON[int(rng.random() < 0.55)]
    storage = RARE[rare // 4] if rare % 4 == 2 else common
    blur = rng.uniform(0.3, 0.7)
    noise = 3.8 * (0.5 / blur) ** 0.75 * np.exp(rng.normal(0, 0.4))  # sharper kernels are noisier
    return Scan(
        fov=_sample_fov(rng),
        thickness=_sample_thickness(rng),
        tilt=rng.uniform(-25, 25) if rng.random() < 0.53 else 0.0,
        angles=_sample_pose(rng),
        shift=(rng.normal(0, 6), rng.normal(0, 8)),
        kernel=Kernel(blur, rng.uniform(0, 0.15) if blur < 0.45 else 0.0),
        noise=float(np.clip(noise, 1.5, 14)),
        hardening=rng.uniform(0.2, 2.2),
        modulation=rng.uniform(0.4, 0.9),
        motion=_sample_motion(rng) if rng.random() < 0.08 else None,
        rings=_sample_rings(rng) if rng.random() < 0.04 else (),
        surroundings=sample_surroundings(rng),
        circle=rng.random() < 0.6,
        extended=rng.random() < 0.3,
        storage=storage,
    )


def _sample_fov(rng: np.random.Generator) -> float:
    """Usually the whole head; a few reconstructions are enlarged and cut it off."""
    if rng.random() < 0.05:
        return rng.uniform(140, 190)
    return float(np.clip(rng.laplace(236, 15), 180, 300))


def _sample_thickness(rng: np.random.Generator) -> tuple[float, float]:
    """Older protocols scan the base in thin slices and the rest in thick ones."""
    if rng.random() < 0.5:
        pairs = [(2.5, 5.0), (3.0, 6.0), (4.0, 7.0), (5.0, 7.5), (5.0, 10.0), (2.5, 10.0)]
        base, above = pairs[rng.integers(len(pairs))]
        return base, above
    usual, shares = [0.6, 1.25, 2.5, 3.0, 5.0, 7.0, 10.0], [0.06, 0.1, 0.15, 0.1, 0.48, 0.07, 0.04]
    thickness = float(rng.choice(usual, p=shares))
    return thickness, thickness


def _sample_pose(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch and roll; one head in twelve is badly positioned."""
    yaw, pitch, roll = rng.normal(0, [4, 6, 3])
    if rng.random() < 0.08:
        yaw, roll = rng.uniform(-20, 20, 2)
    return as_point(np.array([yaw, pitch, roll]))


def _sample_motion(rng: np.random.Generator) -> Motion:
    away, direction = rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
    shift = (float(away * np.cos(direction)), float(away * np.sin(direction)))
    return Motion(rng.uniform(0.1, 0.4), shift, rng.uniform(-1.5, 1.5))


def _sample_rings(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    channels = rng.integers(1, 4)
    return tuple((rng.uniform(5, 70), rng.normal(0, 0.25)) for _ in range(channels))

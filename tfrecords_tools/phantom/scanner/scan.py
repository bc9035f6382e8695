"""One acquisition: how the head lies in the scanner, and what the scanner is like."""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import as_point
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.measurement import Helix, Motion
from tfrecords_tools.phantom.scanner.processing import Processing, sample_processing
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
            if the correction of water is wrong too.
        scatter: scattered rays that the correction leaves, relative to the beam behind 200 mm of
            water; negative if it removes too much.
        drift: HU by which the image rises per 100 mm to the patient's left, and to the back.
        modulation: 0 to 1, how far the tube current follows the diameter of each slice.
        motion: of the patient; None if there is none.
        helix: of a spiral scan; None if each slice is scanned on its own.
        rings: radius in mm and gain error in mm of water of each faulty channel.
        surroundings: objects around the head.
        circle: whether pixels outside the inscribed circle are padding.
        extended: whether HU above `storage.CEILING` are stored.
        processing: what changes HU between the reconstruction and the file.
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
    scatter: float
    drift: tuple[float, float]
    modulation: float
    motion: Motion | None
    helix: Helix | None
    rings: tuple[tuple[float, float], ...]
    surroundings: Surroundings
    circle: bool
    extended: bool
    processing: Processing
    storage: Storage

    @property
    def orientation(self) -> tuple[float, ...]:
        """Image Orientation (Patient), six numbers."""
        tilt = np.radians(self.tilt)
        return 1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt))


def sample_scan(rng: np.random.Generator, patient: int, scale: float) -> Scan:
    """Draws an acquisition of a head whose width is `scale` times that of the mean head.

    Each rare way of storing occurs once in every twenty patients.

    In the RSNA set, the gantry is tilted in 53 % of the series, and half of the series are of
    mixed thickness.
    """
    rare = patient % 20
    common = COMMON[int(rng.random() < 0.55)]
    storage = RARE[rare // 4] if rare % 4 == 2 else common
    kernel = _sample_kernel(rng)
    thickness = _sample_thickness(rng)
    tilt = rng.uniform(-25, 25) if rng.random() < 0.53 else 0.0
    spiral = not tilt and thickness[0] == thickness[1]
    return Scan(
        fov=_sample_fov(rng) * scale**0.7,  # small heads fill less
        thickness=thickness,
        tilt=tilt,
        angles=_sample_pose(rng),
        shift=_sample_shift(rng),
        kernel=kernel,
        noise=_sample_noise(rng, kernel),
        hardening=1.6 * rng.random() ** 2,
        scatter=float(np.clip(rng.normal(0.003, 0.008), -0.01, 0.025)),
        drift=(rng.normal(0, 1.2), rng.normal(0, 1.2)),
        modulation=rng.uniform(0.4, 0.9),
        motion=_sample_motion(rng) if rng.random() < 0.08 else None,
        helix=_sample_helix(rng) if spiral and rng.random() < 0.7 else None,
        rings=_sample_rings(rng) if rng.random() < 0.04 else (),
        surroundings=sample_surroundings(rng),
        circle=rng.random() < 0.6,
        extended=rng.random() < 0.3,
        processing=sample_processing(rng, keeps_air=storage in RARE),
        storage=storage,
    )


def _sample_kernel(rng: np.random.Generator) -> Kernel:
    """From soft ones to those for bone; a fifth of the scanners reconstruct iteratively."""
    blur = float(np.clip(0.45 * np.exp(rng.normal(0, 0.27)), 0.28, 1.0))
    enhancement = rng.uniform(0, 0.4) if blur < 0.4 and rng.random() < 0.2 else 0.0
    denoising = rng.uniform(0.3, 1.3) if rng.random() < 0.2 else 0.0
    return Kernel(blur, enhancement, denoising, rng.uniform(0.01, 0.1))


def _sample_noise(rng: np.random.Generator, kernel: Kernel) -> float:
    """Sharper kernels are noisier, and denoised images are not."""
    noise = 3.3 * 0.5 / kernel.blur * np.exp(rng.normal(0, 0.3))
    return float(np.clip(noise / (1 + kernel.denoising), 1.2, 12))


def _sample_helix(rng: np.random.Generator) -> Helix:
    return Helix(rng.uniform(0.01, 0.07), int(rng.integers(2, 7)), rng.uniform(0.5, 2.5))


def _sample_fov(rng: np.random.Generator) -> float:
    """Usually the whole head, mm; a few reconstructions are enlarged and cut it off, or wide."""
    if rng.random() < 0.08:
        return rng.uniform(140, 190) if rng.random() < 0.6 else rng.uniform(280, 350)
    return float(np.clip(rng.laplace(236, 15), 180, 300))


def _sample_shift(rng: np.random.Generator) -> tuple[float, float]:
    """Few heads lie far from the middle of the field of view."""
    spread = [6, 8] if rng.random() < 0.94 else [22, 22]
    aside, back = rng.normal(0, spread)
    return float(aside), float(back)


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
    """Yaw, pitch and roll; one head in eight is badly positioned, and one in sixty on its side."""
    yaw, pitch, roll = rng.normal(0, [4, 6, 3])
    if rng.random() < 0.12:
        yaw, pitch, roll = rng.uniform(-1, 1, 3) * [45, 25, 20]
    elif rng.random() < 0.017:
        yaw = rng.choice([-1, 1]) * rng.uniform(60, 95)
    return as_point(np.array([yaw, pitch, roll]))


def _sample_motion(rng: np.random.Generator) -> Motion:
    away, direction = rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
    shift = (float(away * np.cos(direction)), float(away * np.sin(direction)))
    return Motion(rng.uniform(0.1, 0.4), shift, rng.uniform(-1.5, 1.5))


def _sample_rings(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    channels = rng.integers(1, 4)
    return tuple((rng.uniform(5, 70), rng.normal(0, 0.25)) for _ in range(channels))

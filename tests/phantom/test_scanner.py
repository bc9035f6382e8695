"""The phantom's scanner: projections, beam hardening, noise, resolution, motion, and storage."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tfrecords_tools.phantom.head import devices, surfaces
from tfrecords_tools.phantom.head.geometry import Points, direction
from tfrecords_tools.phantom.head.patient import sample_head
from tfrecords_tools.phantom.scanner import acquisition, beam, measurement, projection
from tfrecords_tools.phantom.scanner.kernel import Kernel
from tfrecords_tools.phantom.scanner.measurement import Motion
from tfrecords_tools.phantom.scanner.projection import CELLS, CHANNELS, VIEWS
from tfrecords_tools.phantom.scanner.scan import Scan, sample_scan
from tfrecords_tools.phantom.scanner.storage import COMMON, RARE
from tfrecords_tools.phantom.scanner.surroundings import Surroundings
from tfrecords_tools.phantom.study import make_study

CELL = 3.0  # mm
FOV, SIZE = 240.0, 256
NOTHING = Surroundings("none", 100.0, 110.0, 2.0, 0.0, 0.0, False, None, 0.0, ())
SCANS = [sample_scan(np.random.default_rng(i), i) for i in range(600)]


def scan(**changes) -> Scan:
    plain = Scan(
        fov=FOV,
        thickness=(5.0, 5.0),
        tilt=0.0,
        angles=(0.0, 0.0, 0.0),
        shift=(0.0, 0.0),
        kernel=Kernel(0.5, 0.0),
        noise=4.0,
        hardening=1.0,
        modulation=0.0,
        motion=None,
        rings=(),
        surroundings=NOTHING,
        circle=False,
        extended=False,
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
    """As the petrous bones stand in the base."""
    return np.maximum(skull(), np.maximum(disc(14, 1300.0, -36), disc(14, 1300.0, 36)))


def errors(hu: np.ndarray, motion: Motion | None = None, **changes) -> measurement.Measurement:
    asked = {"hardening": 1.0, "modulation": 0.0, "gains": np.zeros(CHANNELS, np.float32)}
    return measurement.measure(
        measurement.materials(hu)[None], CELL, motions=[motion], **(asked | changes)
    )


def error_map(hu: np.ndarray, motion: Motion | None = None, **changes) -> np.ndarray:
    return measurement.enlarge(errors(hu, motion, **changes).error[0], hu.shape)


def acquired_noise(hu: np.ndarray, seed: int = 0, **changes) -> np.ndarray:
    """Noise alone: what two doses differ by."""
    thickness = np.array([changes.get("thickness", (5.0,))[0]])
    loud, quiet = (
        acquisition.acquire(
            scan(**(changes | {"noise": noise})), np.random.default_rng(seed), hu[None], thickness
        )[0]
        for noise in (changes.get("noise", 4.0), 0.0)
    )
    return loud - quiet


def radial_power(noise: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequency in 1/mm, and the mean power on the ring about it."""
    power = np.abs(np.fft.fft2(noise)) ** 2
    frequency = np.fft.fftfreq(len(noise), pixel)
    radius = np.hypot(frequency[:, None], frequency)
    bins = np.arange(0, 0.5 / pixel, 0.03)
    ring = np.digitize(radius.ravel(), bins)
    mean = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    return bins[:-1] + 0.015, mean[1 : len(bins)]


# --- projection


# Round Gaussians, whose projections are known exactly: middle x and y, deviation, height; cells.
BLOBS = ((9.0, -5.0, 4.0, 1.0), (-14.0, 12.0, 6.0, 0.5), (0.0, 25.0, 3.0, -0.4))


def blobs() -> np.ndarray:
    x, y = from_middle(CELLS, CELLS)
    parts = (a * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * d * d)) for u, v, d, a in BLOBS)
    return np.sum(list(parts), axis=0).astype(np.float32)


def test_projections_are_the_radon_transform():
    """Of a Gaussian in every direction a Gaussian, sqrt(2 pi) times its deviation as high."""
    views = projection.project(blobs())
    channel = np.arange(CHANNELS) - (CHANNELS - 1) / 2
    for view, angle in zip(views, projection.view_angles(), strict=True):
        expected = np.zeros(CHANNELS)
        for u, v, d, height in BLOBS:
            away = channel - (u * np.cos(angle) + v * np.sin(angle))
            expected += height * np.sqrt(2 * np.pi) * d * np.exp(-(away**2) / (2 * d * d))
        np.testing.assert_allclose(view, expected, atol=0.01 * views.max())


def test_every_view_sees_all_of_the_slice():
    image = np.random.default_rng(0).random((CELLS, CELLS)).astype(np.float32)
    np.testing.assert_allclose(projection.project(image).sum(axis=-1), image.sum(), rtol=1e-5)


def test_back_projection_is_the_transpose_of_projection():
    rng = np.random.default_rng(1)
    image = rng.random((CELLS, CELLS)).astype(np.float32)
    views = rng.random((VIEWS, CHANNELS)).astype(np.float32)
    forward = float((projection.project(image) * views).sum())
    assert forward == pytest.approx(float((image * projection.back_project(views)).sum()), rel=1e-4)


def test_reconstruction_gives_the_slice_back():
    image = blobs()
    again = projection.reconstruct(projection.project(image))
    assert np.abs(again - image).max() < 0.06 * image.max()


# --- beam hardening


def test_the_beam_is_that_of_a_head_scan():
    """120 kV through 20 cm of water: 68 to 75 keV, where NISTIR 5632 gives 0.0196 to 0.0188/mm."""
    near, far = beam.through_water(np.array([200.0, 201.0]))
    assert 0.0188 < np.log(near / far) < 0.0196


@pytest.mark.parametrize("radius", [40, 70, 100])
def test_water_is_flat_after_the_water_correction(radius):
    assert np.abs(error_map(disc(radius))).max() < 0.1  # HU


def test_a_skull_makes_cupping_of_a_few_hu():
    error = error_map(skull())
    radius = np.hypot(*from_middle())
    middle, rim = error[radius < 20].mean(), error[np.abs(radius - 66) < 3].mean()
    assert 2 < rim - middle < 15
    half = error_map(skull(), hardening=0.5)
    np.testing.assert_allclose(half, error / 2, atol=0.05)


def test_dense_bones_have_a_dark_band_between_them():
    x, y = from_middle()
    error = error_map(two_dense_discs())
    between = error[(np.abs(x) < 10) & (np.abs(y) < 6)].mean()
    beyond = error[(np.abs(x) < 10) & (np.abs(np.abs(y) - 40) < 6)].mean()
    assert -60 < between < beyond - 10


def test_metal_makes_streaks_of_hundreds_of_hu():
    x, y = from_middle()
    metal = np.where(np.hypot(x - 8, y) < 4, 15000, skull()).astype(np.float32)
    around = (np.hypot(x - 8, y) > 9) & (np.hypot(x - 8, y) < 20)
    streaks = error_map(metal)[around] - error_map(skull())[around]
    assert np.ptp(streaks) > 100
    assert streaks.min() < -20 and streaks.max() > 5


# --- motion and rings


def test_a_head_that_keeps_still_has_no_double_contour():
    moved = Motion(0.3, (3.0, 0.0), 0.0)
    edge = np.abs(np.hypot(*from_middle()) - 78) < 8
    still = error_map(skull(), hardening=0.0)
    assert np.abs(still).max() < 1e-2
    assert np.abs(error_map(skull(), moved, hardening=0.0)[edge]).max() > 100


def test_a_head_that_moves_before_the_first_view_is_only_somewhere_else():
    """Then all views agree, and what is added is the difference of two heads, as blurred."""
    moved = error_map(skull(), Motion(1.0, (6.0, 0.0), 0.0), hardening=0.0)
    shift = np.array([[1, 0, 6 * SIZE / FOV], [0, 1, 0]])
    there = cv2.warpAffine(skull() + 1000, shift, (SIZE, SIZE)) - 1000
    difference = cv2.GaussianBlur(there - skull(), (0, 0), 3 * SIZE / FOV)
    assert np.corrcoef(difference.ravel(), moved.ravel())[0, 1] > 0.95


def test_an_erring_channel_makes_a_ring():
    rng = np.random.default_rng
    plain, ringed = (
        acquisition.acquire(scan(rings=rings), rng(0), disc(90)[None], np.array([5.0]))[0]
        for rings in ((), ((40.0, 0.3),))
    )
    added = np.abs(ringed - plain)
    radius = np.hypot(*from_middle())
    on = added[np.abs(radius - 40) < 1.5].mean()
    assert 2 < on < 20  # HU
    assert added[np.abs(radius - 60) < 5].mean() < 0.3 * on


# --- noise and resolution


def test_noise_is_as_strong_as_asked_for():
    middle = np.hypot(*from_middle()) < 15
    for noise in (2.0, 6.0):
        found = [acquired_noise(disc(100), seed, noise=noise)[middle].std() for seed in range(6)]
        assert np.mean(found) == pytest.approx(noise, rel=0.08)


def test_thin_slices_are_noisier_by_the_root_of_their_thickness():
    thick = acquired_noise(disc(100), thickness=(5.0, 5.0))
    thin = acquired_noise(disc(100), thickness=(1.25, 1.25))
    np.testing.assert_allclose(thin, 2 * thick, atol=0.01)


def test_small_heads_are_less_noisy_unless_the_current_follows():
    middle = np.hypot(*from_middle()) < 30

    def strength(modulation: float) -> float:
        return float(acquired_noise(disc(60), modulation=modulation)[middle].std())

    assert strength(0.0) < 0.6 * 4.0
    assert strength(1.0) == pytest.approx(4.0, rel=0.12)


def noise_by_photons(hu: np.ndarray, draws: int = 60) -> np.ndarray:
    """Each ray drawn on its own, and reconstructed; (draws, CELLS, CELLS), in no unit."""
    lengths = projection.project(measurement.materials(hu)[None]) * np.float32(CELL)
    passed = beam.transmission(lengths)[0]
    white = np.random.default_rng(0).standard_normal((draws, VIEWS, CHANNELS), dtype=np.float32)
    return projection.reconstruct(white / np.sqrt(passed))


def slant(noise: np.ndarray) -> float:
    """By how much neighbours in a row are more alike than neighbours in a column."""
    sideways = (noise[:, :, 1:] * noise[:, :, :-1]).mean()
    return float((sideways - (noise[:, 1:] * noise[:, :-1]).mean()) / noise.var())


def test_noise_between_dense_bones_is_as_strong_as_that_of_single_rays():
    def between(noise: np.ndarray) -> np.ndarray:
        x, y = from_middle(noise.shape[1])
        rows, columns = np.nonzero((np.abs(x) < 18) & (np.abs(y) < 8))
        return noise[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    found, expected = (
        [between(draw(hu)) for hu in (two_dense_discs(), skull())]
        for draw in (
            lambda hu: np.stack([acquired_noise(hu, seed) for seed in range(6)]),
            noise_by_photons,
        )
    )
    ratio = expected[0].std() / expected[1].std()
    assert ratio > 1.1
    assert found[0].std() / found[1].std() == pytest.approx(ratio, rel=0.04)
    for bones, none in (found, expected):  # streaks run from bone to bone
        assert slant(bones) > slant(none) + 0.05


def test_the_power_spectrum_of_the_noise_follows_the_kernel():
    """A ramp times a squared Gaussian of deviation s peaks at 1 / (pi s sqrt(8)): no noise at 0."""
    size, fov, peaks = 192, 96.0, []
    for blur in (0.7, 0.5, 0.35):
        total = np.zeros(8)
        changes = {"fov": fov, "kernel": Kernel(blur, 0.0)}
        water = np.zeros((size, size), np.float32)
        spectra = [radial_power(acquired_noise(water, i, **changes), fov / size) for i in range(8)]
        frequency, total = spectra[0][0], np.mean([power for _, power in spectra], axis=0)
        peaks.append(frequency[total.argmax()])
        assert peaks[-1] == pytest.approx(1 / (np.pi * blur * np.sqrt(8)), abs=0.05)
        assert total[0] < 0.35 * total.max()
    assert peaks == sorted(peaks) and peaks[0] < peaks[-1]


@pytest.mark.parametrize("kernel", [Kernel(0.6, 0.0), Kernel(0.35, 0.25)])
def test_a_pattern_keeps_as_much_contrast_as_the_transfer_function_says(kernel):
    pixel, columns = 0.25, 512
    for frequency in (0.125, 0.25, 0.5):
        wave = np.cos(2 * np.pi * frequency * pixel * np.arange(columns))
        image = np.tile(wave.astype(np.float32), (64, 1))
        kept = (
            kernel.resolve(image, pixel)[32, 128:384]
            @ wave[128:384]
            / (wave[128:384] @ wave[128:384])
        )
        assert kept == pytest.approx(float(kernel.transfer(np.array(frequency))), abs=0.02)


def test_edge_enhancement_overshoots():
    edge = np.where(from_middle()[0] < 0, 40, 1000).astype(np.float32)
    soft, sharp = (Kernel(0.4, share).resolve(edge, 0.5) for share in (0.0, 0.25))
    assert soft.min() > 39 and sharp.min() < 20


# --- surroundings and devices


def test_only_air_gives_way_to_what_lies_about_the_head():
    head = np.stack([skull(), skull()])
    shown = head.copy()
    crowded = Surroundings("trough", 60.0, 100.0, 3.0, 200.0, 8.0, True, 5.0, 1.0, ())
    acquisition.surround(scan(surroundings=crowded), shown, np.array([0.0, 30.0]))
    tissue = head > -500
    np.testing.assert_array_equal(shown[tissue], head[tissue])
    assert (shown[~tissue] > -500).any()


@pytest.mark.parametrize("holder", ["trough", "bars", "flat"])
def test_a_holder_stands_where_it_is_told_to(holder):
    holding = replace(NOTHING, holder=holder, hu=200.0, wall=3.0, width=100.0, back=100.0)
    hu = holding.render((SIZE, SIZE), FOV / SIZE, (0.0, 0.0))
    rows, columns = np.nonzero(hu > 0)
    x, y = (np.array([columns, rows]) - (SIZE - 1) / 2) * FOV / SIZE
    if holder == "bars":
        assert np.abs(x).min() > 80 and y.max() < 76
    else:
        assert y[np.abs(x) < 5].mean() == pytest.approx(100, abs=3)


def layer(z: float, size: int = 256) -> Points:
    none = np.zeros((size, size), np.float32)
    down, along = np.eye(3)[[1, 0]]
    origin = np.array([-size / 2, -size / 2, z])
    return Points(origin, down, along, (size, size), 2.5, none, none, none)


def test_staples_and_electrodes_stand_outside_the_skull_and_clips_within():
    rng = np.random.default_rng(3)
    head = sample_head(rng)
    outside = devices._staples(rng, head, direction(70, 30))
    outside = [*outside, *devices._electrodes(rng, head)]
    for metal, within in ((outside, False), ([devices._clip(rng)], True)):
        found = 0
        for z in np.arange(-40.0, 90.0, 2.5):
            points = layer(z)
            hu = np.zeros(points.shape, np.float32)
            devices.paint_devices(devices.Devices(tuple(metal), (), None), hu, points)
            distance = surfaces.distances(head, points)
            where = hu > 300
            found += int(where.sum())
            if within:
                assert (distance.brain[where] > 10).all()
            else:
                assert ((distance.bone[where] < 2) & (distance.scalp[where] > -8)).all()
        assert found > 0


def test_a_craniotomy_opens_bone_and_nothing_else():
    rng = np.random.default_rng(3)
    flap, holes = devices._craniotomy(rng, sample_head(rng), direction(70, 30))
    points = layer(holes[0].start[2])
    bone, brain = np.full((2, *points.shape), 1000, np.float32)
    brain[:] = 40.0
    for hu in (bone, brain):
        devices.paint_devices(devices.Devices((), holes, flap), hu, points)
    assert (bone < 100).sum() > 50
    assert (brain == 40).all()


# --- storage


@pytest.mark.parametrize("storage", [*COMMON, *RARE])
def test_every_way_of_storing_gives_the_hu_back(storage):
    hu = np.arange(-990, 2900, dtype=np.float32)[None, None].repeat(8, axis=1)
    stored = storage.encode(hu, circle=False, extended=False)
    highest = 2047 if storage.bits == 12 and storage.signed else 3071
    np.testing.assert_array_equal(storage.decode(stored), np.minimum(hu, highest))
    bits = stored.astype(int)
    low = -(1 << storage.bits - 1) if storage.signed else 0
    assert low <= bits.min() and bits.max() < low + (1 << storage.bits)


def test_padding_gives_the_lowest_hu_of_the_data_set():
    floors = set()
    for storage in (*COMMON, *RARE):
        water = np.zeros((1, 64, 64), np.float32)
        hu = storage.decode(storage.encode(water, circle=True, extended=False))
        assert (hu[0, 20:44, 20:44] == 0).all()
        floors.add(float(hu.min()))
    assert floors == {-3024.0, -2048.0, -1024.0, -1000.0}


def test_only_extended_scales_hold_metal():
    metal = np.full((1, 8, 8), 26452, np.float32)
    for extended, storage, highest in (
        (False, COMMON[1], 3071),
        (True, COMMON[1], 26452),
        (True, COMMON[0], 3071),
    ):
        stored = storage.encode(metal, circle=False, extended=extended)
        assert storage.decode(stored).max() == highest


# --- what is drawn


def test_acquisitions_are_as_varied_as_those_of_the_data_set():
    def share(found) -> float:
        return float(np.mean([found(x) for x in SCANS]))

    assert 0.46 < share(lambda x: x.tilt != 0) < 0.60  # 53 % of its series
    assert 0.42 < share(lambda x: x.thickness[0] != x.thickness[1]) < 0.58
    assert {min(x.thickness[0] for x in SCANS), max(x.thickness[1] for x in SCANS)} == {0.6, 10.0}
    fov = [x.fov for x in SCANS]
    assert 140 <= min(fov) < 180 and 275 < max(fov) <= 300
    assert max(abs(x.angles[0]) for x in SCANS) > 12
    assert max(abs(x.tilt) for x in SCANS) <= 25
    noise = [x.noise for x in SCANS]
    assert 1.5 <= min(noise) < 2 and 8 < max(noise) <= 14
    assert 0.2 < share(lambda x: x.circle and x.storage == COMMON[1]) < 0.45


def test_sharp_kernels_come_with_more_noise():
    blur, noise = np.array([(x.kernel.blur, x.noise) for x in SCANS]).T
    assert np.corrcoef(blur, noise)[0, 1] < -0.2


def test_slices_of_mixed_thickness_are_thin_and_dense_through_the_base():
    patient = next(
        i
        for i in range(50)
        if len(set(make_study(i, slices=2, size=32).scan.thickness)) > 1 and i % 20 != 13
    )
    study = make_study(patient, slices=24, size=32)
    base, above = study.scan.thickness
    gaps = np.diff(study.positions[:, 2])
    assert (gaps > 0).all()
    assert gaps[-1] / gaps[0] == pytest.approx(above / base, rel=1e-6)


def test_the_same_study_is_measured_the_same_way_twice():
    patient = next(
        i
        for i, x in enumerate(make_study(i, slices=2, size=32) for i in range(60))
        if x.scan.motion
    )
    first, second = (make_study(patient, slices=3, size=64) for _ in range(2))
    np.testing.assert_array_equal(first.stored, second.stored)
    assert first.scan == second.scan

"""Windowing compared with the standard's formula, in double precision and in integers."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom import Dataset
from pydicom.pixels import apply_windowing

from tests.support.baseline_processor import baseline_environment
from tests.support.paths import ROOT
from tfrecords_tools.errors import UsageError
from tfrecords_tools.windows import (
    WINDOWS,
    Window,
    apply_windows,
    pad_square,
    parse_windows,
    resize_area,
    shrink_windowed,
    stack_slices,
    window_slice,
)

ALL = tuple(WINDOWS.values())
SLICES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-4096, 32767, width=32),
)


def reference(hu: np.ndarray, window: Window) -> np.ndarray:
    """The contract's formula in double precision, not rounded."""
    lower = window.center - window.width / 2
    return np.clip((hu.astype(np.float64) - lower) / window.width, 0, 1) * 255


def test_the_named_windows() -> None:
    assert {name: (w.center, w.width) for name, w in WINDOWS.items()} == {
        "brain": (40, 80),
        "subdural": (80, 200),
        "bone": (600, 2800),
        "stroke": (40, 40),
        "soft": (40, 380),
    }


def test_values_computed_by_hand() -> None:
    hu = np.array([[-1000, 0, 20, 40, 80, 3000]], np.float32)
    grey = apply_windows(hu, parse_windows("brain,wide=0/2000"))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey[0, :, 0], [0, 0, 64, 128, 255, 255])  # 63.75, 127.5
    np.testing.assert_array_equal(grey[0, :, 1], [0, 128, 130, 133, 138, 255])


@given(SLICES)
def test_windows_match_double_precision(hu: np.ndarray) -> None:
    grey = apply_windows(hu, ALL)
    assert grey.shape == (*hu.shape, len(ALL))
    for channel, window in enumerate(ALL):
        exact = reference(hu, window)
        off = np.abs(grey[..., channel] - exact)
        assert off.max() <= 0.5 + 1e-3  # a tie may fall either way, nothing else may
        clear = np.abs(exact - np.floor(exact) - 0.5) > 1e-3
        np.testing.assert_array_equal(grey[..., channel][clear], np.rint(exact)[clear])


def grey_in_whole_numbers(parts: np.ndarray, per_hu: int, window: Window) -> np.ndarray:
    """The contract's formula, rounded only at the end, ties to the even grey level.

    Args:
        parts: whole numbers, of which `per_hu` make one HU.
        per_hu: parts of one HU.
        window: whose ends are whole HU.
    """
    lower, width = int(window.center - window.width / 2), int(window.width)
    grey, rest = np.divmod(255 * (parts - lower * per_hu), width * per_hu)
    up = 2 * rest - width * per_hu
    return np.clip(grey + ((up > 0) | ((up == 0) & (grey % 2 == 1))), 0, 255)


@pytest.mark.parametrize("per_hu", [1, 4, 16, 64])  # as stored; means of 2x2, 4x4, 8x8 pixels
def test_ties_are_rounded_to_the_even_grey_level(per_hu: int) -> None:
    parts = np.arange(-4096 * per_hu, 4096 * per_hu).reshape(64, -1)
    grey = apply_windows(parts / np.float32(per_hu), ALL)
    for channel, window in enumerate(ALL):
        exact = grey_in_whole_numbers(parts, per_hu, window)
        np.testing.assert_array_equal(grey[..., channel], exact, err_msg=window.name)


def hash_of_slices() -> bytes:
    """Hashes slices of integer and fractional HU, resized in every way."""
    made = hashlib.sha256()
    rng = np.random.default_rng(4)
    windows = (*ALL, Window("odd", 37.3, 91.7))
    for edge, size in ((256, 256), (251, 251), (256, 128), (384, 256), (300, 256), (200, 256)):
        hu = rng.integers(-100, 200, (edge, edge)).astype(np.float32)
        for values in (hu, hu * np.float32(0.7) - np.float32(11.3)):
            image = window_slice(values, size, windows)
            made.update(image)
            for smaller in (size // 2, size * 2 // 3):
                made.update(shrink_windowed(image, smaller))
    return made.hexdigest().encode()


def test_a_processor_without_fma_gives_the_same_bytes() -> None:
    """OpenCV and NumPy in the child process have the instructions of their baseline only."""
    program = "from tests.test_windows import *; print(hash_of_slices().decode())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=baseline_environment(),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == hash_of_slices()


def test_every_hu_of_every_window_matches_pydicom() -> None:
    hu = np.arange(-4096, 32768, dtype=np.int32).reshape(-1, 64)
    grey = apply_windows(hu.astype(np.float32), ALL)
    for channel, window in enumerate(ALL):
        dataset = Dataset()
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsStored, dataset.PixelRepresentation = 16, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.WindowCenter, dataset.WindowWidth = window.center, window.width
        dataset.VOILUTFunction = "LINEAR_EXACT"
        shown = apply_windowing(hu, dataset)
        shown = (shown - shown.min()) / (shown.max() - shown.min()) * 255
        assert np.abs(grey[..., channel] - shown).max() <= 0.5 + 1e-3


@given(SLICES, st.floats(-1000, 1000), st.floats(1, 4000))
def test_windows_keep_the_order_of_hu(hu: np.ndarray, center: float, width: float) -> None:
    window = Window("any", center, width)
    grey = apply_windows(hu, [window])[..., 0].ravel()
    assert (np.diff(grey[np.argsort(hu, axis=None)].astype(int)) >= 0).all()
    assert (grey[hu.ravel() < center - width / 2 - 1] == 0).all()
    assert (grey[hu.ravel() > center + width / 2 + 1] == 255).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_hu_must_be_finite(value: float) -> None:
    hu = np.zeros((4, 4), np.float32)
    hu[1, 2] = value
    with pytest.raises(ValueError, match=r"^HU must be finite, got NaN or infinity$"):
        apply_windows(hu, ALL)


def test_integers_are_windowed_like_floats() -> None:
    hu = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64)
    np.testing.assert_array_equal(apply_windows(hu, ALL), apply_windows(hu.astype(np.float32), ALL))


@given(SLICES)
def test_padding_centres_the_slice_in_air(hu: np.ndarray) -> None:
    square = pad_square(hu)
    rows, columns = hu.shape
    edge = max(rows, columns)
    assert square.shape == (edge, edge)
    assert square.dtype == np.float32
    top, left = (edge - rows) // 2, (edge - columns) // 2
    np.testing.assert_array_equal(square[top : top + rows, left : left + columns], hu)
    outside = np.ones(square.shape, bool)
    outside[top : top + rows, left : left + columns] = False
    assert (square[outside] == -1000).all()  # air


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_integer_ratios_average_blocks(ratio: int) -> None:
    hu = np.random.default_rng(0).normal(0, 500, (32 * ratio, 32 * ratio)).astype(np.float32)
    blocks = hu.reshape(32, ratio, 32, ratio).mean(axis=(1, 3), dtype=np.float64)
    np.testing.assert_allclose(resize_area(hu, 32), blocks, atol=2e-3)


def area_matrix(edge: int, size: int) -> np.ndarray:
    """Share of each old pixel in each new one, along one axis."""
    new = np.linspace(0, edge, size + 1)
    old = np.arange(edge)
    overlap = np.minimum(new[1:, None], old + 1) - np.maximum(new[:-1, None], old)
    return np.clip(overlap, 0, None) * size / edge


@pytest.mark.parametrize(("edge", "size"), [(512, 192), (100, 64), (65, 64), (768, 512), (101, 33)])
def test_odd_ratios_average_areas(edge: int, size: int) -> None:
    hu = np.random.default_rng(1).normal(0, 500, (edge, edge)).astype(np.float32)
    matrix = area_matrix(edge, size)
    resized = resize_area(hu, size)
    np.testing.assert_allclose(resized, matrix @ hu @ matrix.T, atol=0.01)
    assert resized.mean(dtype=np.float64) == pytest.approx(hu.mean(dtype=np.float64), abs=0.01)


@pytest.mark.parametrize(("edge", "size"), [(64, 128), (100, 256), (33, 101)])
def test_enlarging_stays_within_the_old_range(edge: int, size: int) -> None:
    hu = np.random.default_rng(2).normal(0, 500, (edge, edge)).astype(np.float32)
    resized = resize_area(hu, size)
    assert resized.shape == (size, size)
    assert hu.min() - 0.01 <= resized.min() <= resized.max() <= hu.max() + 0.01


def test_the_same_size_changes_nothing() -> None:
    hu = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
    resized = resize_area(hu, 64)
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized, hu)


def test_hu_are_averaged_before_windowing() -> None:
    checkers = np.where(np.indices((64, 64)).sum(axis=0) % 2, 1000, -920).astype(np.float32)
    grey = window_slice(checkers, 32, parse_windows("brain"))
    np.testing.assert_array_equal(grey, 128)  # 40 HU, the centre; the mean of 0 and 255 is as near
    wider = window_slice(checkers + 20, 32, parse_windows("brain"))
    np.testing.assert_array_equal(wider, 191)  # 60 HU; windowing first would give 127 or 128


def test_a_slice_that_is_not_square_keeps_its_proportions() -> None:
    hu = np.full((40, 80), 40, np.float32)
    grey = window_slice(hu, 40, parse_windows("brain,bone"))
    assert grey.shape == (40, 40, 2)
    np.testing.assert_array_equal(grey[10:30, :, 0], 128)
    np.testing.assert_array_equal(np.delete(grey, np.s_[10:30], axis=0), 0)


def test_neighbours_are_channels_of_each_window_from_the_lowest_up() -> None:
    heights = np.full((3, 4, 5, 2), [0, 10]) + np.arange(3)[:, None, None, None]
    heights[1, 2, 3] += 50
    stack = stack_slices(list(heights))
    assert stack.shape == (4, 5, 6)
    np.testing.assert_array_equal(stack[0, 0], [0, 1, 2, 10, 11, 12])
    np.testing.assert_array_equal(stack[2, 3], [0, 51, 2, 10, 61, 12])
    np.testing.assert_array_equal(stack_slices([heights[1]]), heights[1])  # without neighbours


def test_windows_are_parsed() -> None:
    assert parse_windows("brain,subdural,bone") == (
        WINDOWS["brain"],
        WINDOWS["subdural"],
        WINDOWS["bone"],
    )
    assert parse_windows(" mine=35/70 ,soft") == (Window("mine", 35, 70), WINDOWS["soft"])
    assert parse_windows("low=-500.5/1e3") == (Window("low", -500.5, 1000),)
    assert parse_windows("thin=40/0.5") == (Window("thin", 40, 0.5),)
    for extreme in ("x=-100000/0.1", "x=100000/100000"):
        hu = np.array([[-4096, 32767]], np.float32)
        (window,) = parse_windows(extreme)
        np.testing.assert_array_equal(apply_windows(hu, [window])[..., 0], reference(hu, window))


TWICE = "windows {!r}: a name occurs twice"
NAMES = "brain, subdural, bone, stroke, soft"
UNKNOWN = f"unknown window {{!r}}; choose from {NAMES}, or give name=centre/width"
NO_WIDTH = (
    "window {!r}: the centre must lie within -100000 to 100000 HU, the width within"
    " 0.1 to 100000 HU"
)


@pytest.mark.parametrize(
    ("text", "wrong", "message"),
    [
        ("", "", UNKNOWN),
        ("brian", "brian", UNKNOWN),
        ("brain,", "", UNKNOWN),
        ("brain,brain", "brain,brain", TWICE),
        ("brain=1/2,brain", "brain=1/2,brain", TWICE),
        ("x=40", "x=40", UNKNOWN),
        ("brain,x=40/0", "x=40/0", NO_WIDTH),
        ("x=40/-1", "x=40/-1", NO_WIDTH),
        ("x=nan/80", "x=nan/80", NO_WIDTH),
        ("x=40/inf", "x=40/inf", NO_WIDTH),
        ("x=40/0.09", "x=40/0.09", NO_WIDTH),
        ("x=40/100001", "x=40/100001", NO_WIDTH),
        ("x=-100001/80", "x=-100001/80", NO_WIDTH),
        ("x=a/b", "x=a/b", UNKNOWN),
        ("x=1/2/3", "x=1/2/3", UNKNOWN),
        ("x=y=40/80", "x=y=40/80", UNKNOWN),
        ("=40/80", "=40/80", UNKNOWN),
        ("a b=40/80", "a b=40/80", UNKNOWN),
    ],
)
def test_invalid_windows_are_refused_in_one_line(text: str, wrong: str, message: str) -> None:
    """The message names the window, the fault and what to give instead."""
    with pytest.raises(UsageError) as caught:
        parse_windows(text)
    assert str(caught.value) == message.format(wrong)

"""Each change agrees with SciPy and is drawn independently of the others."""

import numpy as np
import pytest
from scipy import ndimage

from ich_keras.data.augmentation import augment, draw, output_to_input
from ich_keras.experiment.schema import AugmentationConfig

SIZE = 48
FLIP, ANGLE, SCALE, RIGHT, DOWN, CONTRAST, BRIGHTNESS = range(7)
ALL = AugmentationConfig(flip=True, rotate_degrees=10.0, scale=0.08, shift=0.04, grey=0.04)


@pytest.fixture
def image():
    """A smooth picture, dark at its edge, so that interpolation and fill hardly matter."""
    rng = np.random.default_rng(5)
    blobs = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (3, 3, 0))
    ramp = np.hanning(SIZE)
    bright = (blobs - blobs.min()) / np.ptp(blobs) * np.outer(ramp, ramp)[..., np.newaxis]
    return np.round(255 * bright).astype(np.uint8)


def change(image, config, seed=3, place=0, air=None):
    air = np.zeros(image.shape[-1], np.uint8) if air is None else air
    return augment(image[np.newaxis], config, seed=seed, positions=[place], air=air)[0]


def assert_alike(one, other):
    assert np.abs(one.astype(float) - other.astype(float)).max() <= 3


def test_no_augmentation_leaves_the_slice_alone(image):
    np.testing.assert_array_equal(change(image, AugmentationConfig()), image)


@pytest.mark.parametrize("place", range(12))
def test_a_flip_swaps_left_and_right_and_nothing_else(image, place):
    flipped = change(image, AugmentationConfig(flip=True), place=place)
    expected = image[:, ::-1] if draw(3, place)[FLIP] < 0 else image
    np.testing.assert_array_equal(flipped, expected)


@pytest.mark.parametrize("place", range(4))
def test_a_rotation_is_that_of_scipy(image, place):
    rotated = change(image, AugmentationConfig(rotate_degrees=30.0), place=place)
    angle = 30 * draw(3, place)[ANGLE]
    expected = ndimage.rotate(image.astype(float), angle, reshape=False, order=1)
    assert_alike(rotated, expected)


@pytest.mark.parametrize("place", range(4))
def test_a_scale_enlarges_about_the_centre_as_scipy_does(image, place):
    scaled = change(image, AugmentationConfig(scale=0.3), place=place)
    factor = 1 + 0.3 * draw(3, place)[SCALE]
    centre = (SIZE - 1) / 2
    expected = ndimage.affine_transform(
        image.astype(float),
        [1 / factor, 1 / factor, 1],
        offset=[centre - centre / factor] * 2 + [0],
        order=1,
    )
    assert_alike(scaled, expected)


@pytest.mark.parametrize("place", range(4))
def test_a_shift_moves_right_and_down_as_scipy_does(image, place):
    shifted = change(image, AugmentationConfig(shift=0.2), place=place)
    right, down = 0.2 * SIZE * draw(3, place)[[RIGHT, DOWN]]
    assert_alike(shifted, ndimage.shift(image.astype(float), (down, right, 0), order=1))


@pytest.mark.parametrize("place", range(4))
def test_all_at_once_is_one_after_the_other(image, place):
    config = ALL.model_copy(update={"grey": 0.0})
    numbers = draw(3, place)[:5]
    one_by_one = image.astype(float)
    for index in (FLIP, SCALE, ANGLE, RIGHT, DOWN):
        only = np.where(np.arange(5) == index, numbers, 0.0)
        matrix = output_to_input(config, SIZE, only)[::-1, [1, 0, 2]]  # SciPy has y before x
        linear, offset = matrix[:, :2], matrix[:, 2]
        channels = [
            ndimage.affine_transform(one_by_one[..., c], linear, offset, order=1) for c in range(3)
        ]
        one_by_one = np.stack(channels, axis=-1)
    changed = change(image, config, place=place).astype(float)
    assert np.abs(changed - one_by_one).mean() < 1.5  # four more interpolations blur


@pytest.mark.parametrize("place", range(4))
def test_grey_changes_contrast_and_brightness_within_the_range(place):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1), np.uint8)
    contrast, brightness = 0.3 * draw(3, place)[[CONTRAST, BRIGHTNESS]]
    expected = np.clip(np.round(image * (1 + contrast) + 255 * brightness), 0, 255)
    changed = change(image, AugmentationConfig(grey=0.3), place=place)
    np.testing.assert_allclose(changed, expected, atol=1)


@pytest.mark.parametrize("channels", [1, 3, 4, 9])
def test_what_comes_in_from_outside_is_air_in_every_channel(channels):
    air = 10 * np.arange(channels, dtype=np.uint8)
    slice_of_air = np.tile(air, (SIZE, SIZE, 1))
    config = AugmentationConfig(flip=True, rotate_degrees=45.0, shift=0.3, scale=0.5)
    for place in range(5):
        changed = change(slice_of_air, config, place=place, air=air)
        np.testing.assert_array_equal(changed, slice_of_air)


def test_the_same_seed_and_place_give_the_same_change_in_any_batch(image):
    air = np.zeros(3, np.uint8)
    several = augment(np.stack([image] * 6), ALL, seed=3, positions=range(6), air=air)
    assert len({x.tobytes() for x in several}) == 6
    for place in range(6):
        np.testing.assert_array_equal(change(image, ALL, place=place), several[place])
    assert not np.array_equal(change(image, ALL, seed=4), several[0])


def test_the_numbers_of_a_slice_are_uniform_and_do_not_hang_together():
    numbers = np.stack([draw(1498, place) for place in range(4000)])
    assert np.abs(numbers).max() <= 1
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(numbers.std(axis=0), 3**-0.5, atol=0.02)
    neighbours = np.hstack([numbers[:-1], numbers[1:]])
    correlation = np.corrcoef(neighbours, rowvar=False)
    assert np.abs(correlation - np.eye(14)).max() < 0.07

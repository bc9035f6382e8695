"""Random changes of training slices, each a function of the seed and the slice's position.

By OpenCV: TensorFlow's op for affine maps takes several times as long
(docs/background/training_speed.md). To add one, give it a key in `AugmentationConfig`, whose
default changes nothing, and its numbers in `draw`.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from ich_keras.experiment.schema import AugmentationConfig

PART = 3  # channels that are warped together; OpenCV has border values for at most four


def augment(
    images: np.ndarray,
    config: AugmentationConfig,
    *,
    seed: int,
    positions: Iterable[int],
    air: np.ndarray,
) -> np.ndarray:
    """Changes each slice at random; uint8 (N, size, size, channels) to the same shape.

    The same seed and position in the stream give the same change. `air`, uint8 (channels,), is the
    grey level of what comes in from outside.
    """
    changed = np.empty_like(images)
    for image, position, target in zip(images, positions, changed, strict=True):
        target[:] = _change(image, config, draw(seed, position), air)
    return changed


def augment_mask(
    mask: np.ndarray, config: AugmentationConfig, *, seed: int, position: int
) -> np.ndarray:
    """Moves a mask, uint8 (size, size), as `augment` moves the slice at a position."""
    if not _moves(config):
        return mask
    matrix = output_to_input(config, len(mask), draw(seed, position)[:5])
    return cv2.warpAffine(mask, matrix, mask.shape, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def draw(seed: int, position: int) -> np.ndarray:
    """Seven independent numbers for one slice; float64 (7,), uniform in [-1, 1)."""
    # Counter-based: each position has its own numbers, and none costs more than another.
    generator = np.random.Philox(key=seed, counter=int(position) << 64)
    return np.random.Generator(generator).uniform(-1, 1, 7)


def output_to_input(config: AugmentationConfig, size: int, numbers: np.ndarray) -> np.ndarray:
    """The affine map from a pixel (x, y) of the changed slice to one of the original.

    The original is flipped, scaled and rotated anticlockwise about its centre, then shifted. The
    five numbers in [-1, 1) are for flip, angle, scale, and shift to the right and down. The
    map is float64, shape (2, 3).
    """
    flip, turn, scale, right, down = numbers
    angle = np.radians(turn * config.rotate_degrees)
    zoom = 1 / (1 + scale * config.scale)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if config.flip and flip < 0:
        linear[0] *= -1
    centre = np.full(2, (size - 1) / 2)
    shift = config.shift * size * np.array([right, down])
    return np.column_stack([linear, centre - linear @ (centre + shift)])


def _change(
    image: np.ndarray, config: AugmentationConfig, numbers: np.ndarray, air: np.ndarray
) -> np.ndarray:
    if _moves(config):
        image = _warp(image, output_to_input(config, len(image), numbers[:5]), air)
    if config.grey:
        contrast, brightness = config.grey * numbers[5:]
        # One pass; OpenCV rounds and clips.
        grey = cv2.addWeighted(image, 1 + contrast, image, 0, 255 * brightness)
        image = grey.reshape(image.shape)  # OpenCV drops a single channel
    return image


def _moves(config: AugmentationConfig) -> bool:
    return bool(config.flip or config.rotate_degrees or config.scale or config.shift)


def _warp(image: np.ndarray, matrix: np.ndarray, air: np.ndarray) -> np.ndarray:
    parts = [
        _warp_part(image[..., first : first + PART], matrix, air[first : first + PART])
        for first in range(0, image.shape[-1], PART)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _warp_part(image: np.ndarray, matrix: np.ndarray, air: np.ndarray) -> np.ndarray:
    rows, columns, channels = image.shape
    if channels == PART:  # a fourth channel halves the time
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    image = cv2.warpAffine(
        image,
        matrix,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=air.tolist(),
    )
    if channels == PART:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return image.reshape(rows, columns, channels)

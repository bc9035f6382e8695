"""The cells of a class map follow the slice and its mask."""

import cv2
import numpy as np
import pytest

from ich_keras.data.batches import training_batches
from ich_keras.data.cells import UNKNOWN, cells_of
from ich_keras.data.shards import open_shards
from ich_keras.experiment.schema import AugmentationConfig, DataConfig
from tests.support.shard_files import SIZE, write_shards

CELL = 4


def test_a_cell_holds_a_label_from_a_64th_of_its_area():
    mask = np.zeros((32, 32), np.uint8)
    mask[0, 0] = 0b00001  # one of 256 pixels
    mask[16:18, 0:2] = 0b10010
    cells = cells_of(mask, 16)
    assert cells.shape == (2, 2, 6)
    np.testing.assert_allclose(cells[0, 0], [0.25, 0, 0, 0, 0, 0.25])
    np.testing.assert_array_equal(cells[1, 0], [0, 1, 0, 0, 1, 1])
    assert not cells[:, 1].any()


def test_the_last_cells_may_reach_beyond_the_slice():
    mask = np.zeros((18, 18), np.uint8)
    mask[17, 17] = 1
    cells = cells_of(mask, 4)
    assert cells.shape == (5, 5, 6)
    assert np.argwhere(cells[..., 0]).tolist() == [[4, 4]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), masks=True, train=21, val=7).folder


@pytest.mark.parametrize("size", [SIZE, SIZE // 2])
def test_cells_move_with_the_slice(folder, size):
    """The squares of the slices are brighter than all else, and their masks cover them."""
    moves = AugmentationConfig(flip=True, rotate_degrees=60, shift=0.2, scale=0.3)
    config = DataConfig(augmentation=moves, size=size)
    shards = open_shards(folder, config)
    seen = 0
    for image, label, cells in training_batches(
        shards, config, batch_size=7, seed=5, cell=CELL
    ).take(6):
        bright = (image.numpy()[..., 0] > 100).astype(np.uint8)
        for grey, kinds, found in zip(bright, label.numpy(), cells.numpy(), strict=True):
            share = cv2.resize(grey * 1.0, (len(found), len(found)), interpolation=cv2.INTER_AREA)
            near = cv2.dilate(share, np.ones((3, 3))) > 0
            assert (found[..., 5][share >= 0.5] > 0).all()
            assert not found[~near].any()
            assert not found[..., np.append(kinds[:5], 1) == 0].any()
            seen += (share >= 0.5).any()
    assert seen > 5


def test_cells_of_a_positive_slice_without_a_mask_are_unknown(tmp_path):
    shards = open_shards(write_shards(tmp_path, train=21, val=7).folder, DataConfig())
    batches = training_batches(shards, DataConfig(), batch_size=21, seed=5, cell=CELL)
    _, label, cells = next(iter(batches))
    positive = label.numpy()[:, 5] == 1
    assert (cells.numpy()[positive] == UNKNOWN).all()
    assert (cells.numpy()[~positive] == 0).all()

"""Cost and receptive field are what counting by hand and changing a pixel give."""

import keras
import numpy as np
import pytest

from ich_keras.experiment.schema import ModelConfig
from ich_keras.model.network import CLASS_MAPS, build_model, stride
from ich_keras.model.summary import summarize

SIZE = 128
SMALL = ModelConfig(widths=(4, 8, 8), dropout=0.1)


@pytest.fixture(autouse=True)
def weights_of_a_seed():
    keras.utils.set_random_seed(0)


def test_summary_counts_what_a_hand_count_gives():
    config = ModelConfig(widths=(4, 8))
    summary = summarize(build_model(config, 1), config, 32)
    stem = 9 * 1 * 4
    stage1 = 2 * 9 * 4 * 4
    stage2 = 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8
    maps = 8 * 6
    assert summary.multiply_adds == 16 * 16 * (stem + stage1) + 8 * 8 * (stage2 + maps)
    biases, normalisation = 4 + (4 + 4) + 8 + 6, 2 * 8
    assert summary.parameters == stem + stage1 + stage2 + maps + biases + normalisation
    assert summary.stride == 4


def test_summary_has_the_receptive_field_in_mm_if_the_pixel_size_is_known():
    network = build_model(SMALL, 3)
    pixels = summarize(network, SMALL, 64).receptive_field
    assert summarize(network, SMALL, 64, pixel_mm=0.5).receptive_field_mm == pixels / 2
    assert summarize(network, SMALL, 64).receptive_field_mm is None


@pytest.mark.parametrize(("widths", "blocks"), [((4, 8), 1), ((4, 8), 2), ((4, 4, 4), 1)])
def test_receptive_field_is_what_a_changed_pixel_reaches(widths, blocks):
    config = ModelConfig(widths=widths, blocks=blocks, normalization="none")
    network = build_model(config, 1)
    for variable in network.trainable_variables:  # averages: nothing cancels, no unit is dead
        kernel = variable.ndim == 4
        variable.assign(np.full(variable.shape, 1 / np.prod(variable.shape[:3]) if kernel else 0.0))
    model = keras.Model(network.input, network.get_layer(CLASS_MAPS).output)
    plain = np.full((1, SIZE, SIZE, 1), 128, np.uint8)
    columns = np.eye(SIZE, dtype=bool)[:, np.newaxis, :, np.newaxis]  # another in each slice
    maps = model.predict(np.where(columns, np.uint8(255), plain), verbose=0)
    cell = SIZE // stride(config) // 2
    reached = np.abs(maps[:, cell, cell] - model.predict(plain, verbose=0)[0, cell, cell]) > 1e-8
    assert np.any(reached, axis=-1).sum() == summarize(network, config, SIZE).receptive_field

"""Class maps over slices: which map is drawn, where, and what is written above it."""

import numpy as np
import pytest

from ich_keras.figures.class_maps import class_map_sheet


def sheet(labels):
    images = np.full((7, 64, 64), 128, np.uint8)
    maps = np.zeros((7, 8, 8, 6))
    maps[..., 2, 2, 4] = 1
    probabilities = np.tile([0.1, 0.2, 0.3, 0.2, 0.8, 0.9], (7, 1))
    return class_map_sheet(images, maps, probabilities, labels)


def test_the_sheet_shows_the_map_of_the_most_probable_subtype_at_its_place():
    panels = sheet(np.tile([0, 1, 0, 0, 1, 1], (7, 1))).axes[:12]
    assert panels[0].get_title() == "true: intraparenchymal, subdural\nsubdural 0.80\nany 0.90"
    image, colors = panels[0].images
    assert image.get_array().shape == (64, 64)
    assert colors.get_array()[2, 2, 3] == pytest.approx(0.7)
    assert colors.get_array()[..., 3].sum() == pytest.approx(0.7)  # transparent elsewhere
    assert colors.get_extent() == image.get_extent()
    assert [len(x.images) for x in panels] == [2] * 7 + [0] * 5


def test_the_sheet_without_labels():
    assert sheet(None).axes[0].get_title() == "subdural 0.80\nany 0.90"

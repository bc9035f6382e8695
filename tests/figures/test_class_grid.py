from dataclasses import replace

import numpy as np
import pytest

from ich_keras.figures.class_grid import (
    COLUMNS,
    GREY,
    GridSlices,
    bar_colors,
    cell_corner,
    choose_grid_slices,
    class_grid,
    class_grid_figure,
)
from ich_keras.figures.curves import save_png
from tfrecords_tools.classes import LABELS

RED, YELLOW, GREEN = (255, 0, 0), (255, 255, 0), (0, 255, 0)


def test_columns_are_in_the_order_of_the_original_figure():
    assert COLUMNS == (
        "control",
        "epidural",
        "intraparenchymal",
        "intraventricular",
        "subarachnoid",
        "subdural",
        "any",
    )


def test_colors_go_from_red_at_the_baseline_to_bright_green():
    accuracy = np.array([0.0, 0.94, 0.97, 1.0])
    np.testing.assert_array_equal(bar_colors(accuracy, 0.94), [RED, RED, YELLOW, GREEN])


def test_correct_is_green_even_where_always_no_is_always_correct():
    np.testing.assert_array_equal(bar_colors(np.array([5 / 6, 1.0]), 1.0), [RED, GREEN])


def toy():
    """Two slices: an epidural hemorrhage that was missed though `any` was found, and a control."""
    images = np.zeros((2, 48, 48), np.uint8)
    images[0], images[1] = 10, 20
    labels = np.array([[1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    probabilities = np.array([[0.2, 0, 0, 0, 0, 0.9], [0, 0, 0, 0, 0, 0.1]])
    filled = np.zeros((6, 7), bool)
    filled[0, 1] = filled[1, 0] = True  # reading order: epidural first
    return GridSlices(images, labels, probabilities, filled)


def test_every_pixel_of_a_toy_grid():
    edge, bar, gap = 48, 2, 8
    expected = np.full((6 * 56 + gap, 7 * 60 + gap, 3), GREY, np.uint8)
    # Always "no" is right on 10 of the 12 labels shown: 5/6 over all is the baseline, hence red.
    for top, left, left_bar, grey, right_bar in (
        (gap, gap + 60, RED, 10, RED),
        (gap + 56, gap, GREEN, 20, GREEN),
    ):
        expected[top : top + edge, left : left + bar] = left_bar
        expected[top : top + edge, left + bar : left + bar + edge] = grey
        expected[top : top + edge, left + bar + edge : left + 2 * bar + edge] = right_bar
    np.testing.assert_array_equal(class_grid(toy()), expected)


def test_the_left_bar_of_a_control_slice_is_the_accuracy_on_any():
    slices = toy()
    slices.probabilities[1] = [0, 0, 0, 0, 0, 0.8]  # a false alarm
    picture = class_grid(slices)
    top, left = cell_corner(48, 1, 0)
    assert tuple(picture[top, left]) == RED


def test_five_of_six_right_is_between_red_and_green():
    slices = toy()
    slices.labels[0] = [1, 1, 1, 1, 1, 1]  # always "no" is now right on half of the labels
    slices.probabilities[0] = [1, 1, 1, 1, 0, 1]
    picture = class_grid(slices)
    top, left = cell_corner(48, 0, 1)
    assert tuple(picture[top, left]) == GREEN
    assert tuple(picture[top, left + 48 + 2]) == (170, 255, 0)  # two thirds of the way


def test_large_slices_are_averaged_down():
    images = np.full((1, 512, 512), 77, np.uint8)
    filled = np.zeros((6, 7), bool)
    filled[0, 0] = True
    slices = GridSlices(images, np.zeros((1, 6), int), np.zeros((1, 6)), filled)
    picture, edge = class_grid(slices), slices.edge
    assert edge < 256
    top, left = cell_corner(edge, 0, 0)
    assert tuple(picture[top + edge // 2, left + edge // 2]) == (77, 77, 77)


def split(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((500, 6), int)
    patients = np.array([f"p{i // 20:02d}" for i in range(500)])
    labels[:, :5] = rng.random((500, 5)) < 0.1
    labels[patients > "p12"] = 0
    labels[:, 5] = labels.any(axis=1)
    return labels, patients


def test_slices_belong_to_their_columns_and_are_spread_over_patients():
    labels, patients = split()
    choice = choose_grid_slices(labels, patients, seed=3)
    assert choice.shape == (6, 7)
    for column in range(6):
        assert labels[choice[:, column + 1], column].all(), LABELS[column]
    positive = set(patients[labels.any(axis=1)])
    assert not positive & set(patients[choice[:, 0]])
    for column in choice.T:
        assert len(set(patients[column])) == 6


def test_the_same_seed_chooses_the_same_slices():
    labels, patients = split()
    first = choose_grid_slices(labels, patients, seed=1)
    np.testing.assert_array_equal(first, choose_grid_slices(labels, patients, seed=1))
    assert (first != choose_grid_slices(labels, patients, seed=2)).any()


def test_too_few_slices_leave_cells_empty():
    labels = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
    choice = choose_grid_slices(labels, np.array(["p", "p"]))
    assert choice[:, 5].tolist() == [0, -1, -1, -1, -1, -1]
    assert choice[:, 0].tolist() == [1, -1, -1, -1, -1, -1]  # nobody is healthy
    assert (choice[:, 1] == -1).all()


@pytest.mark.parametrize("size", [48, 256])
def test_the_figure_holds_the_grid_pixel_by_pixel(tmp_path, size):
    import matplotlib.image

    slices = replace(toy(), images=np.zeros((2, size, size), np.uint8))
    picture = class_grid(slices.enlarged())
    path = tmp_path / "grid.png"
    save_png(class_grid_figure(slices, step=20_000), path)
    drawn = np.round(matplotlib.image.imread(path)[..., :3] * 255).astype(np.uint8)
    edge = slices.enlarged().edge
    head = round(0.55 * edge)
    for row, column in ((0, 1), (1, 0)):
        top, left = cell_corner(edge, row, column)
        cell = np.s_[top : top + edge, left : left + edge]
        np.testing.assert_array_equal(drawn[head:][cell], picture[cell])

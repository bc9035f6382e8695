import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ich_keras.figures.curves import curves, overfit_from, save_png, smoothed
from ich_keras.figures.score_curves import roc_curves


@pytest.fixture
def history():
    steps = np.arange(10, 210, 10)
    validated = steps % 50 == 0
    loss = 0.2 * np.exp(-steps / 50)
    blank = np.full(len(steps), np.nan)
    return pd.DataFrame(
        {
            "step": steps,
            "loss": loss,
            "accuracy": 1 - loss,
            "val_loss": np.where(validated, 1.2 * loss, blank),
            "val_accuracy": np.where(validated, 0.95, blank),
            "val_mean_auc": np.where(validated, 0.9, blank),
        }
    )


def texts(figure):
    """All texts of a figure."""
    return [
        x.get_text() for axes in figure.axes for x in axes.findobj(lambda y: hasattr(y, "get_text"))
    ]


def test_smoothing_is_tensorboards():
    values = np.array([1.0, 0.0, 0.0])
    # Each value weighted 0.4 times 0.6 to the power of its age, over the sum of the weights.
    expected = [1, 0.6 * 0.4 / (0.4 + 0.24), 0.36 * 0.4 / (0.4 + 0.24 + 0.144)]
    np.testing.assert_allclose(smoothed(values, 0.6), expected)
    np.testing.assert_allclose(smoothed(np.full(5, 3.0)), 3)


def test_overfitting_is_a_loss_that_ends_above_its_minimum():
    steps = np.arange(10, 80, 10)
    assert overfit_from(steps, np.array([5, 3, 2, 1, 1.2, 1.4, 1.6])) == 40
    assert overfit_from(steps, np.array([7, 6, 5, 4, 3, 2, 1.0])) is None
    assert overfit_from(steps, np.array([7, 6, 5, 4, 1.01, 1.0, 9])) is None  # one bad draw
    assert overfit_from(steps[:0], np.array([])) is None


def test_curves_show_baselines_and_the_kept_step(history):
    figure = curves(
        history, best_step=150, always_negative_accuracy=0.943, constant_guess_loss=0.0517
    )
    written = texts(figure)
    for expected in (
        "best constant guess 0.052",
        "always “no” 0.943",
        "chance 0.500",
        "kept: step 150",
    ):
        assert expected in written
    accuracy = figure.axes[1]
    assert any(set(line.get_ydata()) == {0.943} for line in accuracy.lines)


def test_curves_draw_validation_as_it_was_measured(history):
    drawn = {line.get_label(): line for line in curves(history).axes[0].lines}
    validated = history.dropna()
    np.testing.assert_array_equal(drawn["validation"].get_xdata(), validated["step"])
    np.testing.assert_array_equal(drawn["validation"].get_ydata(), validated["val_loss"])


def test_curves_mark_overfitting(history):
    assert " overfits" not in texts(curves(history))
    history["val_loss"] = np.where(history["val_loss"].isna(), np.nan, history["step"])
    assert " overfits" in texts(curves(history))


def test_curves_of_a_run_before_its_first_validation(history, tmp_path):
    early = history[:2]
    save_png(curves(early), tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1200, 400)


def test_roc_curves_leave_out_a_label_without_positives():
    labels = np.zeros((40, 6), int)
    labels[:10, 5] = 1
    probabilities = np.tile(np.linspace(1, 0, 40)[:, np.newaxis], 6)
    figure = roc_curves(labels, probabilities)
    assert "any 1.000" in texts(figure)
    assert "any 1.000 (guess 0.250)" in texts(figure)
    assert not any(x.startswith("epidural") for x in texts(figure))


def test_the_same_figure_gives_the_same_bytes_and_no_metadata(history, tmp_path):
    for name in ("a.png", "b.png"):
        save_png(curves(history), tmp_path / "new folder" / name)
    first, second = sorted((tmp_path / "new folder").iterdir())
    assert first.read_bytes() == second.read_bytes()
    assert set(Image.open(first).info) == {"dpi"}

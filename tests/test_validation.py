"""What is said of a network whose answers do not depend on the slice."""

import numpy as np
import pytest

from ich_keras.validation import collapse

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0, 0.49, "always negative"),
        (0.5, 1.0, "always positive"),
        (0.3, 0.3001, "the same answer for every slice"),
        (0.0, 1.0, ""),
    ],
)
def test_collapse_is_named(low, high, said):
    assert collapse(RNG.uniform(low, high, (40, 6)).astype("float32")) == said


def test_one_slice_that_is_called_positive_is_no_collapse():
    probabilities = np.full((40, 6), 0.01)
    probabilities[7, 2] = 0.6
    assert collapse(probabilities) == ""

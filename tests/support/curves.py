"""Whether two runs drew the same curve, on whatever devices."""

import numpy as np
import pandas as pd

# Dropout masks are drawn by each device for itself, so a run with them is another run.
SAME_ON_ALL = {"model__dropout": "0.0"}
CURVES = ["loss", "accuracy", "val_loss", "val_mean_auc"]


def assert_same_curves(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert list(one["step"]) == list(other["step"])
    for column in CURVES:
        np.testing.assert_allclose(one[column], other[column], rtol=1e-4, err_msg=column)

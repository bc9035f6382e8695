"""A child process in which OpenCV and NumPy use the instructions of their baseline only."""

import os

import cv2
import numpy as np
import pytest

OPENCV_FEATURES = "AVX512-SKX,AVX2,FMA3,AVX,FP16,SSE4.2,SSE4.1,SSSE3,POPCNT"


def baseline_environment() -> dict[str, str]:
    """Returns the environment of that process; skips the test if the processor has no FMA."""
    if "*AVX2" not in cv2.getCPUFeaturesLine().split():  # with which OpenCV uses FMA
        pytest.skip("OpenCV has no FMA on this processor, so nothing to compare")
    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return os.environ | {
        "OPENCV_CPU_DISABLE": OPENCV_FEATURES,
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
    }

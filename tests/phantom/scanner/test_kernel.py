"""Resolution of the reconstruction kernels."""

import numpy as np
import pytest

from tests.support.scanner_objects import from_middle
from tfrecords_tools.phantom.scanner.kernel import Kernel


@pytest.mark.parametrize("kernel", [Kernel(0.6, 0.0, 0.0), Kernel(0.35, 0.25, 0.0)])
def test_the_contrast_of_a_pattern_follows_the_transfer_function(kernel):
    pixel, columns = 0.25, 512
    for frequency in (0.125, 0.25, 0.5):
        wave = np.cos(2 * np.pi * frequency * pixel * np.arange(columns))
        image = np.tile(wave.astype(np.float32), (64, 1))
        kept = (
            kernel.resolve(image, pixel)[32, 128:384]
            @ wave[128:384]
            / (wave[128:384] @ wave[128:384])
        )
        assert kept == pytest.approx(float(kernel.transfer(np.array(frequency))), abs=0.02)


def test_edge_enhancement_overshoots():
    edge = np.where(from_middle()[0] < 0, 40, 1000).astype(np.float32)
    soft, sharp = (Kernel(0.4, share, 0.0).resolve(edge, 0.5) for share in (0.0, 0.25))
    assert soft.min() > 39 and sharp.min() < 20

"""Resolution of the reconstruction kernels."""

import numpy as np
import pytest

from tests.support.scanner_objects import FOV, SIZE, from_middle, skull
from tfrecords_tools.phantom.scanner.kernel import Kernel


@pytest.mark.parametrize(
    "kernel", [Kernel(0.6, 0.0, 0.0, 0.0), Kernel(0.35, 0.25, 0.0, 0.0), Kernel(0.5, 0.0, 0.0, 0.1)]
)
def test_the_contrast_of_a_pattern_follows_the_transfer_function(kernel):
    pixel, columns = 0.25, 512
    for frequency in (0.03125, 0.0625, 0.125, 0.25, 0.5):
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
    soft, sharp = (Kernel(0.4, share, 0.0, 0.0).resolve(edge, 0.5) for share in (0.0, 0.25))
    assert soft.min() > 39 and sharp.min() < 20


def test_tails_brighten_the_brain_beside_the_skull():
    plain, wide = (
        Kernel(0.5, 0.0, 0.0, tails).resolve(skull(), FOV / SIZE) for tails in (0.0, 0.04)
    )
    from_table = 74 - np.hypot(*from_middle())  # mm
    brighter = [
        (wide - plain)[(from_table > near) & (from_table < near + 1)].mean() for near in (2, 5, 15)
    ]
    assert 4 < brighter[0] < 15 and brighter[0] > 2 * brighter[1]
    assert abs(brighter[2]) < 0.5

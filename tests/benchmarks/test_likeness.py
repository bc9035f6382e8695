"""Measurements that compare phantoms with a real head, on series with known truth."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.real_head.likeness import FREQUENCIES, measure, noise_power
from benchmarks.real_head.series import Series

PIXEL = 0.5
PROGRAM = "benchmarks.compare_with_real"


def water(noise: np.ndarray) -> tuple[Series, np.ndarray]:
    """A series of homogeneous tissue of 30 HU with some noise, and a mask of its middle."""
    slices, rows, _ = noise.shape
    origins = np.array([[0.0, 0.0, 5.0 * number] for number in range(slices)])
    down, along = np.array([0.0, PIXEL, 0.0]), np.array([PIXEL, 0.0, 0.0])
    row, column = np.ogrid[:rows, :rows]
    disc = np.hypot(row - rows / 2, column - rows / 2) < rows / 2 - 4
    return Series((30 + noise).astype(np.float32), origins, down, along), np.repeat(
        disc[None], slices, axis=0
    )


def test_white_noise_has_the_power_of_its_variance_at_every_frequency():
    patches = np.random.default_rng(0).normal(0, 4, (400, 32, 32))
    power = noise_power(patches, PIXEL)
    known = ~np.isnan(power)
    assert known[FREQUENCIES < 0.5 / PIXEL - 0.05].all()
    np.testing.assert_allclose(power[known], (4 * PIXEL) ** 2, rtol=0.15)


def test_noise_and_tissue_of_water_are_measured():
    series, masks = water(np.random.default_rng(1).normal(0, 5, (4, 200, 200)))
    measured = measure(series, masks)
    assert measured.noise == pytest.approx(5, rel=0.1)
    assert np.median(measured.interior) == pytest.approx(30, abs=0.3)


def test_csf_white_and_grey_matter_are_told_apart():
    noise = np.random.default_rng(3).normal(0, 3, (3, 200, 200))
    stripes = np.select([np.arange(200) % 60 < 12, np.arange(200) % 60 < 36], [-22.0, -2.0], 8.0)
    measured = measure(*water(noise + stripes)).tissues
    assert list(measured) == ["csf", "white", "grey"]
    np.testing.assert_allclose(list(measured.values()), [8, 28, 38], atol=1)


def test_a_darker_centre_is_measured():
    """At the levels above the ventricles, of a disc whose inner half is 8 HU darker."""
    row, column = np.ogrid[:200, :200]
    centre = np.hypot(row - 100, column - 100) < 50
    noise = np.random.default_rng(4).normal(0, 3, (12, 200, 200))
    measured = measure(*water(noise - 8 * centre))
    assert measured.cortex_above_centre == pytest.approx(8, abs=0.5)
    assert np.isnan(measure(*water(noise[:3])).cortex_above_centre)


def test_smooth_noise_has_lower_frequencies():
    white = np.random.default_rng(2).normal(0, 5, (4, 200, 200))
    smooth = ndimage.gaussian_filter(white, (0, 1.5, 1.5))
    frequency = [measure(*water(x)).summary()["mean_frequency"] for x in (smooth, white)]
    assert frequency[0] < 0.6 * frequency[1]


@pytest.mark.slow
def test_a_real_head_lies_within_the_range_of_the_phantoms(realdata, tmp_path):
    """HU of the tissues, and strength and texture of the noise, of a real head."""
    head = realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"
    command = [sys.executable, "-m", PROGRAM, head, tmp_path]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    measured = json.loads((tmp_path / "comparison.json").read_text())
    outside = {name: row for name, row in measured["statistics"].items() if not row["within"]}
    assert not outside and len(measured["statistics"]) == 12
    for name in ("levels", "hu", "noise"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000

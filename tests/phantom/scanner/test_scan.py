"""The distribution of acquisitions."""

import numpy as np
import pytest

from tfrecords_tools.phantom.sampling import DOUBLED_POSITION, LIMIT, sample_study
from tfrecords_tools.phantom.scanner.scan import Scan, sample_scan
from tfrecords_tools.phantom.scanner.storage import COMMON
from tfrecords_tools.phantom.study import make_study

SCANS = [sample_scan(np.random.default_rng(i), i, 1.0) for i in range(600)]


def test_acquisitions_vary_as_those_of_the_rsna_set():
    def share(condition) -> float:
        return float(np.mean([condition(x) for x in SCANS]))

    assert 0.46 < share(lambda x: x.tilt != 0) < 0.60  # 53 % of its series
    assert 0.42 < share(lambda x: x.thickness[0] != x.thickness[1]) < 0.58
    assert {min(x.thickness[0] for x in SCANS), max(x.thickness[1] for x in SCANS)} == {0.6, 10.0}
    fov = [x.fov for x in SCANS]
    assert 140 <= min(fov) < 180 and 320 < max(fov) <= 350
    assert share(lambda x: 190 < x.fov < 290) > 0.85
    yaw = np.abs([x.angles[0] for x in SCANS])
    assert np.median(yaw) < 4 and 0.02 < (yaw > 20).mean() < 0.12 and yaw.max() > 60
    assert max(abs(x.tilt) for x in SCANS) <= 25
    noise = [x.noise for x in SCANS]
    assert 1.2 <= min(noise) < 1.5 and 10 < max(noise) <= 16
    assert 0.2 < share(lambda x: x.circle and x.storage == COMMON[1]) < 0.45


def test_small_heads_fill_less_of_a_smaller_field():
    infant = sample_scan(np.random.default_rng(0), 0, 0.6)
    assert 0.6 < infant.fov / SCANS[0].fov < 0.8


def test_only_scans_of_one_thickness_without_tilt_are_spiral():
    spiral = [x for x in SCANS if x.helix is not None]
    assert len(spiral) > 50
    assert not any(x.tilt or x.thickness[0] != x.thickness[1] for x in spiral)


def test_sharp_kernels_have_more_noise():
    blur, noise = np.array([(x.kernel.blur, x.noise) for x in SCANS if not x.kernel.denoising]).T
    assert np.corrcoef(blur, noise)[0, 1] < -0.2


def scan_of(patient: int) -> Scan:
    return sample_study(patient, study=0, slices=2, seed=0).scan


def test_slices_of_mixed_thickness_are_thin_through_the_base():
    patient = next(
        i for i in range(50) if len(set(scan_of(i).thickness)) > 1 and i % 20 != DOUBLED_POSITION
    )
    study = make_study(patient, slices=24, size=32)
    base, above = study.scan.thickness
    gaps = np.diff(study.positions[:, 2])
    assert (gaps > 0).all()
    assert gaps[-1] / gaps[0] == pytest.approx(above / base, rel=1e-6)


def test_a_few_studies_begin_at_the_neck_or_above_the_base():
    studies = [sample_study(i, study=0, slices=8, seed=1) for i in range(300)]
    lowest = np.array([x.heights[0] / x.head.size[2] for x in studies])
    assert 0.1 < (lowest < -70).mean() < 0.3
    assert 0.02 < (lowest > -45).mean() < 0.1
    assert -135 < lowest.min() < -90
    assert min(x.heights[0] for x in studies) >= LIMIT


def test_a_study_with_motion_is_reproducible():
    patient = next(i for i in range(60) if scan_of(i).motion)
    first, second = (make_study(patient, slices=3, size=64) for _ in range(2))
    np.testing.assert_array_equal(first.stored, second.stored)
    assert first.scan == second.scan

"""Which series of a study is judged, and what is said about each."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich_keras.data.series import SeriesFacts, ranked_series, series_facts
from tests.support.dicom_header import header


def series(slices=30, spacing=5.0, kernel="H30s", **facts):
    return SeriesFacts(slices, spacing, kernel, **facts)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (series(spacing=0.6), series(contrast=True)),
        (series(spacing=0.6, kernel="BONE"), series(slices=3)),
        (series(spacing=0.6), series(kernel="BONE")),
        (series(spacing=0.6), series(kernel="H60s")),
        (series(), series(spacing=0.625, slices=240)),
        (series(spacing=4.0), series(spacing=math.nan)),
        (series(slices=32), series(slices=30)),
        (series(contrast=True), series(projection=True)),
        (series(contrast=True), series(other_body_part="CHEST")),
        (series(kernel="BONE"), series(large=True)),
        (series(kernel="BONE"), series(small=True)),
        (series(spacing=0.6), series(placed=False)),
    ],
)
def test_the_series_to_judge(better, worse):
    assert ranked_series([better, worse]) == [0, 1]
    assert ranked_series([worse, better]) == [1, 0]


FACTS = st.builds(
    SeriesFacts,
    slices=st.integers(1, 400),
    spacing_mm=st.floats(0, 20) | st.just(math.nan),
    kernel=st.sampled_from(["", "BONE", "STANDARD", "H31s", "H70h", "FC26", "UB"]),
    contrast=st.booleans(),
    projection=st.booleans(),
    placed=st.booleans(),
)


@given(st.lists(FACTS, min_size=1, max_size=6), st.randoms())
def test_the_choice_does_not_depend_on_the_order(given_series, random):
    shuffled = random.sample(given_series, len(given_series))
    ranked = [shuffled[i] for i in ranked_series(shuffled)]
    assert ranked == [given_series[i] for i in ranked_series(given_series)]
    assert sorted(ranked_series(given_series)) == list(range(len(given_series)))


def placed(*positions, **changes):
    return series_facts([header(position_mm=x, **changes) for x in positions])


def test_a_missing_slice_is_a_gap_and_a_change_of_thickness_is_none():
    assert placed(0, 5, 10, 20, 25).remarks() == ["fewer than 10 slices", "gaps between slices: 1"]
    assert placed(0, 2.5, 5, 7.5, 12.5, 17.5, 22.5).missing == 0
    assert placed(0, 5, 5, 10).doubled == 1


def test_positions_of_which_only_the_order_is_known_are_no_millimetres():
    facts = placed(1, 2, 3, 12, 13, placed=False)
    assert math.isnan(facts.spacing_mm)
    assert (facts.missing, facts.doubled) == (0, 0)
    assert "positions unknown" in facts.remarks()


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"contrast": True}, "contrast agent"),
        ({"kernel": "Hr69h"}, "sharp kernel Hr69h"),
        ({"image_type": ("DERIVED", "SECONDARY", "MIP")}, "projection"),
        ({"image_type": ("DERIVED", "SECONDARY", "AXIAL", "MIN_IP")}, "projection"),
        ({"body_part": "CHEST"}, "body part CHEST"),
        ({"pixel_spacing": (0.9, 0.9)}, "larger than a head"),
        ({"pixel_spacing": (0.4, 0.8)}, "pixels made square"),
        ({"orientation": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)}, "turned to the usual view"),
    ],
)
def test_what_is_doubtful_is_said(change, remark):
    assert remark in placed(*range(0, 60, 5), **change).remarks()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"body_part": "HEAD"},
        {"body_part": "BRAIN W/O"},
        {"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI")},
        {"image_type": ("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE")},
    ],
)
def test_nothing_is_said_about_a_usual_series(change):
    assert placed(*range(0, 60, 5), **change).remarks() == []


def test_the_facts_are_those_of_any_slice():
    headers = [header(position_mm=x) for x in range(0, 60, 5)]
    headers[7] = replace(headers[7], pixel_spacing=(0.4, 0.8))
    assert "pixels made square" in series_facts(headers).remarks()


def test_a_field_of_view_smaller_than_a_head():
    assert placed(0, 1, 2, pixel_spacing=(0.2, 0.2)).remarks()[-1] == "smaller than a head"
    assert "smaller than a head" not in placed(0, 1, 2, pixel_spacing=(0.3, 0.3)).remarks()
    assert not placed(0, 1, 2, pixel_spacing=None).small

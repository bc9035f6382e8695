"""Neighbours follow the positions of a series; ties, gaps and ends are handled as documented."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.planning.neighbours import MAX_GAP_MM, find_neighbours


def slices(heights, series="s", ids=None):
    return pd.DataFrame(
        {
            "study_id": "study",
            "series_id": series,
            "slice_id": ids or [f"i{number:03d}" for number in range(len(heights))],
            "position_mm": [float(height) for height in heights],
        }
    )


def names(table, reach=1):
    ids = table["slice_id"].to_numpy()
    return {
        ids[row]: [ids[x] for x in found]
        for row, found in enumerate(find_neighbours(table, reach).tolist())
    }


def test_the_slices_below_and_above_by_height_whatever_the_order():
    assert names(slices([10, 0, 5], ids=["top", "low", "mid"])) == {
        "low": ["low", "mid"],
        "mid": ["low", "top"],
        "top": ["mid", "top"],
    }


def test_further_neighbours_are_ordered_from_the_lowest_to_the_highest():
    found = names(slices([0, 5, 10, 15, 20], ids=list("abcde")), reach=2)
    assert found["c"] == ["a", "b", "d", "e"]
    assert found["b"] == ["a", "a", "c", "d"]
    assert found["a"] == ["a", "a", "b", "c"]


def test_the_first_slice_by_id_represents_its_position():
    found = names(slices([0, 5, 5.004, 10], ids=["a", "c", "b", "d"]))
    assert found == {"a": ["a", "c"], "c": ["a", "d"], "b": ["a", "d"], "d": ["c", "d"]}
    found = names(slices([0, 5, 5, 10], ids=["a", "c", "b", "d"]))
    assert found == {"a": ["a", "b"], "c": ["a", "d"], "b": ["a", "d"], "d": ["b", "d"]}


def test_across_a_gap_there_is_no_neighbour():
    found = names(slices([0, 10, 10 + MAX_GAP_MM, 30 + MAX_GAP_MM], ids=list("abcd")))
    assert found == {"a": ["a", "b"], "b": ["a", "c"], "c": ["b", "c"], "d": ["d", "d"]}


def test_series_do_not_mix():
    table = slices([0, 1, 2, 3], series=["s", "t", "s", "t"], ids=list("abcd"))
    assert names(table) == {"a": ["a", "c"], "c": ["a", "c"], "b": ["b", "d"], "d": ["b", "d"]}


heights = st.lists(st.integers(0, 12).map(lambda x: x * 4.0), min_size=1, max_size=12)


@settings(deadline=None)
@given(heights, st.integers(1, 3))
def test_neighbours_are_what_a_walk_from_slice_to_slice_finds(values, reach):
    table = slices(values)
    levels = sorted(set(values))

    def walk(height, step):
        place = levels.index(height) + step
        if not 0 <= place < len(levels) or abs(levels[place] - height) > MAX_GAP_MM:
            return height
        return levels[place]

    for row, found in enumerate(find_neighbours(table, reach).tolist()):
        for step, side in ((-1, found[:reach][::-1]), (1, found[reach:])):
            height = values[row]
            for neighbour in side:
                moved = walk(height, step)
                assert values[neighbour] == moved
                if moved == values[row]:
                    assert neighbour == row
                else:
                    assert neighbour == values.index(moved)
                height = moved

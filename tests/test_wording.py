"""One of a thing is not called by its plural."""

from tfrecords_tools.wording import counted


def test_one_is_singular_and_all_else_plural():
    assert [counted(n, "slice") for n in (0, 1, 1200)] == ["0 slices", "1 slice", "1,200 slices"]
    assert [counted(n, "study", "studies") for n in (1, 2)] == ["1 study", "2 studies"]

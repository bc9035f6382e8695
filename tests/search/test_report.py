"""What the page of a search says of its best, and what its table holds."""

import numpy as np
import pytest
from scipy.stats import t

from ich_keras.search.progress import SearchProgress
from ich_keras.search.report import best_and_next
from ich_keras.search.trials import TrialRow, ranked, trials_table


def row(trial, samples, *, state="done", steps=10, **point):
    return TrialRow(trial, point, state, steps, tuple(samples))


def test_the_interval_is_students_over_the_seeds_that_both_have():
    first, second = (0.10, 0.12, 0.11, 0.13), (0.14, 0.15, 0.15, 0.16)
    differences = np.subtract(first, second)
    half = t.ppf(0.975, 3) * differences.std(ddof=1) / 2
    said = best_and_next([row("0", first), row("1", second)], "val_loss")
    assert "trial 0, is distinguishable from the next, trial 1, over 4 seeds" in said
    assert f"{differences.mean() - half:+.5f} to {differences.mean() + half:+.5f}" in said


def test_what_lies_within_the_spread_is_not_told_apart():
    said = best_and_next([row("0", (0.1, 0.3)), row("1", (0.2, 0.25))], "val_loss")
    assert "is not distinguishable" in said


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ([row("0", (0.1,)), row("1", (0.2,))], "differs from the next: set samples_per_point"),
        ([row("0", (0.1, 0.2))], "no other trial to compare"),
        ([row("0", (0.1, 0.1)), row("1", (0.2, 0.2))], "differs from the next: set randomize_seed"),
        ([row("0", (0.1, 0.2)), row("1", (0.1, 0.2))], "is not distinguishable"),
        ([row("0", (0.1, 0.2)), row("1", (0.3, 0.4))], "is distinguishable"),
    ],
)
def test_one_sample_or_one_trial_or_seeds_that_do_nothing(order, said):
    assert said in best_and_next(order, "val_loss")


def test_only_the_longest_trained_are_ranked_and_by_the_direction_of_the_objective():
    rows = [
        row("0", (0.1,), steps=5),
        row("1", (0.3,)),
        row("2", (0.2,)),
        row("3", (), state="failed"),
    ]
    assert [x.trial for x in ranked(rows, "val_loss")] == ["2", "1"]
    assert [x.trial for x in ranked(rows, "val_mean_auc")] == ["1", "2"]


def test_the_table_leaves_empty_what_is_not_there():
    rows = [row("0", (0.1, 0.3), rate=1.0), row("1", (0.2,), state="failed", rate=2.0)]
    table = trials_table(rows, "val_loss").set_index("trial")
    assert table.loc["0", "val_loss"] == pytest.approx(0.2)
    assert table.loc["0", "spread"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert np.isnan(table.loc["1", "val_loss"])


def test_lines_say_what_ended_once_where_there_is_no_terminal(caplog):
    rows = [row("0", (0.1,), rate=1.0)]
    with (
        caplog.at_level("INFO"),
        SearchProgress("val_loss", 3, lambda: rows, lambda _: 0, 1) as table,
    ):
        rows.append(row("1", (), state="running", rate=2.0))
        table.changed()
        rows[1] = row("1", (0.25,), rate=2.0)
        table.changed()
        table.changed()
    lines = [x.message for x in caplog.records]
    assert lines[0] == "1 trials ended before and are not repeated"
    assert lines[1].startswith("trial 1 done: rate=2.0: 0.25000; 2 of 3 trials ended, 0 failed")
    assert len(lines) == 2

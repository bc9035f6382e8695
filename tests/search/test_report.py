"""The statement on the best point, the ranking, the table and the log lines of a search."""

import numpy as np
import pytest
from scipy.stats import t

from ich_keras.search.progress import SearchProgress
from ich_keras.search.report import best_and_next
from ich_keras.search.trials import TrialRow, ranked, trials_table


def row(trial, samples, *, state="done", steps=10, **point):
    return TrialRow(trial, point, state, steps, tuple(samples))


def test_the_interval_is_students_t_over_the_shared_seeds():
    first, second = (0.10, 0.12, 0.11, 0.13), (0.14, 0.15, 0.15, 0.16)
    differences = np.subtract(first, second)
    half = t.ppf(0.975, 3) * differences.std(ddof=1) / 2
    statement = best_and_next([row("0", first), row("1", second)], "val_loss")
    assert "trial 0, is distinguishable from the next, trial 1, over 4 seeds" in statement
    assert f"{differences.mean() - half:+.5f} to {differences.mean() + half:+.5f}" in statement


def test_a_difference_within_the_spread_is_not_distinguishable():
    statement = best_and_next([row("0", (0.1, 0.3)), row("1", (0.2, 0.25))], "val_loss")
    assert "is not distinguishable" in statement


@pytest.mark.parametrize(
    ("order", "statement"),
    [
        ([row("0", (0.1,)), row("1", (0.2,))], "differs from the next: set samples_per_point"),
        ([row("0", (0.1, 0.2))], "no other trial to compare"),
        ([row("0", (0.1, 0.1)), row("1", (0.2, 0.2))], "differs from the next: set randomize_seed"),
        ([row("0", (0.1, 0.2)), row("1", (0.1, 0.2))], "is not distinguishable"),
        ([row("0", (0.1, 0.2)), row("1", (0.3, 0.4))], "is distinguishable"),
    ],
)
def test_the_statement_without_enough_trials_samples_or_spread(order, statement):
    assert statement in best_and_next(order, "val_loss")


def test_only_the_longest_trained_are_ranked_in_the_direction_of_the_objective():
    rows = [
        row("0", (0.1,), steps=5),
        row("1", (0.3,)),
        row("2", (0.2,)),
        row("3", (), state="failed"),
    ]
    assert [x.trial for x in ranked(rows, "val_loss")] == ["2", "1"]
    assert [x.trial for x in ranked(rows, "val_mean_auc")] == ["1", "2"]


def test_missing_values_are_empty_in_the_table():
    rows = [row("0", (0.1, 0.3), rate=1.0), row("1", (0.2,), state="failed", rate=2.0)]
    table = trials_table(rows, "val_loss").set_index("trial")
    assert table.loc["0", "val_loss"] == pytest.approx(0.2)
    assert table.loc["0", "spread"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert np.isnan(table.loc["1", "val_loss"])


def test_without_a_terminal_each_trial_that_ended_is_logged_once(caplog):
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

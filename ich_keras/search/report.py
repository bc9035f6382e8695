"""The report of a search: a page with a plain statement, the trials and two figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from ich_keras.evaluation.report_figures import base64_of
from ich_keras.figures.curves import save_png
from ich_keras.search.config import Search
from ich_keras.search.figures import effects, parallel_coordinates
from ich_keras.search.space import better
from ich_keras.search.trials import TrialRow, ranked
from ich_keras.view.templates import render
from tfrecords_tools.storage.atomic import write_text

ROUNDING = 1e-12  # differences below this are rounding errors


def write_search_report(folder: Path, search: Search, rows: Sequence[TrialRow]) -> str:
    """Writes `report.html` and `figures/`, once a trial is done; returns `best_and_next`."""
    order = ranked(rows, search.objective)
    statement = best_and_next(order, search.objective)
    figures = {}
    for name, draw in (("parallel_coordinates", parallel_coordinates), ("effects", effects)):
        path = folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        save_png(draw(order, search.objective), path)
        figures[name] = base64_of(path)
    page = render(
        "search.html.j2",
        name=search.name,
        objective=search.objective,
        better=better(search.objective),
        tuner=search.tuner,
        samples=search.samples_per_point,
        statement=statement,
        keys=list(search.search),
        order=order,
        others=[row for row in rows if row not in order],
        number=lambda value: "-" if np.isnan(value) else f"{value:.5f}",
        figures=figures,
    )
    write_text(folder / "report.html", page)
    return statement


def best_and_next(order: Sequence[TrialRow], objective: str) -> str:
    """States whether the best trial differs from the next, by a paired t interval.

    Samples with the same number share a seed, hence the pairs. `order` holds the trials that are
    done, the best first.
    """
    if len(order) < 2:
        return "There is no other trial to compare it with."
    best, following = order[0], order[1]
    if len(best.samples) < 2:
        return (
            "Each point was trained once, so it is not known whether the best differs from the"
            " next: set samples_per_point."
        )
    if np.ptp(best.samples) == np.ptp(following.samples) == 0:
        return (
            "All trainings of a point gave the same number, so it is not known whether the best"
            " differs from the next: set randomize_seed."
        )
    differences = np.subtract(best.samples, following.samples)
    if np.ptp(differences) < ROUNDING:
        low = high = float(differences[0])
    else:
        low, high = ttest_rel(best.samples, following.samples).confidence_interval(0.95)
    differs = low > 0 or high < 0
    return (
        f"The best, trial {best.trial}, is {'' if differs else 'not '}distinguishable from the"
        f" next, trial {following.trial}, over {len(best.samples)} seeds: {objective}"
        f" {differences.mean():+.5f}, 95 % interval {low:+.5f} to {high:+.5f}."
    )

"""What a search found, for a person: a page with a plain statement, the trials and two pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from ich_keras.evaluation.pages import base64_of, render
from ich_keras.figures.curves import save_png
from ich_keras.search.config import Search
from ich_keras.search.figures import effects, parallel_coordinates
from ich_keras.search.space import direction
from ich_keras.search.trials import TrialRow, ranked
from tfrecords_tools.storage.atomic import write_text

SAME = 1e-12  # differences that are no more than rounding


def write_search_report(folder: Path, search: Search, rows: Sequence[TrialRow]) -> str:
    """Writes `report.html` and `figures/`.

    Args:
        folder: of the search.
        search: what was searched.
        rows: every trial; at least one is done.

    Returns:
        Whether the best can be told from the next.
    """
    order = ranked(rows, search.objective)
    statement = best_and_next(order, search.objective)
    pictures = {}
    for name, draw in (("parallel_coordinates", parallel_coordinates), ("effects", effects)):
        path = folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        save_png(draw(order, search.objective), path)
        pictures[name] = base64_of(path)
    page = render(
        "search.html.j2",
        name=search.name,
        objective=search.objective,
        better="lower" if direction(search.objective) == "min" else "higher",
        tuner=search.tuner,
        samples=search.samples_per_point,
        statement=statement,
        keys=list(search.search),
        order=order,
        others=[row for row in rows if row not in order],
        number=lambda value: "-" if np.isnan(value) else f"{value:.5f}",
        pictures=pictures,
    )
    write_text(folder / "report.html", page)
    return statement


def best_and_next(order: Sequence[TrialRow], objective: str) -> str:
    """Whether the best trial can be told from the next, by the samples of both.

    Samples of the same number have the same seed, so that their differences are compared: Student's
    t, paired.

    Args:
        order: trials that are done, the best first.
        objective: its name.
    """
    if len(order) < 2:
        return "There is no other to compare it with."
    best, following = order[0], order[1]
    if len(best.samples) < 2:
        return (
            "Each point was trained once, so whether the best differs from the next is not known:"
            " set samples_per_point."
        )
    if np.ptp(best.samples) == np.ptp(following.samples) == 0:
        return (
            "The trainings of a point came to the same number, so whether the best differs from the"
            " next is not known: set randomize_seed."
        )
    differences = np.subtract(best.samples, following.samples)
    if np.ptp(differences) < SAME:
        low = high = float(differences[0])
    else:
        low, high = ttest_rel(best.samples, following.samples).confidence_interval(0.95)
    told = low > 0 or high < 0
    return (
        f"The best, trial {best.trial}, is {'' if told else 'not '}distinguishable from the next,"
        f" trial {following.trial}, over {len(best.samples)} seeds: {objective}"
        f" {differences.mean():+.5f}, 95 % interval {low:+.5f} to {high:+.5f}."
    )

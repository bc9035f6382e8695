"""Assigns patients to train, val and test."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dataset.existing import Existing
from tfrecords_tools.dataset.keys import keyed_hash
from tfrecords_tools.dataset.manifest import SPLITS
from tfrecords_tools.errors import ConvertError, UsageError
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.split_file import GIVEN_SPLITS, UNLABELLED, follow_split

TRAIN = SPLITS[0]

log = logging.getLogger(__name__)


def parse_split(text: str) -> tuple[float, ...]:
    """Reads `0.8,0.1,0.1`: fractions of the patients for train, val and test.

    `0,1,0` suits a data set that is only used for evaluation. Raises UsageError unless they are
    three, none is negative, and they sum to 1.
    """
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != 3 or not (min(fractions) >= 0 and math.isclose(sum(fractions), 1)):
        raise UsageError(f"--split {text!r}: expected three fractions that sum to 1: 0.8,0.1,0.1")
    return fractions


def splits(slices: pd.DataFrame, options: PlanOptions, existing: Existing) -> pd.Series:
    """The split of each trusted slice; "" if a split file does not name it.

    Patients of existing shards keep their split. Raises ConvertError if a split file moves them, or
    puts a patient into two splits.
    """
    slices = slices.assign(group=slices["patient"])
    if slices["pixel_hash"].any():
        slices["group"] = join_duplicates(slices)
        joined = slices["patient"].nunique() - slices["group"].nunique()
        log.info("identical slices: %d patients are kept together with another", joined)
    labelled = slices["labelled"]
    kept = existing.splits_of(slices["patient_key"]).where(labelled, "")
    split = pd.Series(UNLABELLED, index=slices.index)
    if isinstance(options.split, pd.Series):
        split[labelled] = follow_split(slices[labelled], options.split)
        moved = labelled & (kept != "") & (split != "") & (split != kept)
        if moved.any():
            raise ConvertError(
                f"the split file moves {slices.loc[moved, 'patient'].nunique()} patients of"
                " existing shards to another split; leave them where they are, or convert"
                " everything again with --fresh"
            )
    else:
        free = labelled & (kept == "")
        assigned = assign_splits(slices[free], options.split, options.seed, existing.index)
        split[free] = slices.loc[free, "group"].map(assigned)
    return split.where(kept == "", kept)


def assign_splits(
    slices: pd.DataFrame,
    fractions: Sequence[float],
    seed: int,
    existing: pd.DataFrame | None = None,
) -> dict[str, str]:
    """Assigns each patient to one split, so that every label reaches every split if possible.

    Patients with the rarest subtype are placed first, in the order of a hash, then those with the
    next. Each goes to the split that has the fewest patients with that subtype for its fraction:
    iterative stratification (Sechidis et al., 2011) with the divisor method of Adams, which gives
    each split one patient before any gets its second.

    The last patients with any subtype go to splits that have none yet, so that small sets have
    hemorrhages in each split. A split of fraction 0 gets nobody. `slices` have `group`: patients,
    or groups that must not be torn apart. `existing` are rows of an `index.csv` with other
    patients, who count for the fractions but stay where they are.
    """
    has = _subtypes(slices, "group")
    rarest_first = has.sum().sort_values(kind="stable").index
    kinds = has[rarest_first].assign(patient=True).to_numpy()
    rarest = np.argmax(kinds, axis=1)
    order = keyed_hash(has.index.to_series(), f"split {seed}".encode())
    shares = {name: share for name, share in zip(GIVEN_SPLITS, fractions, strict=True) if share > 0}
    counts = {name: np.zeros(kinds.shape[1]) for name in shares}  # patients of each kind
    if existing is not None:
        for name in shares:
            placed = _subtypes(existing[existing["split"] == name], "patient_key")[rarest_first]
            counts[name] += [*placed.sum(), len(placed)]

    def fullness(name: str, kind: int) -> tuple[float, float]:
        # Among equals, train comes first, then the smallest; otherwise the last split would miss
        # out on every rare kind.
        size = 0 if name == TRAIN else counts[name][-1] / shares[name]
        return counts[name][kind] / shares[name], size

    assigned = {}
    positive = kinds[:, :-1].max(axis=1)
    unplaced = positive.sum()
    for row in np.lexsort((order.to_numpy(str), rarest)):
        without = [name for name in shares if not counts[name][:-1].any()]
        names = without if positive[row] and unplaced <= len(without) else shares
        split = min(names, key=lambda name: fullness(name, rarest[row]))
        unplaced -= positive[row]
        counts[split] += kinds[row]
        assigned[str(has.index[row])] = split
    return assigned


def join_duplicates(slices: pd.DataFrame) -> pd.Series:
    """Groups patients that share a slice, pixel for pixel, directly or through others.

    A `pixel_hash` of 0 identifies nobody. Returns, for each slice, the first patient of its group.
    """
    from scipy.sparse import coo_array  # rarely needed, and slow to import
    from scipy.sparse.csgraph import connected_components

    patients, names = pd.factorize(slices["patient"], sort=True)
    hashed = slices["pixel_hash"].to_numpy() != 0
    pictures, _ = pd.factorize(slices["pixel_hash"].to_numpy()[hashed])
    nodes = len(names) + len(slices)
    edges = (np.ones(len(pictures), bool), (patients[hashed], len(names) + pictures))
    _, component = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    first = pd.Series(names).groupby(component[: len(names)]).transform("first")
    return pd.Series(first.to_numpy()[patients], index=slices.index)


def _subtypes(slices: pd.DataFrame, column: str) -> pd.DataFrame:
    """Which patient or group has which subtype in any slice, as booleans."""
    return slices.groupby(column)[list(SUBTYPES)].max().astype(bool)

"""Which patient stands on which side: drawn, or given by a file."""

import math
import warnings
import zlib
from collections.abc import Sequence
from gzip import BadGzipFile
from pathlib import Path

import numpy as np
import pandas as pd

from tfrecords_tools.classes import SUBTYPES
from tfrecords_tools.dataset.keys import keyed_hash
from tfrecords_tools.dataset.manifest import SPLITS
from tfrecords_tools.errors import InputError, UsageError

TRAIN, UNLABELLED = SPLITS[0], SPLITS[-1]
GIVEN_SPLITS = SPLITS[:-1]
ID_COLUMNS = ("slice_id", "study_id", "patient_id")  # the first that a split file has counts
EXAMPLES = 3  # faults named in a message

UNREADABLE = (ValueError, EOFError, BadGzipFile, zlib.error, pd.errors.ParserWarning)


class SplitError(InputError):
    """A split file that cannot be followed."""


def parse_split(text: str) -> tuple[float, ...]:
    """Reads `0.8,0.1,0.1`: fractions of the patients for train, val and test.

    A set that is only judged on is read by `0,1,0`.

    Raises:
        UsageError: unless they are three, none negative, and sum to 1.
    """
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != 3 or not (min(fractions) >= 0 and math.isclose(sum(fractions), 1)):
        raise UsageError(f"--split {text!r}: expected three fractions that sum to 1: 0.8,0.1,0.1")
    return fractions


def assign_splits(
    slices: pd.DataFrame,
    fractions: Sequence[float],
    seed: int,
    standing: pd.DataFrame | None = None,
) -> dict[str, str]:
    """Puts each patient into one split, so that every label reaches every split where it can.

    Patients with the rarest bleeding are placed first, in the order of a hash, then those with
    the next. Each goes to the split that has the fewest patients with that bleeding for its
    fraction: iterative stratification (Sechidis et al., 2011) with the divisor method of Adams,
    which gives each split one before any gets its second.

    Args:
        slices: with `patient_key`, whatever tells patients apart, and the six labels.
        fractions: of train, val and test; a split of fraction 0 gets none.
        seed: of the order.
        standing: slices of other patients, with `split` too, who are where they are; with them
            the fractions are to be met.

    Returns:
        The patient's key to the name of the split.
    """
    bears = _bleedings(slices)
    rarest_first = bears.sum().sort_values(kind="stable").index
    kinds = bears[rarest_first].to_numpy()
    kinds = np.hstack([kinds, np.ones((len(kinds), 1), bool)])  # the last: a patient at all
    rarest = np.argmax(kinds, axis=1)
    order = keyed_hash(bears.index.to_series(), f"split {seed}".encode())
    wanted = {name: share for name, share in zip(GIVEN_SPLITS, fractions, strict=True) if share > 0}
    placed = {name: np.zeros(kinds.shape[1]) for name in wanted}  # patients of each kind
    if standing is not None:
        for name, counts in placed.items():
            there = _bleedings(standing[standing["split"] == name])[rarest_first]
            counts += [*there.sum(), len(there)]
    splits = {}
    for place in np.lexsort((order.to_numpy(str), rarest)):

        def fullness(name: str, kind: int = rarest[place]) -> tuple[float, float]:
            # Of equals train, then the smallest: else rare kinds would all leave out the last.
            rest = 0 if name == TRAIN else placed[name][-1] / wanted[name]
            return placed[name][kind] / wanted[name], rest

        chosen = min(wanted, key=fullness)
        placed[chosen] += kinds[place]
        splits[str(bears.index[place])] = chosen
    return splits


def _bleedings(slices: pd.DataFrame) -> pd.DataFrame:
    """Which patient has which bleeding in any slice; bool, by patient."""
    return slices.groupby("patient_key")[list(SUBTYPES)].max().astype(bool)


def shard_ids(ids: pd.Series, key: bytes | None) -> pd.Series:
    """Slice or study ids as they stand in the shards: hashed if there is a key."""
    return keyed_hash(ids, key) if key else ids


def read_split(path: Path) -> pd.Series:
    """Reads who is where from a CSV: an id and a `split` a row, as `index.csv` has them.

    Returns:
        The split by id; the index is named after the column of ids, one of ID_COLUMNS.

    Raises:
        SplitError: on other columns, another split than train, val and test, an empty id, or an
            id that stands on two sides; names the lines.
        UsageError: if there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"--split {path}: no such file; give a CSV, or fractions: 0.8,0.1,0.1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,  # else rows with a field too many would lose their first
            )
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise SplitError(f"{path}: not a readable CSV ({reason})") from error
    columns = [name for name in ID_COLUMNS if name in table.columns]
    if not columns or "split" not in table.columns:
        raise SplitError(
            f"{path}: has the columns {', '.join(table.columns)}; expected split and one of"
            f" {', '.join(ID_COLUMNS)}"
        )
    table.index += 2  # lines count from 1, and the first is the header
    rows = table.loc[~table["split"].isin(["", UNLABELLED]), [columns[0], "split"]]
    _refuse(path, rows[~rows["split"].isin(GIVEN_SPLITS)], "expected the split train, val or test")
    nameless = f"its {columns[0]} is empty; name slices without one by another id"
    _refuse(path, rows[rows[columns[0]] == ""], nameless)
    rows = rows.drop_duplicates()
    _refuse(path, rows[rows[columns[0]].duplicated()], "its id stands in another split already")
    if rows.empty:
        raise SplitError(f"{path}: puts nothing into train, val or test")
    return rows.set_index(columns[0])["split"]


def follow_split(slices: pd.DataFrame, given: pd.Series, names: pd.DataFrame) -> pd.Series:
    """The split of each slice as a file gives it, "" where it does not name the slice.

    Args:
        slices: with ID_COLUMNS and `patient_key`, whatever tells patients apart.
        given: from `read_split`.
        names: `slice_id` and `study_id` as they stand in the shards, where a key may have hashed
            them; so does `index.csv` of other shards with that key.

    Raises:
        SplitError: if it puts a patient on two sides.
    """
    column = str(given.index.name)
    split = slices[column].map(given)
    if column in names:
        split = split.fillna(names[column].map(given))
    split = split.fillna("")
    named = split != ""
    sides = split[named].groupby(slices.loc[named, "patient_key"]).nunique()
    torn = sides.index[sides > 1]
    if len(torn):
        first = slices.loc[named & (slices["patient_key"] == torn[0]), "study_id"].iloc[0]
        raise SplitError(
            f"the split file puts {len(torn)} patients into more than one split (one has the study"
            f" {first}): what is learned of a patient would be judged on the same; split by"
            " patient, and with --group-duplicates keep patients who share a slice in one split"
        )
    return split


def join_duplicates(slices: pd.DataFrame) -> pd.Series:
    """What stands on one side as a whole: patients that share a slice, pixel for pixel, are one.

    Args:
        slices: with `patient_key` and `pixel_hash`, 0 where the pixels tell nobody apart.

    Returns:
        Of each slice the first of the patients that are joined with its own.
    """
    from scipy.sparse import coo_array  # rarely needed, and slow to import
    from scipy.sparse.csgraph import connected_components

    patients, names = pd.factorize(slices["patient_key"], sort=True)
    told = slices["pixel_hash"].to_numpy() != 0
    pictures, _ = pd.factorize(slices["pixel_hash"].to_numpy()[told])
    nodes = len(names) + len(slices)
    edges = (np.ones(len(pictures), bool), (patients[told], len(names) + pictures))
    _, component = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    first = pd.Series(names).groupby(component[: len(names)]).transform("first")
    return pd.Series(first.to_numpy()[patients], index=slices.index)


def _refuse(path: Path, rows: pd.DataFrame, fault: str) -> None:
    if len(rows):
        some = ", ".join(str(line) for line in rows.index[:EXAMPLES])
        more = f" and {len(rows) - EXAMPLES} more" if len(rows) > EXAMPLES else ""
        raise SplitError(f"{path}: line {some}{more}: {fault}")

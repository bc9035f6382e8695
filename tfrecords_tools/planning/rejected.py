"""Files that a plan rejects, and rejected files of earlier conversions that stay rejected."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from tfrecords_tools.dataset.existing import Existing
from tfrecords_tools.dataset.keys import path_hash, public_ids
from tfrecords_tools.dataset.manifest import RejectedFile
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.tables.csv_cells import path_cell

# Name of a file in the challenge, which contains the id of its slice.
RSNA_NAME = r"^(?:.*/)?(ID_[0-9a-f]+)(?:\.[^/]*)?$"

DUPLICATE_ID = "duplicate_id"
ID_MISMATCH = "id_mismatch"
NO_LABEL = "no_label"
NO_SPLIT = "no_split"
DETAILS = {
    DUPLICATE_ID: "another file has the same SOP Instance UID, and which is right cannot be told",
    ID_MISMATCH: "the file is named as one slice, and its SOP Instance UID is another's",
    NO_LABEL: "the label file does not name this slice",
    NO_SPLIT: "the split file does not name this slice, its study or its patient",
}


@dataclass(frozen=True, eq=False)
class Rejected:
    """Files that are rejected before pixels are read."""

    rejects: pd.DataFrame  # `path`, `reason` and `detail`, including earlier conversions
    refused: tuple[RejectedFile, ...]  # those of them that the manifest lists with their slice
    # number of labelled slices without a file. A rejected file counts if it is named after its
    # slice or is in `refused`.
    labels_without_files: int


def doubts(slices: pd.DataFrame, labelled: Collection[str]) -> pd.Series:
    """Why the identity or label of each slice cannot be trusted; "" if it can."""
    reason = pd.Series("", index=slices.index)
    reason[slices["labelled"] & ~slices["slice_id"].isin(labelled)] = NO_LABEL
    named = _id_in_name(slices["path"])
    reason[named.notna() & (named != slices["slice_id"])] = ID_MISMATCH
    ids = slices.loc[reason != ID_MISMATCH, "slice_id"]
    reason[ids.index[ids.duplicated(keep=False)]] = DUPLICATE_ID
    return reason


def all_rejected(
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    duplicates: pd.DataFrame,
    labels: pd.DataFrame | None,
    existing: Existing,
    options: PlanOptions,
) -> Rejected:
    """Combines the rejected files of this scan with those of earlier conversions.

    A file that was scanned again replaces its earlier row. Rows of other files stay, since a list
    need not name all files, unless another file has their slice now. `duplicates` are those of
    `rejects` whose slice is in another file too. Without labels, `labels_without_files` stays as it
    is.
    """
    salt = options.salt
    tried = slices[~slices["unchanged"]]
    kept = _kept_rejects(existing, tried, rejects, options)
    rejects = pd.concat([kept, rejects])
    marks = path_hash(duplicates["path"], salt)
    refused = (
        *_kept_entries(existing, kept, set(tried["public_slice_id"]), salt),
        *map(RejectedFile, marks, duplicates["public_slice_id"], [""] * len(duplicates)),
    )
    missing = existing.manifest.labels_without_files
    if labels is not None:
        without_file = _without_file(labels.index, slices, rejects, refused, options.key)
        missing = int((~existing.holds(without_file)).sum())
    return Rejected(rejects, refused, missing)


def _kept_rejects(
    existing: Existing, tried: pd.DataFrame, rejects: pd.DataFrame, options: PlanOptions
) -> pd.DataFrame:
    """The rows of `rejects.csv` that this conversion does not replace."""
    if existing.rejects.empty:  # saves a third of the time of a first plan
        return existing.rejects
    paths = existing.rejects["path"]
    scanned = pd.concat([tried["path"], rejects["path"]]).map(path_cell)
    slice_ids = {x.file: x.slice_id for x in existing.manifest.refused}
    own = path_hash(paths, options.salt).map(slice_ids)
    mismatched = existing.rejects["reason"] == ID_MISMATCH
    named = _id_in_name(paths.mask(mismatched, "")).dropna()
    named = public_ids(named, options.key).reindex(paths.index)
    new = tried.loc[tried["new"], "public_slice_id"]
    elsewhere = own.isin(tried["public_slice_id"]) | named.isin(new)
    return existing.rejects[~paths.isin(scanned) & ~elsewhere]


def _kept_entries(
    existing: Existing, kept: pd.DataFrame, tried: set[str], salt: bytes
) -> list[RejectedFile]:
    """The entries of the manifest's `refused` whose rows of `rejects.csv` are kept."""
    files = {"", *path_hash(kept["path"], salt)}
    return [x for x in existing.manifest.refused if x.file in files and x.slice_id not in tried]


def _without_file(
    labelled: pd.Index,
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    refused: Collection[RejectedFile],
    key: bytes | None,
) -> pd.Series:
    """Public ids of the labelled slices without any file, even a rejected one."""
    ids = pd.concat([slices.loc[slices["labelled"], "slice_id"], _id_in_name(rejects["path"])])
    missing = public_ids(pd.Series(labelled[~labelled.isin(ids.dropna())], dtype=str), key)
    return missing[~missing.isin([x.slice_id for x in refused])]


def _id_in_name(paths: pd.Series) -> pd.Series:
    """The slice that each file is named after; missing if it is not named after one."""
    return paths.astype(str).str.extract(RSNA_NAME, expand=False)

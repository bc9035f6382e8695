"""The files that a plan leaves out, and what stays of those that earlier conversions left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from tfrecords_tools.dataset.existing import Standing, file_marks
from tfrecords_tools.dataset.manifest import Refused
from tfrecords_tools.planning.split import shard_ids

# Of a file; the challenge names it by its slice.
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
class LeftOut:
    """What is left out before pixels are read.

    Attributes:
        rejects: the files, of earlier conversions too: `path`, `reason`, `detail`.
        refused: of those, the ones that the manifest names with their slice.
        labels_without_files: labelled slices that no file was found for; a file that is left out
            counts as found if it is named after its slice or is in `refused`.
    """

    rejects: pd.DataFrame
    refused: tuple[Refused, ...]
    labels_without_files: int


def set_aside(slices: pd.DataFrame, known: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Refuses whose identity or label is in doubt: a lost slice is counted, a wrong one believed.

    Returns:
        (slices, rejects), those that stay and those that do not, with their `slice_id`.
    """
    named = _named(slices["path"])
    reason = pd.Series("", index=slices.index)
    reason[slices["labelled"] & ~slices["slice_id"].isin(known)] = NO_LABEL
    reason[named.notna() & (named != slices["slice_id"])] = ID_MISMATCH
    trusted = slices[reason != ID_MISMATCH]
    reason[trusted.index[trusted["slice_id"].duplicated(keep=False)]] = DUPLICATE_ID
    stays = reason == ""
    reason = reason[~stays]
    columns = ["path", "slice_id"]
    rejects = slices.loc[~stays, columns].assign(reason=reason, detail=reason.map(DETAILS))
    return slices[stays].reset_index(drop=True), rejects


def compare(
    names: pd.DataFrame,
    paths: pd.Series,
    standing: Standing,
    content_of: Callable[[str], str] | None,
    salt: bytes,
) -> pd.DataFrame:
    """Compares the slices that were found with those that stand.

    Args:
        names: ids of the slices, as shards have them.
        paths: of their files.
        standing: shards to add to.
        content_of: as `make_plan` takes it.
        salt: secret that ids are hashed with.

    Returns:
        `names` with two more columns, bool: `unchanged`, whether the slice was refused for its
        pixels and its file has the same bytes still; `new`, whether it is to be written.
    """
    unchanged = pd.Series(False, index=names.index)
    if content_of is not None:
        unchanged = standing.refused_unchanged(names["slice_id"], paths, content_of, salt)
    new = ~standing.has_record(names["slice_id"]) & ~unchanged
    return names.assign(unchanged=unchanged, new=new)


def left_out(
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    doubled: pd.DataFrame,
    labelled: pd.Index | None,
    key: bytes | None,
    salt: bytes,
) -> LeftOut:
    """What a first conversion leaves out.

    Args:
        slices: that were found and trusted.
        rejects: all files that were found and are left out.
        doubled: of those, the files whose slice is in another file too, with `slice_id`.
        labelled: slices that the label file names; None if there is no label file.
        key: of the ids.
        salt: secret that patients and files are hashed with.
    """
    ids = shard_ids(doubled["slice_id"], key)
    refused = tuple(map(Refused, file_marks(doubled["path"], salt), ids, [""] * len(ids)))
    known = labelled if labelled is not None else pd.Index([], dtype=str)
    without_files = _without_files(known, slices, rejects, refused, key)
    return LeftOut(rejects, refused, len(without_files))


def still_left_out(
    now: LeftOut,
    slices: pd.DataFrame,
    names: pd.DataFrame,
    labelled: pd.Index | None,
    standing: Standing,
    key: bytes | None,
    salt: bytes,
) -> LeftOut:
    """What is left out once an addition is made.

    What is said of a file that was found replaces what was said of it before. Of any other file
    it stays, since a list need not name all files, unless its slice is in another file now.

    Args:
        now: from `left_out`.
        slices: that were found and trusted.
        names: their ids as shards have them, from `compare`.
        labelled: slices that the label file names; without one, what is known of labels stays.
        standing: shards to add to.
        key: of the ids.
        salt: secret that patients and files are hashed with.
    """
    tried = ~names["unchanged"]
    found, ids = pd.concat([slices["path"][tried], now.rejects["path"]]), names["slice_id"][tried]
    doubtful = standing.rejects["reason"] == ID_MISMATCH
    named = _named(standing.rejects["path"].mask(doubtful, ""))
    named = shard_ids(named.dropna(), key).reindex(named.index)
    lasting = standing.lasting_rejects(found, ids, named, names["slice_id"][names["new"]], salt)
    refused = standing.lasting_refused(lasting, ids, salt) + now.refused
    rejects = pd.concat([lasting, now.rejects])
    missing = standing.manifest.labels_without_files
    if labelled is not None:
        without_files = _without_files(labelled, slices, rejects, refused, key)
        missing = int((~standing.has_record(without_files)).sum())
    return LeftOut(rejects, refused, missing)


def _without_files(
    labelled: pd.Index,
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    refused: Sequence[Refused],
    key: bytes | None,
) -> pd.Series:
    """The labelled slices of which no file was found, not even one that is left out.

    Returns:
        Their ids as shards have them.
    """
    there = pd.concat([slices.loc[slices["labelled"], "slice_id"], _named(rejects["path"])])
    ids = shard_ids(pd.Series(labelled[~labelled.isin(there.dropna())], dtype=str), key)
    return ids[~ids.isin([x.slice_id for x in refused])]


def _named(paths: pd.Series) -> pd.Series:
    """The slice that each file is named after; missing where it is not."""
    return paths.astype(str).str.extract(RSNA_NAME, expand=False)

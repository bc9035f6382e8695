"""Scanned slices, compared with the shards that they are added to."""

import logging
import math

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.existing import Existing
from tfrecords_tools.dataset.keys import keyed_hash, path_hash
from tfrecords_tools.dataset.manifest import REJECTS_NAME
from tfrecords_tools.planning.file_scan import content_sha256

log = logging.getLogger(__name__)


def compare(slices: pd.DataFrame, existing: Existing, root: str, salt: bytes) -> pd.DataFrame:
    """Compares trusted slices with those of existing shards.

    Only files whose pixels were rejected before are read. `slices` get two more columns, bool:
    `unchanged`, whether the pixels of the slice were rejected before and its file still has the
    same bytes; `new`, whether to write the slice.
    """
    known = {(x.slice_id, x.file, x.content) for x in existing.manifest.refused if x.content}
    rejected = slices[slices["public_slice_id"].isin([slice_id for slice_id, *_ in known])]
    contents = [content_sha256(root, path) for path in rejected["path"]]
    files = zip(
        rejected["public_slice_id"],
        path_hash(rejected["path"], salt),
        keyed_hash(pd.Series(contents, dtype=object), salt),
        strict=True,
    )
    same = rejected.index[[file in known for file in files]]
    unchanged = pd.Series(slices.index.isin(same), index=slices.index)
    new = ~existing.holds(slices["public_slice_id"]) & ~unchanged
    return slices.assign(unchanged=unchanged, new=new)


def log_changes(existing: Existing, slices: pd.DataFrame) -> None:
    """Logs how slices from `compare` differ from existing ones."""
    before = existing.index.set_index("slice_id")
    exists, new = existing.holds(slices["public_slice_id"]), slices["new"]
    grown = slices.loc[new, "public_study_id"].isin(before["study_id"])
    log.info(
        "%d slices exist already, %d are new, %d of them in studies that exist in part",
        *(exists.sum(), new.sum(), grown.sum()),
    )
    unchanged = (slices["unchanged"] & ~exists).sum()
    if unchanged:
        log.info(
            "%d slices were rejected for their pixels before, and their files have not changed",
            unchanged,
        )
    if grown.any() and existing.manifest.format.neighbours:
        log.warning("existing slices do not get new slices as neighbours")
    compared = slices[exists & slices["labelled"]]
    labels = list(LABELS)
    now = compared[labels].to_numpy("float64")
    then = before.loc[compared["public_slice_id"], labels].to_numpy("float64", na_value=math.nan)
    changed = (now != then).any(axis=1).sum()
    if changed:
        log.warning(
            "%d existing slices have other labels now; their old labels are kept, --fresh converts"
            " everything again",
            changed,
        )


def log_doubtful(existing: Existing, doubtful: pd.DataFrame, trusted: pd.DataFrame) -> None:
    """Logs how many existing slices can no longer be trusted, as a file was found only now."""
    ids = doubtful["public_slice_id"]
    count = ids[~ids.isin(trusted["public_slice_id"]) & existing.holds(ids)].nunique()
    if count:
        log.warning(
            "%d existing slices are in doubt now, for the reasons in %s; --fresh leaves them out",
            *(count, REJECTS_NAME),
        )

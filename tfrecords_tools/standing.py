"""Shards that stand already, when others are added to them."""

import hashlib
import hmac
import logging
import math
import re
from dataclasses import dataclass
from io import StringIO

import pandas as pd

from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.manifest import (
    INDEX_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    file_sha256,
    read_manifest,
)
from tfrecords_tools.rejects import path_cell
from tfrecords_tools.shard import WORK
from tfrecords_tools.storage import ShardPath

TABLES = (INDEX_NAME, REJECTS_NAME)

_ADDED = re.compile(r"-add(\d+)-")

log = logging.getLogger(__name__)


class StandingError(InputError):
    """Shards that cannot be added to."""


@dataclass(frozen=True, eq=False)
class Standing:
    """A finished conversion.

    Attributes:
        manifest: of it.
        index: the rows of `index.csv`: texts, the labels as Int8, lengths as float64.
        rejects: the rows of `rejects.csv`, all texts.
        texts: both files as they are, by name.
    """

    manifest: Manifest
    index: pd.DataFrame
    rejects: pd.DataFrame
    texts: dict[str, str]

    def known(self, slice_ids: pd.Series) -> pd.Series:
        """Whether each slice stands already, or was refused."""
        return slice_ids.isin(self.index["slice_id"]) | slice_ids.isin(self.manifest.refused)

    def sides(self, patient_keys: pd.Series) -> pd.Series:
        """The split in which each patient stands, else ""."""
        placed = self.index[self.index["split"] != SPLITS[-1]].drop_duplicates("patient_key")
        return patient_keys.map(placed.set_index("patient_key")["split"]).fillna("")

    def not_told_yet(self, rejects: pd.DataFrame) -> pd.DataFrame:
        """Those of the rejects that `rejects.csv` does not have."""
        told = pd.MultiIndex.from_frame(self.rejects[["path", "reason"]])
        now = pd.MultiIndex.from_arrays([rejects["path"].map(path_cell), rejects["reason"]])
        return rejects[~now.isin(told)]

    @property
    def next_addition(self) -> int:
        """The number of the next addition, from 1."""
        numbers = (_ADDED.search(shard.name) for shard in self.manifest.shards)
        return 1 + max((int(found[1]) for found in numbers if found), default=0)


def read_standing(out: ShardPath) -> Standing:
    """Reads what stands in a folder.

    Of an addition that was interrupted at its very end, the tables may be those of the whole
    already; those before it are then in WORK.

    Raises:
        ManifestError: if there are no finished shards.
        StandingError: if a table is not the manifest's.
    """
    manifest = read_manifest(out)
    if manifest.key_check is None:
        raise StandingError(
            f"{out}: does not say how its patients are hashed, as shards of today do; give --fresh"
            " to convert all anew"
        )
    texts = {}
    for name in TABLES:
        found = [path for path in (out / name, out / WORK / name) if path.is_file()]
        whole = [path for path in found if file_sha256(path) == manifest.tables.get(name)]
        if not whole:
            raise StandingError(
                f"{out / name}: is not the manifest's; give --fresh to convert anew"
            )
        texts[name] = whole[0].read_text(encoding="utf-8")
    index, rejects = (
        pd.read_csv(StringIO(texts[name]), dtype=str, keep_default_na=False) for name in TABLES
    )
    for columns, dtype in ((list(LABELS), "Int8"), (["z_mm", "pixel_mm"], "float64")):
        index[columns] = index[columns].apply(pd.to_numeric).astype(dtype)
    return Standing(manifest, index, rejects, texts)


def key_check(salt: bytes) -> str:
    """What tells whether two conversions hash patients alike, but not how."""
    return hmac.new(salt, b"key check", hashlib.sha256).hexdigest()


def say_what_changed(standing: Standing, slices: pd.DataFrame, names: pd.DataFrame) -> None:
    """Compares what was found with what stands.

    Args:
        standing: what stands.
        slices: that were found and trusted, with `labelled` and the six labels.
        names: their `slice_id`, `study_id` and `patient_key` as shards have them.
    """
    before = standing.index.set_index("slice_id")
    stands = names["slice_id"].isin(before.index)
    new = ~standing.known(names["slice_id"])
    grown = names.loc[new, "study_id"].isin(before["study_id"])
    log.info(
        "%d slices stand already, %d are new, %d of them of studies that stand in part",
        *(stands.sum(), new.sum(), grown.sum()),
    )
    if grown.any() and standing.manifest.neighbours:
        log.warning("slices that stand do not get the new ones beside them as neighbours")
    labels = list(LABELS)
    now = slices.loc[stands & slices["labelled"], labels].to_numpy("float64")
    then = before.loc[names.loc[stands & slices["labelled"], "slice_id"], labels]
    changed = (now != then.to_numpy("float64", na_value=math.nan)).any(axis=1).sum()
    if changed:
        log.warning(
            "%d slices that stand have other labels now; those that stand are kept, --fresh"
            " converts anew",
            changed,
        )


def say_what_is_in_doubt(standing: Standing, found: pd.Series, trusted: pd.Series) -> None:
    """A slice may stand of which only now another file turns up.

    Args:
        standing: what stands.
        found: ids of all slices that were found, as shards have them.
        trusted: of those, the ids that are not refused.
    """
    doubted = found[~found.isin(trusted) & found.isin(standing.index["slice_id"])].nunique()
    if doubted:
        log.warning(
            "%d slices that stand are in doubt now, as %s tells of their files; --fresh leaves"
            " them out",
            *(doubted, REJECTS_NAME),
        )

"""Shards that stand already, when others are added to them."""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.keys import keyed_hash
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    Refused,
    file_sha256,
    read_manifest,
)
from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.tables.csv_cells import path_cell

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

    def has_record(self, slice_ids: pd.Series) -> pd.Series:
        """Whether each slice is in a shard."""
        return slice_ids.isin(self.index["slice_id"])

    def refused_unchanged(
        self, slice_ids: pd.Series, paths: pd.Series, content_of: Callable[[str], str], salt: bytes
    ) -> pd.Series:
        """Whether the pixels of each slice were refused, in this file, with the very same bytes.

        Args:
            slice_ids: as shards have them.
            paths: of their files; only those of slices that were refused are read.
            content_of: path to the SHA-256 of the file's bytes.
            salt: that ids are hashed with.
        """
        known = {(x.slice_id, x.file, x.content) for x in self.manifest.refused if x.content}
        asked = slice_ids.isin([slice_id for slice_id, *_ in known])
        files = file_marks(paths[asked], salt)
        contents = keyed_hash(paths[asked].map(content_of), salt)
        now = zip(slice_ids[asked], files, contents, strict=True)
        same = asked.index[asked][[x in known for x in now]]
        return pd.Series(asked.index.isin(same), index=asked.index)

    def lasting_rejects(
        self, found: pd.Series, tried: pd.Series, named: pd.Series, new: pd.Series, salt: bytes
    ) -> pd.DataFrame:
        """The rows of `rejects.csv` that a conversion does not replace.

        Args:
            found: paths of the files that were found, but of those that were refused before and
                are unchanged.
            tried: ids of the slices that were found and trusted; without those, too.
            named: slice that the file of each row is named after; missing if there is none.
            new: ids of those slices that no shard holds yet.
            salt: that ids are hashed with.
        """
        paths = self.rejects["path"]
        slice_ids = {x.file: x.slice_id for x in self.manifest.refused}
        elsewhere = file_marks(paths, salt).map(slice_ids).isin(tried) | named.isin(new)
        return self.rejects[~paths.isin(found.map(path_cell)) & ~elsewhere]

    def lasting_refused(
        self, lasting: pd.DataFrame, tried: pd.Series, salt: bytes
    ) -> tuple[Refused, ...]:
        """The entries of the manifest's `refused` that belong to rows that stay.

        Args:
            lasting: from `lasting_rejects`.
            tried: as there.
            salt: as there.
        """
        files, ids = {"", *file_marks(lasting["path"], salt)}, set(tried)
        kept = (x for x in self.manifest.refused if x.file in files and x.slice_id not in ids)
        return tuple(kept)

    def sides(self, patient_keys: pd.Series) -> pd.Series:
        """The split in which each patient stands, else ""."""
        placed = self.index[self.index["split"] != SPLITS[-1]].drop_duplicates("patient_key")
        return patient_keys.map(placed.set_index("patient_key")["split"]).fillna("")

    def told(self, rejects: pd.DataFrame) -> bool:
        """Whether `rejects.csv` has these rows and no others."""
        now = rejects.assign(path=rejects["path"].map(path_cell))
        return sorted(now.itertuples(index=False)) == sorted(self.rejects.itertuples(index=False))

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


def file_marks(paths: pd.Series, salt: bytes) -> pd.Series:
    """What the manifest knows files that were left out by, in the place of their paths."""
    return keyed_hash(paths.map(path_cell), salt)


def say_what_changed(standing: Standing, slices: pd.DataFrame, names: pd.DataFrame) -> None:
    """Compares what was found with what stands.

    Args:
        standing: what stands.
        slices: that were found and trusted, with `labelled` and the six labels.
        names: their `slice_id`, `study_id` and `patient_key` as shards have them, and whether
            they are `new`.
    """
    before = standing.index.set_index("slice_id")
    stands = standing.has_record(names["slice_id"])
    new = names["new"]
    grown = names.loc[new, "study_id"].isin(before["study_id"])
    log.info(
        "%d slices stand already, %d are new, %d of them of studies that stand in part",
        *(stands.sum(), new.sum(), grown.sum()),
    )
    unchanged = (~stands & ~new).sum()
    if unchanged:
        log.info(
            "%d slices were refused for their pixels before, and their files have the same bytes",
            unchanged,
        )
    if grown.any() and standing.manifest.format.neighbours:
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


def say_what_is_mended(standing: Standing, rejects: pd.DataFrame) -> None:
    """Says how many files that were left out are not any more.

    Args:
        standing: what stands.
        rejects: the rows of `rejects.csv` now.
    """
    mended = (~standing.rejects["path"].isin(rejects["path"])).sum()
    if mended:
        log.info("%d files of %s are not left out any more", mended, REJECTS_NAME)

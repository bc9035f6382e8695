"""Shards that stand already, when others are added to them."""

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from io import StringIO

import pandas as pd

from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.manifest import (
    INDEX_NAME,
    REJECTS_NAME,
    Manifest,
    file_sha256,
    read_manifest,
)
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

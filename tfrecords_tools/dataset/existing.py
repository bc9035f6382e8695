"""The shards that a folder holds already, when others are added to them."""

import re
from dataclasses import dataclass
from io import StringIO

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import (
    FORMAT_VERSION,
    INDEX_COLUMNS,
    INDEX_NAME,
    REJECT_COLUMNS,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    ShardFormat,
    file_sha256,
    read_manifest,
)
from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.tables.csv_cells import path_cell

TABLES = (INDEX_NAME, REJECTS_NAME)
NUMBERS = {**dict.fromkeys(LABELS, "Int8"), "z_mm": "float64", "pixel_mm": "float64"}

_ADDITION = re.compile(r"-add(\d+)-")


@dataclass(frozen=True, eq=False)
class Existing:
    """A finished conversion, or an empty one."""

    manifest: Manifest
    index: pd.DataFrame  # the rows of `index.csv`: text, labels as Int8, lengths as float64
    rejects: pd.DataFrame  # the rows of `rejects.csv`, all text
    texts: dict[str, str]  # both files as they are, by name

    @property
    def is_empty(self) -> bool:
        return not self.manifest.shards

    @property
    def next_addition(self) -> int:
        """Number of the next addition, from 1; 0 if it is the first conversion."""
        numbers = (_ADDITION.search(shard.name) for shard in self.manifest.shards)
        previous = [int(number[1]) if number else 0 for number in numbers]
        return 1 + max(previous, default=-1)

    def holds(self, slice_ids: pd.Series) -> pd.Series:
        """Whether each slice is in a shard."""
        return slice_ids.isin(self.index["slice_id"])

    def splits_of(self, patient_keys: pd.Series) -> pd.Series:
        """The split of each patient; "" if the patient is in none."""
        labelled = self.index[self.index["split"] != SPLITS[-1]]
        splits = dict(zip(labelled["patient_key"], labelled["split"], strict=True))
        return patient_keys.map(lambda key: splits.get(key, "")).astype(object)

    def has_rejects(self, rejects: pd.DataFrame) -> bool:
        """Whether `rejects.csv` has exactly these rows."""
        now = rejects.assign(path=rejects["path"].map(path_cell))
        return sorted(now.itertuples(index=False)) == sorted(self.rejects.itertuples(index=False))


def no_shards(shard_format: ShardFormat) -> Existing:
    """The start of a first conversion."""
    manifest = Manifest(FORMAT_VERSION, "", shard_format, {}, (), {}, labels_without_files=0)
    index = pd.DataFrame(columns=INDEX_COLUMNS, dtype=str).astype(NUMBERS)
    return Existing(manifest, index, pd.DataFrame(columns=REJECT_COLUMNS, dtype=str), {})


def read_existing(out: ShardPath) -> Existing:
    """Reads the shards that a folder holds; ConvertError if a table does not match the manifest.

    If an addition was interrupted at its very end, the tables may already include it; the tables
    from before are then in WORK.
    """
    manifest = read_manifest(out)
    if manifest.key_check is None:
        raise ConvertError(
            f"{out}: does not say how its patients are hashed, as shards of an older release;"
            " convert everything again with --fresh"
        )
    texts = {name: _read_table(out, name, manifest) for name in TABLES}
    index, rejects = (
        pd.read_csv(StringIO(texts[name]), dtype=str, keep_default_na=False) for name in TABLES
    )
    columns = [*NUMBERS]
    index[columns] = index[columns].apply(pd.to_numeric).astype(NUMBERS)
    return Existing(manifest, index, rejects, texts)


def _read_table(out: ShardPath, name: str, manifest: Manifest) -> str:
    for path in (out / name, out / WORK / name):
        if path.is_file() and file_sha256(path) == manifest.tables.get(name):
            return path.read_text(encoding="utf-8")
    raise ConvertError(f"{out / name}: does not match the manifest; convert again with --fresh")

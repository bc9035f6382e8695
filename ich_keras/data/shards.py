"""A folder of shards as one experiment reads it, checked before anything is read."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.s3 import register_s3
from ich_keras.experiment.schema import DataConfig
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    Shard,
    read_manifest,
)
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.shard_path import ShardPath, local_copy
from tfrecords_tools.windows import Window

TEXT_COLUMNS = ("slice_id", "study_id", "patient_key", "shard")  # of the index
PLACE_COLUMNS = ("slice_id", "shard")
CATEGORIES = {"split": "category", "shard": "category"}


class DatasetError(InputError):
    """Shards that an experiment cannot use, or that cannot be read."""


@dataclass(frozen=True)
class ShardSet:
    """A folder of shards, and what one experiment makes of it."""

    folder: ShardPath
    manifest: Manifest
    input: NetworkInput  # the input of the network that is made of each record

    @property
    def stored(self) -> NetworkInput:
        """The input of a network that takes records as they are stored."""
        stored = self.manifest.format
        return NetworkInput(stored.size, stored.size, stored.windows, stored.neighbours)

    @property
    def pixel_mm(self) -> float | None:
        """Median edge of a pixel of the network's input; None if no DICOM file gave it."""
        stored = self.manifest.pixel_mm
        return None if stored is None else stored * self.manifest.format.size / self.input.size

    def slices(self, split: str) -> int:
        """Number of slices in a split.

        Raises:
            DatasetError: if the split does not exist or is empty.
        """
        self._check_split(split)
        return self.manifest.splits[split].slices

    def split_shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split; raises as `slices`."""
        self._check_split(split)
        return self.manifest.split_shards(split)

    def prevalences(self, split: str) -> np.ndarray:
        """The share of a split's slices that have each label; float64 (6,)."""
        positives = self.manifest.splits[split].positives
        return np.array([positives[label] for label in LABELS]) / self.slices(split)

    def index(self) -> pd.DataFrame:
        """`index.csv`: one row per slice."""
        return self._read_index(dict.fromkeys(TEXT_COLUMNS, str))

    def shards_of(self, slice_ids: Collection[str]) -> set[str]:
        """The names of the shards that hold any of these slices."""
        index = self._read_index(dict.fromkeys(PLACE_COLUMNS, str), list(PLACE_COLUMNS))
        return set(index.loc[index["slice_id"].isin(slice_ids), "shard"])

    def labels_by_shard(self, split: str) -> list[np.ndarray]:
        """The labels in `index.csv`: int64, shape (records, 6), for each shard of the split.

        Raises:
            DatasetError: if `index.csv` cannot be read or contradicts the manifest.
        """
        try:
            table = self._read_index(CATEGORIES, ["split", "shard", *LABELS])
            table = table[table["split"] == split]
            rows = table.groupby("shard", observed=True).indices
            labels = table[list(LABELS)].to_numpy(np.int64)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{self.folder / INDEX_NAME}: cannot be read ({error}); convert again"
            ) from error
        self._check_counts(split, {name: len(x) for name, x in rows.items()}, labels)
        return [labels[rows[shard.name]] for shard in self.manifest.split_shards(split)]

    def check_index(self, split: str) -> None:
        """Raises as `labels_by_shard`."""
        self.labels_by_shard(split)

    def _read_index(
        self, dtype: Mapping[str, Any], columns: list[str] | None = None
    ) -> pd.DataFrame:
        with local_copy(self.folder / INDEX_NAME) as path:
            return pd.read_csv(path, usecols=columns, dtype=dtype)

    def _check_split(self, split: str) -> None:
        filled = [name for name, x in self.manifest.splits.items() if x.slices]
        if split not in filled:
            raise DatasetError(
                f"{self.folder}: no slices in split {split!r}; choose one of: {', '.join(filled)}"
            )

    def _check_counts(self, split: str, records: dict[Hashable, int], labels: np.ndarray) -> None:
        positives = dict(zip(LABELS, labels.sum(axis=0).tolist(), strict=True))
        expected = {shard.name: shard.records for shard in self.manifest.split_shards(split)}
        if (records, positives) != (expected, dict(self.manifest.splits[split].positives)):
            raise DatasetError(
                f"{self.folder}: {INDEX_NAME} and {MANIFEST_NAME} count the slices or positive"
                f" labels of the split {split} differently; convert again"
            )


def open_shards(folder: ShardPath, config: DataConfig, size: int | None = None) -> ShardSet:
    """Opens a folder of shards for an experiment.

    Size, windows and neighbours of `config` that are None are those of the shards; `size` replaces
    that of `config`.

    Raises:
        ManifestError: if the folder has no readable manifest.
        DatasetError: if the shards do not have this size, these windows or as many neighbours.
        UsageError: if the folder is on `s3://` and tensorflow-io is missing.
    """
    manifest = read_manifest(folder)
    register_s3(folder)
    stored = manifest.format
    size = size or config.size or stored.size
    if size > stored.size:
        raise DatasetError(
            f"{folder}: the shards are {stored.size} pixels wide and size {size} was asked for;"
            f" set data.size to at most {stored.size}, or convert with --size {size}"
        )
    windows = _windows(folder, stored.windows, config.windows)
    neighbours = stored.neighbours if config.neighbours is None else config.neighbours
    if neighbours > stored.neighbours:
        raise DatasetError(
            f"{folder}: the shards have {stored.neighbours} neighbours of each slice and"
            f" {neighbours} were asked for; change data.neighbours, or convert with --neighbours"
            f" {neighbours}"
        )
    return ShardSet(folder, manifest, NetworkInput(stored.size, size, windows, neighbours))


def _windows(
    folder: ShardPath, stored: tuple[Window, ...], names: tuple[str, ...] | None
) -> tuple[Window, ...]:
    by_name = {window.name: window for window in stored}
    missing = [name for name in names or () if name not in by_name]
    if missing:
        raise DatasetError(
            f"{folder}: the shards have the windows {', '.join(by_name)}, not {', '.join(missing)};"
            " change data.windows, or convert with these --windows"
        )
    return tuple(by_name[name] for name in names or by_name)

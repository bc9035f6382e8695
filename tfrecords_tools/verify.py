"""Every record of a folder of shards, read again and held against manifest and index."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfrecords_tools.errors import InputError
from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.manifest import (
    INDEX_NAME,
    Manifest,
    Shard,
    file_sha256,
    read_manifest,
    split_of,
)
from tfrecords_tools.progress import progress
from tfrecords_tools.schema import Example, SchemaError, decode_example
from tfrecords_tools.tfrecord import RecordError, read_records


class VerifyError(InputError):
    """Shards that are not as they were written; the message has a line a fault."""


@dataclass(frozen=True)
class Verified:
    """What was read and found whole.

    Attributes:
        shards: files.
        records: in them.
    """

    shards: int
    records: int


def verify(folder: Path) -> Verified:
    """Reads every record: checksums, schema, labels, identities, counts and file hashes.

    Raises:
        ManifestError: if there is no readable manifest.
        VerifyError: names every fault.
    """
    manifest = read_manifest(folder)
    index = _read_index(folder)
    faults = list(_strays(folder, manifest))
    for shard in progress(manifest.shards, desc="verify", unit="shard"):
        faults += _shard_faults(folder, shard, manifest, index)
    faults += _count_faults(manifest, index)
    if faults:
        raise VerifyError("\n".join([f"{folder}: {len(faults)} faults", *faults]))
    return Verified(len(manifest.shards), sum(shard.records for shard in manifest.shards))


def _read_index(folder: Path) -> pd.DataFrame:
    path = folder / INDEX_NAME
    if not path.is_file():
        raise VerifyError(f"{path}: is missing; convert again")
    try:
        text = {"slice_id": str, "study_id": str, "patient_key": str}
        return pd.read_csv(path, dtype=text).set_index("slice_id")
    except (ValueError, KeyError) as error:
        raise VerifyError(f"{path}: damaged ({error}); convert again") from error


def _strays(folder: Path, manifest: Manifest) -> Iterator[str]:
    known = {shard.name for shard in manifest.shards}
    for path in sorted(folder.glob("*.tfrecord")):
        if path.name not in known:
            yield f"{path.name}: is not in the manifest"


def _shard_faults(
    folder: Path, shard: Shard, manifest: Manifest, index: pd.DataFrame
) -> Iterator[str]:
    path = folder / shard.name
    if not path.is_file():
        yield f"{shard.name}: is missing"
        return
    if file_sha256(path) != shard.sha256:
        yield f"{shard.name}: its SHA-256 is not the manifest's"
    expected = index[index["shard"] == shard.name]
    seen: set[str] = set()
    try:
        for number, record in enumerate(read_records(path)):
            example = decode_example(record, manifest.encoding)
            seen.add(example.slice_id)
            for fault in _example_faults(example, manifest, expected):
                yield f"{shard.name}: record {number} ({example.slice_id}): {fault}"
    except RecordError as error:
        yield str(error)
    except SchemaError as error:
        yield f"{shard.name}: record {number}: {error}"
    if seen != set(expected.index) or len(expected) != shard.records:
        yield (
            f"{shard.name}: {len(seen)} slices, {len(expected)} in the index,"
            f" {shard.records} in the manifest"
        )


def _example_faults(example: Example, manifest: Manifest, expected: pd.DataFrame) -> Iterator[str]:
    shape = (manifest.size, manifest.size, len(manifest.windows))
    if example.image.shape != shape:
        yield f"has the shape {example.image.shape}, expected {shape}"
    if example.slice_id not in expected.index:
        yield "is not in the index"
        return
    row = expected.loc[example.slice_id]
    if (example.study_id, example.patient_key) != (row["study_id"], row["patient_key"]):
        yield "its study or patient is not the index's"
    if example.label is None:
        if row["split"] != "unlabelled":
            yield "has no label"
        return
    if example.label != tuple(row[list(LABELS)].astype(int)):
        yield "its label is not the index's"
    if max(example.label[: len(BLEEDINGS)]) != example.label[-1]:
        yield "its `any` is not the OR of the five"


def _count_faults(manifest: Manifest, index: pd.DataFrame) -> Iterator[str]:
    if not index.index.is_unique:
        yield f"{INDEX_NAME}: {index.index[index.index.duplicated()][0]} stands twice"
    shared = index.groupby("patient_key")["split"].nunique()
    if (shared > 1).any():
        yield f"{INDEX_NAME}: patient {shared.index[shared > 1][0]} stands in several splits"
    for name, split in manifest.splits.items():
        rows = index[index["split"] == name]
        records = sum(x.records for x in manifest.shards if split_of(x.name) == name)
        if not len(rows) == records == split.slices:
            yield (
                f"split {name}: {split.slices} slices in the manifest, {records} in its shards,"
                f" {len(rows)} in the index"
            )
        if rows["patient_key"].nunique() != split.patients:
            yield f"split {name}: the number of patients is not the index's"
        for label, count in split.positives.items():
            if int(rows[label].sum()) != count:
                yield f"split {name}: the positives of {label} are not the index's"

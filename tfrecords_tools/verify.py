"""Every record of a folder of shards, read again and held against manifest and index."""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tfrecords_tools.bleedings import BLEEDINGS, LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.manifest import (
    INDEX_NAME,
    Manifest,
    Shard,
    file_sha256,
    read_manifest,
    split_of,
)
from tfrecords_tools.plan import UNLABELLED
from tfrecords_tools.progress import progress
from tfrecords_tools.schema import Example, SchemaError, decode_example
from tfrecords_tools.storage import ShardPath, StoreError, local_copy
from tfrecords_tools.tfrecord import RecordError, read_records

TEXT_COLUMNS = ("slice_id", "study_id", "patient_key", "split", "shard")
Row = Mapping[Hashable, Any]


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


def verify(folder: ShardPath) -> Verified:
    """Reads every record: checksums, schema, labels, identities, counts and file hashes.

    Raises:
        ManifestError: if the manifest is missing or not as it was written.
        VerifyError: names every fault.
    """
    manifest = read_manifest(folder)
    faults = [*_stray_faults(folder, manifest), *_table_faults(folder, manifest)]
    index = _read_index(folder / INDEX_NAME)
    for shard in progress(manifest.shards, desc="verify", unit="shard"):
        faults += _shard_faults(folder / shard.name, shard, manifest, index)
    faults += _index_faults(manifest, index)
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise VerifyError("\n".join([f"{folder}: {count}; convert again", *faults]))
    return Verified(len(manifest.shards), sum(shard.records for shard in manifest.shards))


def _stray_faults(folder: ShardPath, manifest: Manifest) -> Iterator[str]:
    known = {shard.name for shard in manifest.shards}
    for name in sorted(path.name for path in folder.glob("*.tfrecord")):
        if name not in known:
            yield f"{name}: is not in the manifest"


def _table_faults(folder: ShardPath, manifest: Manifest) -> Iterator[str]:
    for name, sha256 in manifest.tables.items():
        if not (folder / name).is_file():
            yield f"{name}: is missing"
        elif file_sha256(folder / name) != sha256:
            yield f"{name}: its SHA-256 is not the manifest's"


def _read_index(path: ShardPath) -> pd.DataFrame:
    try:
        with local_copy(path) as local:
            texts = dict.fromkeys(TEXT_COLUMNS, str)
            index = pd.read_csv(local, dtype=texts, keep_default_na=False)
        numbers = index[[*LABELS, "z_mm"]].apply(pd.to_numeric)
        return index[list(TEXT_COLUMNS)].join(numbers)
    except StoreError:
        raise
    except (OSError, ValueError, LookupError) as error:
        raise VerifyError(f"{path}: cannot be read ({error}); convert again") from error


def _shard_faults(
    path: ShardPath, shard: Shard, manifest: Manifest, index: pd.DataFrame
) -> Iterator[str]:
    if not path.is_file():
        yield f"{shard.name}: is missing"
        return
    with local_copy(path) as local:
        yield from _content_faults(local, shard, manifest, index)


def _content_faults(
    path: Path, shard: Shard, manifest: Manifest, index: pd.DataFrame
) -> Iterator[str]:
    if file_sha256(path) != shard.sha256:
        yield f"{shard.name}: its SHA-256 is not the manifest's"
    rows = index[index["shard"] == shard.name].to_dict("records")
    expected = {row["slice_id"]: row for row in rows}
    seen: set[str] = set()
    faults: dict[str, list[int]] = {}
    try:
        for number, record in enumerate(read_records(path)):
            for fault in _record_faults(record, manifest, expected, seen):
                faults.setdefault(fault, []).append(number)
    except RecordError as error:
        yield str(error)
    for fault, numbers in faults.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield f"{shard.name}: record {numbers[0]}{more}: {fault}"
    if len(seen) != shard.records:
        yield f"{shard.name}: {len(seen)} slices, {shard.records} in the manifest"
    if seen != expected.keys():
        yield f"{shard.name}: its slices are not the {len(expected)} that the index names"


def _record_faults(
    record: bytes, manifest: Manifest, expected: Mapping[str, Row], seen: set[str]
) -> Iterator[str]:
    """What is wrong with one record; adds its slice to those seen."""
    try:
        example = decode_example(record, manifest.encoding)
    except SchemaError as error:
        yield str(error)
        return
    shape = (manifest.size, manifest.size, manifest.channels)
    if example.image.shape != shape:
        yield f"the image has the shape {example.image.shape}, expected {shape}"
    if example.slice_id in seen:
        yield f"slice {example.slice_id} stands twice"
    seen.add(example.slice_id)
    if example.slice_id in expected:
        yield from _row_faults(example, expected[example.slice_id])
    else:
        yield "the index does not name this slice in this shard"


def _row_faults(example: Example, row: Row) -> Iterator[str]:
    """Where an example is not what its row of the index says."""
    if (example.study_id, example.patient_key) != (row["study_id"], row["patient_key"]):
        yield "study or patient are not the index's"
    # The index has three decimals, the record a float32.
    if not math.isclose(example.position_mm, row["z_mm"], rel_tol=1e-6, abs_tol=1e-3):
        yield "the position is not the index's"
    if example.label is None:
        if row["split"] != UNLABELLED:
            yield "there is no label"
        return
    if example.label != tuple(row[name] for name in LABELS):
        yield "the label is not the index's"
    if example.label[-1] != max(example.label[: len(BLEEDINGS)]):
        yield "`any` is not the OR of the five labels"


def _index_faults(manifest: Manifest, index: pd.DataFrame) -> Iterator[str]:
    for slice_id in index["slice_id"][index["slice_id"].duplicated()].unique():
        yield f"{INDEX_NAME}: slice {slice_id} stands twice"
    splits = index[index["split"] != UNLABELLED].groupby("patient_key")["split"].nunique()
    for patient_key in splits.index[splits > 1]:
        yield f"{INDEX_NAME}: patient {patient_key} stands in several splits"
    records: Counter[str] = Counter()
    for shard in manifest.shards:
        records[split_of(shard.name)] += shard.records
    for name in sorted({*manifest.splits, *records, *index["split"]}):
        rows, split = index[index["split"] == name], manifest.splits.get(name)
        positives = {} if name == UNLABELLED else rows[list(LABELS)].sum().to_dict()
        if split is None or not len(rows) == records[name] == split.slices:
            yield f"split {name}: manifest, shards and index count its slices differently"
        elif (rows["patient_key"].nunique(), positives) != (split.patients, split.positives):
            yield f"split {name}: manifest and index count patients or positives differently"

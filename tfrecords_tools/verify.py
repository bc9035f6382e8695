"""Reads every record of a folder of shards and compares it with the manifest and the index."""

import math
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    SPLITS,
    Manifest,
    Shard,
    ShardFormat,
    file_sha256,
    read_manifest,
    split_of,
)
from tfrecords_tools.errors import InputError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.progress import progress
from tfrecords_tools.records.schema import Example, SchemaError, decode_example
from tfrecords_tools.records.tfrecord import RecordError, read_records
from tfrecords_tools.storage.shard_path import ObjectPath, ShardPath, StoreError, local_copy

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = ("slice_id", "study_id", "patient_key", "split", "shard")
UNLABELLED = SPLITS[-1]
Row = Mapping[Hashable, Any]


class VerifyError(InputError):
    """Shards that are not as they were written; the message has one line per fault."""


def verify(folder: ShardPath, *, workers: int = 1) -> Manifest:
    """Reads every record: checksums, schema, labels, identities, counts and file hashes.

    An object store is read by this process alone. Returns the manifest, which describes the shards,
    or raises VerifyError, which names every fault.
    """
    manifest = read_manifest(folder)
    faults = [*_stray_faults(folder, manifest), *_table_faults(folder, manifest)]
    index = _read_index(folder / INDEX_NAME)
    shards = _all_shard_faults(folder, manifest, index, workers)
    for found in progress(shards, desc="verify", unit="shard", total=len(manifest.shards)):
        faults += found
    faults += _index_faults(manifest, index)
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise VerifyError("\n".join([f"{folder}: {count}; convert again", *faults]))
    return manifest


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
            yield f"{name}: its SHA-256 differs from the manifest"


def _read_index(path: ShardPath) -> "pd.DataFrame":
    import pandas as pd  # not loaded by the worker processes

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


def _index_faults(manifest: Manifest, index: "pd.DataFrame") -> Iterator[str]:
    for slice_id in index["slice_id"][index["slice_id"].duplicated()].unique():
        yield f"{INDEX_NAME}: slice {slice_id} occurs twice"
    splits = index[index["split"] != UNLABELLED].groupby("patient_key")["split"].nunique()
    for patient_key in splits.index[splits > 1]:
        yield f"{INDEX_NAME}: patient {patient_key} is in several splits"
    records: Counter[str] = Counter()
    for shard in manifest.shards:
        records[split_of(shard.name)] += shard.records
    for name in sorted({*manifest.splits, *records, *index["split"]}):
        rows, split = index[index["split"] == name], manifest.splits.get(name)
        positives = {} if name == UNLABELLED else rows[list(LABELS)].sum().to_dict()
        if split is None or not len(rows) == records[name] == split.slices:
            yield f"split {name}: manifest, shards and index disagree on the number of slices"
        elif (rows["patient_key"].nunique(), positives) != (split.patients, split.positives):
            yield f"split {name}: manifest and index disagree on patients or positive slices"


def _all_shard_faults(
    folder: ShardPath, manifest: Manifest, index: "pd.DataFrame", workers: int
) -> Iterator[list[str]]:
    """The faults of each shard, in order."""
    places = index.groupby("shard").indices
    tasks = (
        (
            folder / shard.name,
            shard,
            manifest.format,
            index.iloc[places.get(shard.name, [])].to_dict("records"),
        )
        for shard in manifest.shards
    )
    if workers == 1 or isinstance(folder, ObjectPath):
        yield from (_shard_faults(*task) for task in tasks)
        return
    with worker_pool(min(workers, len(manifest.shards))) as pool:
        running = deque[Future]()
        for task in tasks:
            with uninterrupted():
                running.append(pool.schedule(_shard_faults, args=task))
            if len(running) == 2 * workers:  # each holds the rows of its slices
                yield running.popleft().result()
        yield from (task.result() for task in running)


def _shard_faults(
    path: ShardPath, shard: Shard, shard_format: ShardFormat, rows: Sequence[Row]
) -> list[str]:
    """Compares every record of a shard with its rows of the index."""
    if not path.is_file():
        return [f"{shard.name}: is missing"]
    with local_copy(path) as local:
        return list(_content_faults(local, shard, shard_format, rows))


def _content_faults(
    path: Path, shard: Shard, shard_format: ShardFormat, rows: Sequence[Row]
) -> Iterator[str]:
    if file_sha256(path) != shard.sha256:
        yield f"{shard.name}: its SHA-256 differs from the manifest"
    expected = {row["slice_id"]: row for row in rows}
    seen: Counter[str] = Counter()
    records: dict[str, list[int]] = {}  # the numbers of the records with each fault
    try:
        for number, record in enumerate(read_records(path)):
            for fault in _record_faults(record, shard_format, expected, seen):
                records.setdefault(fault, []).append(number)
    except RecordError as error:
        yield str(error)
    for fault, numbers in records.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield f"{shard.name}: record {numbers[0]}{more}: {fault}"
    if len(seen) != shard.records:
        yield f"{shard.name}: {len(seen)} slices, {shard.records} in the manifest"
    if seen.keys() != expected.keys():
        yield f"{shard.name}: its slices are not the {len(expected)} that the index names"


def _record_faults(
    record: bytes, shard_format: ShardFormat, expected: Mapping[str, Row], seen: Counter[str]
) -> Iterator[str]:
    """The faults of one record; counts its slice in `seen`."""
    try:
        example = decode_example(record, shard_format.encoding)
    except SchemaError as error:
        yield str(error)
        return
    shape = (shard_format.size, shard_format.size, shard_format.channels)
    if example.image.shape != shape:
        yield f"the image has the shape {example.image.shape}, expected {shape}"
    seen[example.slice_id] += 1
    if seen[example.slice_id] > 1:
        yield f"slice {example.slice_id} occurs twice"
    if example.slice_id in expected:
        yield from _row_faults(example, expected[example.slice_id])
    else:
        yield "the index does not name this slice in this shard"


def _row_faults(example: Example, row: Row) -> Iterator[str]:
    """Compares an example with its row of the index."""
    if (example.study_id, example.patient_key) != (row["study_id"], row["patient_key"]):
        yield "study or patient differ from the index"
    # The index has three decimals, the record a float32.
    if not math.isclose(example.position_mm, row["z_mm"], rel_tol=1e-6, abs_tol=1e-3):
        yield "the position differs from the index"
    if example.label is None:
        if row["split"] != UNLABELLED:
            yield "there is no label"
        return
    if example.label != tuple(row[name] for name in LABELS):
        yield "the label differs from the index"
    if example.label[-1] != max(example.label[: len(SUBTYPES)]):
        yield "`any` is not the OR of the five labels"

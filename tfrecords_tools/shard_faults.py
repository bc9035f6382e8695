"""What is wrong with one shard: its records held against the manifest and their rows of the index.

By itself, so that a process that checks shards needs no pandas.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dataset.manifest import SPLITS, Manifest, Shard, file_sha256
from tfrecords_tools.records.schema import Example, SchemaError, decode_example
from tfrecords_tools.records.tfrecord import RecordError, read_records
from tfrecords_tools.storage.shard_path import ShardPath, local_copy

UNLABELLED = SPLITS[-1]
Row = Mapping[Hashable, Any]


def shard_faults(
    path: ShardPath, shard: Shard, manifest: Manifest, rows: Sequence[Row]
) -> list[str]:
    """Reads every record of a shard.

    Args:
        path: of the shard.
        shard: as it stands in the manifest.
        manifest: of the folder.
        rows: of the index, those that name this shard.

    Returns:
        A line a fault.
    """
    if not path.is_file():
        return [f"{shard.name}: is missing"]
    with local_copy(path) as local:
        return list(_content_faults(local, shard, manifest, rows))


def _content_faults(
    path: Path, shard: Shard, manifest: Manifest, rows: Sequence[Row]
) -> Iterator[str]:
    if file_sha256(path) != shard.sha256:
        yield f"{shard.name}: its SHA-256 is not the manifest's"
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
        example = decode_example(record, manifest.format.encoding)
    except SchemaError as error:
        yield str(error)
        return
    size = manifest.format.size
    shape = (size, size, manifest.format.channels)
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
    if example.label[-1] != max(example.label[: len(SUBTYPES)]):
        yield "`any` is not the OR of the five labels"

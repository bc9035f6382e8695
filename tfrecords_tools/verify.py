"""Every record of a folder of shards, read again and held against manifest and index."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import (
    INDEX_NAME,
    Manifest,
    file_sha256,
    read_manifest,
    split_of,
)
from tfrecords_tools.errors import InputError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.processes import worker_pool
from tfrecords_tools.progress import progress
from tfrecords_tools.shard_faults import UNLABELLED, shard_faults
from tfrecords_tools.storage.shard_path import ObjectPath, ShardPath, StoreError, local_copy

TEXT_COLUMNS = ("slice_id", "study_id", "patient_key", "split", "shard")


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


def verify(folder: ShardPath, *, workers: int = 1) -> Verified:
    """Reads every record: checksums, schema, labels, identities, counts and file hashes.

    Args:
        folder: of the shards.
        workers: processes to read with; of an object store this one alone reads.

    Raises:
        ManifestError: if the manifest is missing or not as it was written.
        VerifyError: names every fault.
    """
    manifest = read_manifest(folder)
    faults = [*_stray_faults(folder, manifest), *_table_faults(folder, manifest)]
    index = _read_index(folder / INDEX_NAME)
    checked = _checked(folder, manifest, index, workers)
    for found in progress(checked, desc="verify", unit="shard", total=len(manifest.shards)):
        faults += found
    faults += _index_faults(manifest, index)
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise VerifyError("\n".join([f"{folder}: {count}; convert again", *faults]))
    return Verified(len(manifest.shards), sum(shard.records for shard in manifest.shards))


def _checked(
    folder: ShardPath, manifest: Manifest, index: pd.DataFrame, workers: int
) -> Iterator[list[str]]:
    """What is wrong with each shard, in order."""
    places = index.groupby("shard").indices
    common = replace(manifest, shards=(), refused=())  # which a task needs not, and may be many
    tasks = (
        (folder / x.name, x, common, index.iloc[places.get(x.name, [])].to_dict("records"))
        for x in manifest.shards
    )
    if workers == 1 or isinstance(folder, ObjectPath):
        yield from (shard_faults(*task) for task in tasks)
        return
    with worker_pool(min(workers, len(manifest.shards))) as pool:
        running = deque[Future]()
        for task in tasks:
            with uninterrupted():
                running.append(pool.schedule(shard_faults, args=task))
            if len(running) == 2 * workers:  # each holds the rows of its slices
                yield running.popleft().result()
        yield from (task.result() for task in running)


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

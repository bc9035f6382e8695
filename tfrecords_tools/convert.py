"""The plan carried out on this machine: each process writes whole shards by itself."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tfrecords_tools.atomic import PARTIAL, whole_file, write_text
from tfrecords_tools.dicom import RefusedSlice, read_slice
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.labels import LABELS, read_labels
from tfrecords_tools.manifest import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    Shard,
    Split,
    file_sha256,
    read_manifest,
    split_of,
    write_manifest,
)
from tfrecords_tools.plan import (
    Options,
    Plan,
    PlannedShard,
    default_shard_size,
    make_plan,
    parse_split,
)
from tfrecords_tools.progress import progress
from tfrecords_tools.scan import REJECT_COLUMNS, find_source, scan
from tfrecords_tools.schema import Example, check_encoding, encode_example
from tfrecords_tools.tfrecord import write_records
from tfrecords_tools.windows import parse_windows, window_slice
from tfrecords_tools.workers import worker_pool

WORK = ".work"  # what an unfinished conversion needs to go on
PLAN_NAME = "plan.json"
INDEX_COLUMNS = ["slice_id", "study_id", "patient_key", "split", "shard", *LABELS, "z_mm"]

log = logging.getLogger(__name__)


class ConvertError(InputError):
    """A conversion that cannot go on."""


@dataclass(frozen=True)
class _Job:
    """From where to where, and how; what a worker needs beside its shard."""

    source: Path
    out: Path
    options: Options


@dataclass(frozen=True)
class _Written:
    """What became of a planned shard."""

    shard: Shard
    kept: list[str]  # ids of its slices
    rejects: list[tuple[str, str, str]]  # path, reason and detail of those refused by their pixels


def convert(
    source: Path,
    out: Path,
    *,
    size: int = 512,
    windows: str = "brain,subdural,bone",
    split: str = "0.8,0.1,0.1",
    seed: int = 0,
    workers: int | None = None,
    encoding: str = "zlib",
    shard_size: int | None = None,
    unlabelled: bool = False,
    patient_key_file: Path | None = None,
) -> Manifest:
    """Writes the shards of a folder of DICOM files; goes on where it was interrupted.

    The same files and options give the same bytes, whatever the number of workers.

    Args:
        source: as `find_source` takes it.
        out: a new folder, or one that this very conversion has begun.
        size: edge of a slice in pixels.
        windows: as `parse_windows` takes them.
        split: as `parse_split` takes it.
        seed: of split, order and patient keys.
        workers: processes; None means one a core.
        encoding: of the images, one of ENCODINGS.
        shard_size: records a shard, at most; None chooses.
        unlabelled: leave labels aside and write one split, `unlabelled`.
        patient_key_file: its bytes are the key of `make_plan`.

    Raises:
        InputError: one line, if options, source or `out` are not as they must be.
        OSError: if a file cannot be read or written.
    """
    parsed = parse_windows(windows)
    check_encoding(encoding, len(parsed))
    fractions, key = parse_split(split), _key(patient_key_file)
    _check_out(out)
    found = find_source(source, unlabelled=unlabelled)
    labels = read_labels(found.label_file) if found.label_file else None
    with worker_pool(workers) as pool:
        slices, rejects = scan(found, pool)
        shard_size = shard_size or default_shard_size(size, len(parsed), encoding, len(slices))
        options = Options(size, parsed, fractions, seed, encoding, shard_size)
        plan = make_plan(slices, rejects, labels, options, key)
        manifest = _finished(out, plan.fingerprint)
        if manifest is None:
            _begin(out, plan.fingerprint)
            _write_shards(pool, _Job(source, out, options), plan)
            manifest = _finish(out, plan, options)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return manifest


def _key(path: Path | None) -> bytes | None:
    if path is None:
        log.info("no patient key file: who has a list of the patients can tell who is who")
        return None
    key = path.read_bytes()
    if not key:
        raise UsageError(f"{path}: is empty, so no secret; write some random bytes to it")
    return key


def _check_out(out: Path) -> None:
    """Refuses what is not ours, before the time that a scan takes is spent."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another --out")
    ours = (out / MANIFEST_NAME).is_file() or (out / WORK).is_dir()
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise UsageError(f"{out}: is not empty and holds no shards; choose another --out")


def _finished(out: Path, fingerprint: str) -> Manifest | None:
    """The manifest of a folder that is complete already."""
    if not (out / MANIFEST_NAME).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.fingerprint != fingerprint:
        raise UsageError(
            f"{out}: holds shards of other data or options; choose another --out, or remove it"
        )
    log.info("%s: is complete already, nothing to do", out)
    return manifest


def _begin(out: Path, fingerprint: str) -> None:
    """Claims the folder, or finds it claimed by this very conversion."""
    plan_file = out / WORK / PLAN_NAME
    if plan_file.is_file():
        if json.loads(plan_file.read_text(encoding="utf-8")) != {"fingerprint": fingerprint}:
            raise UsageError(
                f"{out}: was begun with other data or options; choose another --out, or remove it"
            )
        return
    plan_file.parent.mkdir(parents=True, exist_ok=True)
    write_text(plan_file, json.dumps({"fingerprint": fingerprint}))


def _write_shards(pool: Executor, job: _Job, plan: Plan) -> None:
    """Writes the shards that are not there yet."""
    waiting = [x for x in plan.shards if not _is_written(job.out, x.name)]
    if len(waiting) < len(plan.shards):
        log.info("%d of %d shards stand already", len(plan.shards) - len(waiting), len(plan.shards))
    total = sum(len(shard.slices) for shard in waiting)
    with progress(total=total, desc="convert", unit="slice") as bar:
        try:
            tasks = {pool.submit(_write_shard, job, x): len(x.slices) for x in waiting}
            for task in as_completed(tasks):
                task.result()
                bar.update(tasks[task])
        except OSError as error:
            raise ConvertError(f"{error}; once that is mended, the same command goes on") from error
        except BrokenProcessPool as error:
            partial = sorted(path.name for path in job.out.glob(f"{PARTIAL}*.tfrecord"))
            at_hand = ", ".join(name.removeprefix(PARTIAL) for name in partial)
            raise ConvertError(
                f"{job.out}: a worker died, by a crash in a codec or for want of memory, while"
                f" writing {at_hand or 'a shard'}; the same command goes on from there"
            ) from error


def _is_written(out: Path, name: str) -> bool:
    return (out / name).is_file() and _result_file(out, name).is_file()


def _result_file(out: Path, name: str) -> Path:
    return out / WORK / f"{name}.json"


def _write_shard(job: _Job, planned: PlannedShard) -> None:
    """Writes one shard and, after it, what became of its slices; run in a worker."""
    kept: list[str] = []
    rejects: list[tuple[str, str, str]] = []

    def records() -> Iterator[bytes]:
        for row in planned.slices.to_dict("records"):
            try:
                example = _example(job, row)
            except RefusedSlice as refusal:
                rejects.append((row["path"], refusal.reason, refusal.detail))
                continue
            kept.append(row["slice_id"])
            yield encode_example(example, job.options.encoding)

    path = job.out / planned.name
    with whole_file(path) as temporary:
        write_records(temporary, records())
        digest = file_sha256(temporary)
    written = _Written(Shard(planned.name, len(kept), digest), kept, rejects)
    write_text(_result_file(job.out, planned.name), json.dumps(asdict(written)))


def _read_result(out: Path, name: str) -> _Written:
    content = json.loads(_result_file(out, name).read_text(encoding="utf-8"))
    return _Written(**{**content, "shard": Shard(**content["shard"])})


def _example(job: _Job, row: Mapping[Any, Any]) -> Example:
    path = job.source / row["path"]
    ct = read_slice(path)
    if ct.header.slice_id != row["sop_uid"]:
        raise ConvertError(f"{path}: changed while it was being converted; give the command again")
    label = None if pd.isna(row["any"]) else tuple(int(row[name]) for name in LABELS)
    return Example(
        image=window_slice(ct.hu, job.options.size, job.options.windows),
        label=label,
        slice_id=row["slice_id"],
        study_id=row["study_id"],
        patient_key=row["patient_key"],
        position_mm=row["position_mm"],
    )


def _finish(out: Path, plan: Plan, options: Options) -> Manifest:
    """Writes index and rejects and, last, the manifest."""
    written = [_read_result(out, planned.name) for planned in plan.shards]
    index = _index(plan, written)
    refused = [pd.DataFrame(x.rejects, columns=REJECT_COLUMNS) for x in written]
    rejects = pd.concat([plan.rejects, *refused]).sort_values("path")
    reasons = dict(sorted(Counter(rejects["reason"]).items()))
    if index.empty:
        raise ConvertError(f"{out}: no slice could be read: {reasons}; check the DICOM files")
    tables = {
        INDEX_NAME: index.to_csv(index=False, float_format="%.3f", lineterminator="\n"),
        REJECTS_NAME: rejects.to_csv(index=False, lineterminator="\n"),
    }
    for name, text in tables.items():
        write_text(out / name, text)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        windows=options.windows,
        size=options.size,
        encoding=options.encoding,
        splits={x: _count(index[index["split"] == x]) for x in SPLITS if x in set(index["split"])},
        shards=tuple(x.shard for x in written),
        rejected=reasons,
        labels_without_files=plan.labels_without_files,
        tables={name: file_sha256(out / name) for name in tables},
    )
    write_manifest(out / MANIFEST_NAME, manifest)
    return manifest


def _index(plan: Plan, written: list[_Written]) -> pd.DataFrame:
    """A row a slice that was written, by slice id."""
    parts = []
    for planned, result in zip(plan.shards, written, strict=True):
        kept = planned.slices[planned.slices["slice_id"].isin(result.kept)]
        parts.append(kept.assign(split=split_of(planned.name), shard=planned.name))
    table = pd.concat(parts).rename(columns={"position_mm": "z_mm"})
    return table[INDEX_COLUMNS].sort_values("slice_id")


def _count(rows: pd.DataFrame) -> Split:
    labelled = rows[rows["any"].notna()]
    positives = {label: int(labelled[label].sum()) for label in LABELS} if len(labelled) else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)

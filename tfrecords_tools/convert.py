"""The plan carried out on this machine: each process writes whole shards by itself."""

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfrecords_tools.dicom import RefusedSlice, read_slice
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.labels import LABELS, read_labels
from tfrecords_tools.manifest import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
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
    Planned,
    make_plan,
    parse_split,
    scan,
    worker_pool,
)
from tfrecords_tools.progress import progress
from tfrecords_tools.schema import Example, check_encoding, encode_example
from tfrecords_tools.tfrecord import write_records
from tfrecords_tools.windows import parse_windows, window_slice

log = logging.getLogger(__name__)

WORK = ".work"  # what an unfinished conversion needs to go on
PLAN_NAME = "plan.json"
SHARD_BYTES = 150 << 20  # of decoded pixels; files of 100 to 200 MB read well from any storage
MINIMUM_SHARDS = 8  # of a split of some hundred slices, so that a shuffle can mix them
LABEL_FILES = (
    "stage_2_train.csv",
    "stage_2_train.csv.gz",
    "stage_1_train.csv",
    "stage_1_train.csv.gz",
)


class ConvertError(InputError):
    """A conversion that cannot go on."""


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
    """Writes the shards of an RSNA-layout folder; goes on where it was interrupted.

    The same sources and options give the same bytes, whatever the number of workers.

    Args:
        source: holds `stage_2_train/` with DICOM files and `stage_2_train.csv`; or, with
            `unlabelled`, DICOM files at any depth.
        out: a new folder, or one that this conversion has begun.
        size: edge of a slice in pixels.
        windows: names, or name=centre/width in HU.
        split: fractions of the patients for train, val and test.
        seed: of split, order and patient keys.
        workers: processes; None means one a core.
        encoding: `zlib`, `raw` or `png`.
        shard_size: records a shard; None chooses by their bytes.
        unlabelled: leave labels aside and write one split, `unlabelled`.
        patient_key_file: holds the secret that keys the hashes of identities.

    Raises:
        UsageError: if an option, the source's layout or the state of `out` do not allow it.
        InputError: if the label file or the data cannot be used.
    """
    parsed = parse_windows(windows)
    check_encoding(encoding, len(parsed))
    workers = workers or os.cpu_count() or 1
    files, label_file = _find_sources(source, unlabelled=unlabelled)
    labels = read_labels(label_file) if label_file else None
    options = Options(
        size=size,
        windows=parsed,
        split=parse_split(split),
        seed=seed,
        encoding=encoding,
        shard_size=shard_size or _shard_size(size, len(parsed), len(files)),
    )
    key = patient_key_file.read_bytes() if patient_key_file else None
    plan = make_plan(*scan(source, files, workers), labels, options, key)
    if key is None:
        log.info("patient ids are hashed with the seed only, so they can be guessed from a list")
    finished = _finished(out, plan.fingerprint)
    if finished:
        log.info("%s: is complete, nothing to do", out)
        return finished
    _begin(out, plan.fingerprint)
    _write_shards(source, out, plan, options, workers)
    return _finish(out, plan, options)


def _find_sources(source: Path, *, unlabelled: bool) -> tuple[list[Path], Path | None]:
    """The DICOM files, in the order of their names, and the label file."""
    if unlabelled:
        return _files(source), None
    for name in LABEL_FILES:
        folder = source / name.split(".")[0]
        if (source / name).is_file() and folder.is_dir():
            return _files(folder), source / name
    raise UsageError(
        f"{source}: expected stage_2_train.csv beside the folder stage_2_train; give the folder"
        " that holds both, or --unlabelled for DICOM files without labels"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _shard_size(size: int, channels: int, files: int) -> int:
    by_bytes = max(SHARD_BYTES // (size * size * channels), 1)
    return min(by_bytes, max(files // MINIMUM_SHARDS, 64))


def _finished(out: Path, fingerprint: str) -> Manifest | None:
    """The manifest of a folder that is complete already."""
    if not (out / MANIFEST_NAME).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.fingerprint != fingerprint:
        raise UsageError(
            f"{out}: holds shards of other data or options; choose another --out, or remove it"
        )
    return manifest


def _begin(out: Path, fingerprint: str) -> None:
    """Claims the folder, or finds it claimed by this very conversion."""
    plan_file = out / WORK / PLAN_NAME
    if plan_file.is_file():
        if json.loads(plan_file.read_text(encoding="utf-8")) != {"fingerprint": fingerprint}:
            raise UsageError(
                f"{out}: an unfinished conversion of other data or options is here; choose another"
                " --out, or remove it"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty and holds no shards; choose another --out")
    plan_file.parent.mkdir(parents=True, exist_ok=True)
    _replace(plan_file, json.dumps({"fingerprint": fingerprint}))


def _write_shards(source: Path, out: Path, plan: Plan, options: Options, workers: int) -> None:
    """Writes those shards that are not there yet."""
    waiting = [x for x in plan.shards if not (out / WORK / f"{x.name}.json").is_file()]
    total = sum(len(shard.slices) for shard in waiting)
    with worker_pool(workers) as pool, progress(total=total, desc="convert", unit="slice") as bar:
        tasks = {pool.submit(_write_shard, source, out, x, options): x for x in waiting}
        try:
            for task in as_completed(tasks):
                task.result()
                bar.update(len(tasks[task].slices))
        except BrokenProcessPool as error:
            raise ConvertError(
                "a worker died, by a codec or for want of memory; the same command goes on, try"
                " --workers 1"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_shard(source: Path, out: Path, shard: Planned, options: Options) -> None:
    """Writes one shard and what became of its slices; run in a worker."""
    rejects: list[dict[str, str]] = []
    kept: list[str] = []
    temporary = out / WORK / f"{shard.name}.tmp"

    def records() -> Iterator[bytes]:
        for row in shard.slices.itertuples(index=False):
            try:
                example = _example(source, row, options)
            except RefusedSlice as refusal:
                rejects.append(
                    {"path": str(row.path), "reason": refusal.reason, "detail": refusal.detail}
                )
                continue
            kept.append(str(row.slice_id))
            yield encode_example(example, options.encoding)

    write_records(temporary, records())
    result = {"sha256": file_sha256(temporary), "kept": kept, "rejects": rejects}
    temporary.replace(out / shard.name)
    _replace(out / WORK / f"{shard.name}.json", json.dumps(result))


def _example(source: Path, row: Any, options: Options) -> Example:
    ct = read_slice(source / row.path)
    label = tuple(int(getattr(row, x)) for x in LABELS) if hasattr(row, "any") else None
    return Example(
        image=window_slice(ct.hu, options.size, options.windows),
        label=label,
        slice_id=row.slice_id,
        study_id=row.study_id,
        patient_key=row.patient_key,
        position_mm=row.position_mm,
    )


def _finish(out: Path, plan: Plan, options: Options) -> Manifest:
    """Writes index and rejects, the manifest last, and clears up."""
    index, shards, rejects = [], [], [plan.rejects]
    for planned in plan.shards:
        result = json.loads((out / WORK / f"{planned.name}.json").read_text(encoding="utf-8"))
        shards.append(Shard(planned.name, len(result["kept"]), result["sha256"]))
        rejects.append(pd.DataFrame(result["rejects"], columns=["path", "reason", "detail"]))
        kept = planned.slices[planned.slices["slice_id"].isin(result["kept"])]
        index.append(kept.assign(split=split_of(planned.name), shard=planned.name))
    table = pd.concat(index).sort_values("slice_id")
    refused = pd.concat(rejects).sort_values("path")
    _replace(out / INDEX_NAME, _index_csv(table))
    _replace(out / REJECTS_NAME, refused.to_csv(index=False, lineterminator="\n"))
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        windows=options.windows,
        size=options.size,
        encoding=options.encoding,
        splits={str(name): _count(rows) for name, rows in table.groupby("split")},
        shards=tuple(shards),
        rejected=dict(sorted(Counter(refused["reason"]).items())),
        labels_without_files=plan.labels_without_files,
    )
    temporary = out / WORK / MANIFEST_NAME
    write_manifest(temporary, manifest)
    temporary.replace(out / MANIFEST_NAME)
    shutil.rmtree(out / WORK)
    return manifest


def _index_csv(table: pd.DataFrame) -> str:
    columns = ["slice_id", "study_id", "patient_key", "split", "shard", *LABELS]
    table = table.rename(columns={"position_mm": "z_mm"})
    return table.reindex(columns=[*columns, "z_mm"]).to_csv(index=False, lineterminator="\n")


def _count(rows: pd.DataFrame) -> Split:
    labelled = "any" in rows and not rows["any"].isna().any()
    positives = {x: int(np.sum(rows[x])) for x in LABELS} if labelled else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".partial-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)

"""The tables and the manifest, which a conversion writes last."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.keys import key_check, keyed_hash, path_hash
from tfrecords_tools.dataset.manifest import (
    FORMAT_VERSION,
    INDEX_COLUMNS,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECT_COLUMNS,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    RejectedFile,
    Split,
    file_sha256,
    split_of,
    write_manifest,
)
from tfrecords_tools.dataset.summary import doubts, summary
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.planning.plan import Plan
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.tables.csv_cells import path_cell
from tfrecords_tools.writing.shard import ShardResult, read_result

log = logging.getLogger(__name__)


def finish(out: ShardPath, plan: Plan) -> Manifest:
    """Writes index and rejects and, last, the manifest; ConvertError if no slice was written."""
    results = [read_result(out, planned.name) for planned in plan.shards]
    index = _index(plan, results)
    rejects = _rejects(plan, results)
    reasons = dict(sorted(Counter(rejects["reason"]).items()))
    if index.empty:
        raise ConvertError(f"{out}: no slice could be read: {reasons}; check the DICOM files")
    _log_repaired(plan.existing.rejects, rejects)
    texts = {
        INDEX_NAME: index.to_csv(index=False, float_format="%.3f", lineterminator="\n"),
        REJECTS_NAME: rejects.to_csv(index=False, lineterminator="\n"),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        format=plan.options.format,
        splits={x: _count(index[index["split"] == x]) for x in SPLITS if x in set(index["split"])},
        shards=(*plan.existing.manifest.shards, *(x.shard for x in results)),
        rejected=reasons,
        labels_without_files=plan.rejected.labels_without_files,
        pixel_mm=_median(pd.to_numeric(index["pixel_mm"])),
        tables={name: file_sha256(out / name) for name in texts},
        key_check=key_check(plan.options.salt),
        refused=_rejected_files(plan, results),
    )
    write_manifest(out / MANIFEST_NAME, manifest)
    log.info("%s", summary(manifest, index))
    for doubt in doubts(index):
        log.warning("%s", doubt)
    return manifest


def _index(plan: Plan, results: Sequence[ShardResult]) -> pd.DataFrame:
    """One row per slice, existing ones included, by slice id; lengths in mm, three decimals."""
    tables = [plan.existing.index]
    for planned, result in zip(plan.shards, results, strict=True):
        kept = planned.slices[planned.slices["slice_id"].isin(result.kept)]
        kept = kept.rename(columns={"position_mm": "z_mm"}).assign(
            split=split_of(planned.name),
            shard=planned.name,
            pixel_mm=(kept["edge_mm"] / plan.options.format.size).round(3),
        )
        tables.append(kept[INDEX_COLUMNS])
    return pd.concat(tables).sort_values("slice_id")


def _rejects(plan: Plan, results: Sequence[ShardResult]) -> pd.DataFrame:
    """One row per rejected file, by path."""
    rejected = [pd.DataFrame(x.rejects, columns=REJECT_COLUMNS) for x in results]
    rejects = pd.concat([plan.rejected.rejects, *rejected]).sort_values("path")
    rejects = rejects.assign(path=rejects["path"].map(path_cell))
    return rejects.sort_values("path", kind="stable")


def _rejected_files(plan: Plan, results: Sequence[ShardResult]) -> tuple[RejectedFile, ...]:
    """The files that were rejected for their pixels or as duplicates."""
    files, salt = list(plan.rejected.refused), plan.options.salt
    for planned, result in zip(plan.shards, results, strict=True):
        slice_ids = planned.slices.set_index("path")["slice_id"]
        paths = pd.Series([path for path, *_ in result.rejects], dtype=str)
        known = paths[paths.isin(result.contents.keys())]
        contents = keyed_hash(known.map(result.contents), salt).reindex(paths.index).fillna("")
        files += map(RejectedFile, path_hash(paths, salt), paths.map(slice_ids), contents)
    return tuple(sorted(files, key=astuple))


def _log_repaired(before: pd.DataFrame, rejects: pd.DataFrame) -> None:
    repaired = (~before["path"].isin(rejects["path"])).sum()
    if repaired:
        log.info("%d files of %s are no longer rejected", repaired, REJECTS_NAME)


def _median(lengths: pd.Series) -> float | None:
    known = lengths.dropna()
    return None if known.empty else float(known.median())


def _count(rows: pd.DataFrame) -> Split:
    labelled = rows[rows["any"].notna()]
    positives = {label: int(labelled[label].sum()) for label in LABELS} if len(labelled) else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)

"""The tables and the manifest of shards that stand: the last that a conversion writes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.existing import file_marks, say_what_is_mended
from tfrecords_tools.dataset.keys import key_check, keyed_hash
from tfrecords_tools.dataset.manifest import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    Refused,
    Split,
    file_sha256,
    split_of,
    write_manifest,
)
from tfrecords_tools.dataset.shard_format import ShardFormat
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.planning.plan import Plan
from tfrecords_tools.planning.scan import REJECT_COLUMNS
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.tables.csv_cells import path_cell
from tfrecords_tools.writing.shard import Written, read_result

INDEX_COLUMNS = [
    *("slice_id", "study_id", "patient_key", "split", "shard"),
    *LABELS,
    *("z_mm", "pixel_mm"),
]


def finish(out: ShardPath, plan: Plan, shard_format: ShardFormat) -> Manifest:
    """Writes index and rejects and, last, the manifest.

    Raises:
        ConvertError: if no slice was written.
    """
    written = [read_result(out, planned.name) for planned in plan.shards]
    index = _index(plan, written, shard_format.size)
    rejects = _rejects(plan, written)
    reasons = dict(sorted(Counter(rejects["reason"]).items()))
    if index.empty:
        raise ConvertError(f"{out}: no slice could be read: {reasons}; check the DICOM files")
    tables = {
        INDEX_NAME: index.to_csv(index=False, float_format="%.3f", lineterminator="\n"),
        REJECTS_NAME: rejects.to_csv(index=False, lineterminator="\n"),
    }
    if plan.standing:
        say_what_is_mended(plan.standing, rejects)
    for name, text in tables.items():
        write_text(out / name, text)
    before = plan.standing.manifest.shards if plan.standing else ()
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        format=shard_format,
        splits={x: _count(index[index["split"] == x]) for x in SPLITS if x in set(index["split"])},
        shards=(*before, *(x.shard for x in written)),
        rejected=reasons,
        labels_without_files=plan.left_out.labels_without_files,
        pixel_mm=_median(pd.to_numeric(index["pixel_mm"])),
        tables={name: file_sha256(out / name) for name in tables},
        key_check=key_check(plan.salt),
        refused=_refused(plan, written),
    )
    write_manifest(out / MANIFEST_NAME, manifest)
    return manifest


def _index(plan: Plan, written: Sequence[Written], size: int) -> pd.DataFrame:
    """A row a slice that stands, by slice id; lengths in mm to three places."""
    parts = []
    for planned, result in zip(plan.shards, written, strict=True):
        kept = planned.slices[planned.slices["slice_id"].isin(result.kept)]
        parts.append(kept.assign(split=split_of(planned.name), shard=planned.name))
    tables = [plan.standing.index] if plan.standing else []
    if parts:
        added = pd.concat(parts).rename(columns={"position_mm": "z_mm"})
        added["pixel_mm"] = (added["edge_mm"] / size).round(3)
        tables.append(added[INDEX_COLUMNS])
    return pd.concat(tables).sort_values("slice_id")


def _rejects(plan: Plan, written: Sequence[Written]) -> pd.DataFrame:
    """A row a file that was left out, by path."""
    refused = [pd.DataFrame(x.rejects, columns=REJECT_COLUMNS) for x in written]
    rejects = pd.concat([plan.left_out.rejects, *refused]).sort_values("path")
    rejects = rejects.assign(path=rejects["path"].map(path_cell))
    return rejects.sort_values("path", kind="stable")


def _refused(plan: Plan, written: Sequence[Written]) -> tuple[Refused, ...]:
    """The files that are left out by their pixels or as duplicates."""
    refused = list(plan.left_out.refused)
    for planned, result in zip(plan.shards, written, strict=True):
        slice_ids = planned.slices.set_index("path")["slice_id"]
        paths = pd.Series([path for path, *_ in result.rejects], dtype=str)
        # A shard that a release of before has written says nothing of contents.
        known = paths[paths.isin(result.contents.keys())]
        contents = keyed_hash(known.map(result.contents), plan.salt).reindex(paths.index).fillna("")
        refused += map(Refused, file_marks(paths, plan.salt), paths.map(slice_ids), contents)
    return tuple(sorted(refused, key=astuple))


def _median(lengths: pd.Series) -> float | None:
    known = lengths.dropna()
    return None if known.empty else float(known.median())


def _count(rows: pd.DataFrame) -> Split:
    labelled = rows[rows["any"].notna()]
    positives = {label: int(labelled[label].sum()) for label in LABELS} if len(labelled) else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)

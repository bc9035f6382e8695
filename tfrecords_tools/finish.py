"""The tables and the manifest of shards that stand: the last that a conversion writes."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from tfrecords_tools.atomic import write_text
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.deaths import ConvertError
from tfrecords_tools.manifest import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    Split,
    file_sha256,
    split_of,
    write_manifest,
)
from tfrecords_tools.plan import Options, Plan
from tfrecords_tools.rejects import path_cell
from tfrecords_tools.scan import REJECT_COLUMNS
from tfrecords_tools.shard import Written, read_result
from tfrecords_tools.storage import ShardPath

INDEX_COLUMNS = [
    *("slice_id", "study_id", "patient_key", "split", "shard"),
    *LABELS,
    *("z_mm", "pixel_mm"),
]


def finish(out: ShardPath, plan: Plan, options: Options) -> Manifest:
    """Writes index and rejects and, last, the manifest.

    Raises:
        ConvertError: if no slice was written.
    """
    written = [read_result(out, planned.name) for planned in plan.shards]
    index = _index(plan, written, options.size)
    rejects = _rejects(plan, written)
    reasons = dict(sorted(Counter(rejects["reason"]).items()))
    if index.empty:
        raise ConvertError(f"{out}: no slice could be read: {reasons}; check the DICOM files")
    tables = {
        INDEX_NAME: index.to_csv(index=False, float_format="%.3f", lineterminator="\n"),
        REJECTS_NAME: rejects.to_csv(index=False, lineterminator="\n"),
    }
    for name, text in tables.items():
        write_text(out / name, text)
    before = plan.standing.manifest.shards if plan.standing else ()
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        windows=options.windows,
        neighbours=options.neighbours,
        size=options.size,
        encoding=options.encoding,
        splits={x: _count(index[index["split"] == x]) for x in SPLITS if x in set(index["split"])},
        shards=(*before, *(x.shard for x in written)),
        rejected=reasons,
        labels_without_files=plan.labels_without_files,
        pixel_mm=_median(pd.to_numeric(index["pixel_mm"])),
        tables={name: file_sha256(out / name) for name in tables},
        key_check=plan.key_check,
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
    rejects = pd.concat([plan.rejects, *refused]).sort_values("path")
    rejects = rejects.assign(path=rejects["path"].map(path_cell))
    if plan.standing:
        rejects = pd.concat([plan.standing.rejects, rejects]).drop_duplicates()
    return rejects.sort_values("path", kind="stable")


def _refused(plan: Plan, written: Sequence[Written]) -> tuple[str, ...]:
    """Ids of the slices that were planned and not written, of earlier conversions too."""
    refused = set(plan.standing.manifest.refused) if plan.standing else set()
    for planned, result in zip(plan.shards, written, strict=True):
        refused |= set(planned.slices["slice_id"]) - set(result.kept)
    return tuple(sorted(refused))


def _median(lengths: pd.Series) -> float | None:
    known = lengths.dropna()
    return None if known.empty else float(known.median())


def _count(rows: pd.DataFrame) -> Split:
    labelled = rows[rows["any"].notna()]
    positives = {label: int(labelled[label].sum()) for label in LABELS} if len(labelled) else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)

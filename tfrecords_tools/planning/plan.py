"""Assigns each slice to a split and a shard, before a pixel is read."""

from dataclasses import dataclass

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.existing import Existing, no_shards
from tfrecords_tools.dataset.keys import key_check, keyed_hash, public_ids
from tfrecords_tools.dataset.manifest import REJECT_COLUMNS, SPLITS, ShardFormat, shard_name
from tfrecords_tools.errors import ConvertError
from tfrecords_tools.planning.addition import compare, log_changes, log_doubtful
from tfrecords_tools.planning.fingerprint import plan_fingerprint, source_fingerprint
from tfrecords_tools.planning.neighbours import find_neighbours
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.planning.rejected import (
    DETAILS,
    DUPLICATE_ID,
    NO_SPLIT,
    Rejected,
    all_rejected,
    doubts,
)
from tfrecords_tools.planning.scan import Scan
from tfrecords_tools.planning.split import splits

SHARD_BYTES = 150_000_000  # on disk; files of 100 to 200 MB read well from any storage
COMPRESSION = {"zlib": 4, "png": 4, "raw": 1}  # bytes of pixels per byte on disk, approximately
MINIMUM_SHARDS = 16  # of all slices, so that a small training split has 8 or more to shuffle
MINIMUM_SHARD_SIZE = 64  # records

# Columns of a planned shard, by their names in the plan's table.
_PUBLIC = {"public_slice_id": "slice_id", "public_study_id": "study_id"}
_RECORD = ("neighbours", "slice_id", "study_id", "patient_key", "position_mm", "mask")
_COLUMNS = [
    *SourceFile._fields,
    *("neighbours", *_PUBLIC, "patient_key", "position_mm", "edge_mm", "mask"),
    *LABELS,
]


@dataclass(frozen=True, eq=False)
class PlannedShard:
    """One shard to be written."""

    name: str
    # one row per record, in order: the fields of its SourceFile; `neighbours`, a tuple of
    # SourceFiles; `slice_id`, `study_id`, `patient_key`, `position_mm` and `mask` for the record;
    # `edge_mm`; the six labels, missing if unlabelled
    slices: pd.DataFrame

    def records(self) -> list[PlannedSlice]:
        """The rows, for a worker."""
        rows = self.slices
        labels = [
            tuple(map(int, x)) if pd.notna(x[0]) else None for x in rows[list(LABELS)].to_numpy()
        ]
        columns = [rows[name].tolist() for name in _RECORD]
        return list(map(PlannedSlice, _source_files(rows), *columns, labels))


@dataclass(frozen=True, eq=False)
class Plan:
    """A whole conversion."""

    fingerprint: str  # of the files' identity, the labels and the options, and of existing shards
    # fingerprint of the files' sizes and times, which tells whether a conversion that was
    # interrupted can be resumed
    sources: str
    shards: tuple[PlannedShard, ...]  # the shards to write, by split, in order
    rejected: Rejected  # rejected files, and labels without a file
    options: PlanOptions
    existing: Existing  # shards that these are added to

    @property
    def changes_nothing(self) -> bool:
        """Whether the existing shards and tables already hold all of this."""
        without_files = self.existing.manifest.labels_without_files
        same_rejects = self.existing.has_rejects(self.rejected.rejects)
        same_labels = self.rejected.labels_without_files == without_files
        return not self.shards and same_rejects and same_labels


def default_shard_size(shard_format: ShardFormat, slices: int) -> int:
    """Records per shard: files of about 150 MB, or smaller ones if there would be too few."""
    pixels = shard_format.size**2 * shard_format.channels
    by_bytes = SHARD_BYTES * COMPRESSION[shard_format.encoding] // pixels
    by_count = max(slices // MINIMUM_SHARDS, MINIMUM_SHARD_SIZE)
    return max(min(by_bytes, by_count), 1)


def make_plan(
    scan: Scan, labels: pd.DataFrame | None, options: PlanOptions, existing: Existing | None = None
) -> Plan:
    """Assigns each slice to a split and a shard.

    Patients that share a `pixel_hash` are kept in one split. The slices of `existing` are not
    planned again, their patients keep their split, and together with them the fractions of
    `options.split` are to be met. Slices whose pixels were rejected before are planned only if
    their files have changed.

    Raises ConvertError if no slice is left, if `existing` hashes its patients differently, or if a
    split file moves existing patients or puts a patient into two splits.
    """
    existing = existing or no_shards(options.format)
    _check_salt(existing, options.salt)
    slices, doubtful = _trusted(scan.slices, labels, options)
    slices = compare(slices, existing, scan.root, options.salt)
    if not existing.is_empty:
        log_changes(existing, slices)
        log_doubtful(existing, doubtful, slices)
    slices["split"] = splits(slices, options, existing)
    without_split = slices[slices["split"] == ""].assign(reason=NO_SPLIT)
    slices = slices[slices["split"] != ""].reset_index(drop=True)
    rejects = _rejects(scan.rejects, doubtful, without_split)
    if slices.empty and existing.is_empty:
        raise ConvertError(
            f"no usable slice: {_counts(rejects)}; check the folder, the label file and the split"
            " file if there is one"
        )
    slices["order"] = keyed_hash(slices["slice_id"], f"order {options.seed}".encode())
    slices["neighbours"] = _neighbour_files(slices, options.format.neighbours)
    slices["mask"] = "" if options.masks is None else options.masks.file_of(slices)
    duplicates = doubtful[doubtful["reason"] == DUPLICATE_ID]
    rejected = all_rejected(slices, rejects, duplicates, labels, existing, options)
    new = slices[slices["new"]]
    return Plan(
        fingerprint=plan_fingerprint(new, rejects, options, existing),
        sources=source_fingerprint(new),
        shards=_cut(new, options.shard_size, existing.next_addition),
        rejected=rejected,
        options=options,
        existing=existing,
    )


def _check_salt(existing: Existing, salt: bytes) -> None:
    if not existing.is_empty and existing.manifest.key_check != key_check(salt):
        raise ConvertError(
            "the existing shards hash their patients with another --seed or --patient-key-file;"
            " give the same, or patients could not be recognized"
        )


def _trusted(
    slices: pd.DataFrame, labels: pd.DataFrame | None, options: PlanOptions
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Adds labels, ids and `reason`; returns the slices without and with a reason of rejection."""
    slices = _with_labels(_with_public_ids(slices, options), labels)
    slices["reason"] = doubts(slices, [] if labels is None else labels.index)
    trusted = slices["reason"] == ""
    return slices[trusted].reset_index(drop=True), slices[~trusted]


def _with_public_ids(slices: pd.DataFrame, options: PlanOptions) -> pd.DataFrame:
    """Adds `patient` and the ids that the shards contain.

    Slices without a patient id may all belong to one patient: they are grouped by study, or all
    together if they have no study id either.
    """
    named = slices["patient_id"] != ""
    patient = slices["patient_id"].where(named, "study " + slices["study_id"])
    return slices.assign(
        patient=patient,
        public_slice_id=public_ids(slices["slice_id"], options.key),
        public_study_id=public_ids(slices["study_id"], options.key),
        patient_key=keyed_hash(patient, options.salt),
    )


def _with_labels(slices: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """Adds the six labels: 0, 1 or missing."""
    if labels is None:
        return slices.assign(**{label: pd.array([pd.NA] * len(slices), "Int8") for label in LABELS})
    joined = slices.join(labels.astype("Int8"), on="slice_id")
    joined.loc[~joined["labelled"], list(LABELS)] = pd.NA
    return joined


def _rejects(scanned: pd.DataFrame, *planned: pd.DataFrame) -> pd.DataFrame:
    """Files rejected by the scan, and slices rejected by the plan, sorted by path."""
    tables = [x.assign(detail=x["reason"].map(DETAILS))[REJECT_COLUMNS] for x in planned]
    return pd.concat([scanned, *tables]).sort_values("path", ignore_index=True)


def _source_files(slices: pd.DataFrame) -> list[SourceFile]:
    return list(map(SourceFile, *(slices[name].tolist() for name in SourceFile._fields)))


def _neighbour_files(slices: pd.DataFrame, reach: int) -> pd.Series:
    if not reach:
        return pd.Series([()] * len(slices), index=slices.index)
    files = _source_files(slices)
    rows = find_neighbours(slices, reach).tolist()
    return pd.Series([tuple(files[x] for x in row) for row in rows], index=slices.index)


def _cut(slices: pd.DataFrame, shard_size: int, addition: int) -> tuple[PlannedShard, ...]:
    """Cuts each split into shards: random samples, so that a small buffer can shuffle them."""
    shards = []
    for split in SPLITS:
        members = slices[slices["split"] == split].sort_values("order")
        members = members[_COLUMNS].rename(columns=_PUBLIC)
        count = -(-len(members) // shard_size)
        for number in range(count):
            start, stop = (len(members) * i // count for i in (number, number + 1))
            rows = members.iloc[start:stop].reset_index(drop=True)
            shards.append(PlannedShard(shard_name(split, number, count, addition), rows))
    return tuple(shards)


def _counts(rejects: pd.DataFrame) -> str:
    counts = rejects["reason"].value_counts()
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())

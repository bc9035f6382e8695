"""Fingerprints, which tell whether two conversions write the same shards."""

import hashlib
import hmac
import json
from dataclasses import asdict
from typing import Any

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.existing import Existing
from tfrecords_tools.dataset.manifest import FORMAT_VERSION
from tfrecords_tools.planning.options import PlanOptions

# Columns of the plan's table, by the names that they have in the fingerprint.
IDENTITY = {
    "slice_id": "slice_id",
    "study_id": "study_id",
    "patient": "patient_key",
    "bytes": "bytes",
    "header_hash": "header_hash",
    "split": "split",
    **{label: label for label in LABELS},
}


def plan_fingerprint(
    slices: pd.DataFrame, rejects: pd.DataFrame, options: PlanOptions, existing: Existing
) -> str:
    """SHA-256 of everything the shards follow from, but not of the location of the files.

    Without new slices, the fingerprint of the existing shards does not change.
    """
    before = existing.manifest.fingerprint
    if slices.empty:
        return before
    fingerprint = _sha256(_settings(rejects, options) + _identity(slices))
    return fingerprint if existing.is_empty else _sha256(before + fingerprint)


def source_fingerprint(slices: pd.DataFrame) -> str:
    """SHA-256 of the paths, sizes and versions of the files."""
    table = slices[["path", "bytes", "version"]].sort_values("path").to_csv(index=False)
    return _sha256(table)


def _settings(rejects: pd.DataFrame, options: PlanOptions) -> str:
    key = options.key
    settings = {
        **_format(options),
        "split": options.split if isinstance(options.split, tuple) else None,
        "seed": options.seed,
        "shard_size": options.shard_size,
        "format_version": FORMAT_VERSION,
        "rejected": rejects["reason"].value_counts().to_dict(),
        "key": hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest() if key else None,
    }
    return json.dumps(settings, sort_keys=True)


def _format(options: PlanOptions) -> dict[str, Any]:
    """Without masks as in releases that knew none."""
    settings = asdict(options.format)
    del settings["masks"]
    return settings if options.masks is None else {**settings, "masks": options.masks.sha256}


def _identity(slices: pd.DataFrame) -> str:
    table = slices[[*IDENTITY]].rename(columns=IDENTITY).sort_values("slice_id")
    return table.to_csv(index=False, lineterminator="\n")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

"""Which slice goes into which shard: who is where, in what order, and the fingerprint of it all."""

import hashlib
import hmac
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.manifest import FORMAT_VERSION, SPLITS, shard_name
from tfrecords_tools.windows import Window

SHARD_BYTES = 150_000_000  # on disk; files of 100 to 200 MB read well from any storage
COMPRESSION = {"zlib": 4, "png": 4, "raw": 1}  # bytes of pixels to a byte on disk, about
MINIMUM_SHARDS = 16  # of all slices, so that a small training split has 8 or more to shuffle
MINIMUM_SHARD_SIZE = 64  # records

KEY_LENGTH = 16  # hexadecimal digits; 64 bits keep 10 million slices apart
RSNA_NAME = (
    r"^(?:.*/)?(ID_[0-9a-f]+)(?:\.[^/]*)?$"  # of a file; the challenge names it by its slice
)
TRAIN, UNLABELLED = SPLITS[0], SPLITS[-1]

DUPLICATE_ID = "duplicate_id"
ID_MISMATCH = "id_mismatch"
NO_LABEL = "no_label"
DETAILS = {
    DUPLICATE_ID: "another file has the same SOP Instance UID, and which is right cannot be told",
    ID_MISMATCH: "the file is named as one slice, and its SOP Instance UID is another's",
    NO_LABEL: "the label file does not name this slice",
}


class PlanError(InputError):
    """A data set of which nothing can be converted."""


@dataclass(frozen=True)
class Options:
    """What the bytes of the shards depend on, beside the data.

    Attributes:
        size: edge of a slice in pixels.
        windows: one a channel.
        split: fractions of the patients for train, val and test; they sum to 1.
        seed: of split, order and patient keys.
        encoding: of the images.
        shard_size: records a shard, at most.
    """

    size: int
    windows: tuple[Window, ...]
    split: tuple[float, ...]
    seed: int
    encoding: str
    shard_size: int


@dataclass(frozen=True, eq=False)
class PlannedShard:
    """One shard to be written.

    Attributes:
        name: of the file.
        slices: a row a record, in order: `path`; `sop_uid`, the id within the file; `slice_id`,
            `study_id`, `patient_key` and `position_mm` for the record; the six labels, missing
            where unlabelled.
    """

    name: str
    slices: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Plan:
    """The whole conversion, before a pixel is read.

    Attributes:
        fingerprint: of the files' identity, the labels and the options.
        shards: by split, in order.
        rejects: the files left out so far: `path`, `reason`, `detail`.
        labels_without_files: labelled slices that no file was found for.
    """

    fingerprint: str
    shards: tuple[PlannedShard, ...]
    rejects: pd.DataFrame
    labels_without_files: int


def parse_split(text: str) -> tuple[float, ...]:
    """Reads `0.8,0.1,0.1`: fractions of the patients for train, val and test.

    A set that is only judged on is read by `0,1,0`.

    Raises:
        UsageError: unless they are three, none negative, and sum to 1.
    """
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != 3 or not (min(fractions) >= 0 and math.isclose(sum(fractions), 1)):
        raise UsageError(f"--split {text!r}: expected three fractions that sum to 1: 0.8,0.1,0.1")
    return fractions


def default_shard_size(size: int, channels: int, encoding: str, slices: int) -> int:
    """Records a shard, for files of some 150 MB; fewer where there would be too few shards."""
    by_bytes = SHARD_BYTES * COMPRESSION[encoding] // (size * size * channels)
    by_count = max(slices // MINIMUM_SHARDS, MINIMUM_SHARD_SIZE)
    return max(min(by_bytes, by_count), 1)


def make_plan(
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    labels: pd.DataFrame | None,
    options: Options,
    key: bytes | None = None,
) -> Plan:
    """Decides where each slice goes.

    Args:
        slices: from `scan`.
        rejects: from `scan`.
        labels: from `read_labels`; None where no slice is labelled.
        options: what the shards will be.
        key: secret that patients, studies and slices are hashed with. Without one, slice and
            study ids stay as they are, and patient keys are salted with the seed alone: whoever
            has a list of the patients can tell who is who.

    Raises:
        PlanError: if no slice is left.
    """
    known = labels.index if labels is not None else pd.Index([], dtype=str)
    slices, refused = _set_aside(slices, known)
    rejects = pd.concat([rejects, refused]).sort_values("path", ignore_index=True)
    if slices.empty:
        raise PlanError(f"no usable slice: {_counts(rejects)}; check the folder and the label file")
    slices = _with_labels(_with_patients(slices), labels)
    slices["split"] = UNLABELLED
    labelled = slices["labelled"]
    splits = assign_splits(slices[labelled], options.split, options.seed)
    slices.loc[labelled, "split"] = slices.loc[labelled, "patient_key"].map(splits)
    slices["order"] = keyed_hash(slices["slice_id"], f"order {options.seed}".encode())
    fingerprint = _fingerprint(slices, options, key)
    shards = _cut(_pseudonymous(slices, options.seed, key), options.shard_size)
    without_files = ~known.isin(slices.loc[labelled, "slice_id"])
    return Plan(fingerprint, shards, rejects, int(without_files.sum()))


def assign_splits(slices: pd.DataFrame, fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Puts each patient into one split, so that every label reaches every split where it can.

    Patients are grouped by the rarest bleeding they have. Within a group, in the order of a hash,
    the next one goes to the split with the fewest of the group for its fraction: the divisor
    method of Adams, which gives each split one before any gets its second.

    Args:
        slices: with `patient_key`, whatever tells patients apart, and the six labels.
        fractions: of train, val and test; a split of fraction 0 gets none.
        seed: of the order.

    Returns:
        The patient's key to the name of the split.
    """
    bears = slices.groupby("patient_key")[list(BLEEDINGS)].max().astype(bool)
    rarest_first = bears.sum().sort_values(kind="stable").index
    with_none = np.ones((len(bears), 1), bool)
    groups = np.argmax(np.hstack([bears[rarest_first].to_numpy(), with_none]), axis=1)
    order = keyed_hash(bears.index.to_series(), f"split {seed}".encode())
    wanted = {name: share for name, share in zip(SPLITS, fractions, strict=False) if share > 0}
    of_group: Counter[tuple[int, str]] = Counter()
    of_all: Counter[str] = Counter()
    splits = {}
    for place in np.lexsort((order.to_numpy(str), groups)):
        group = int(groups[place])

        def fullness(name: str, group: int = group) -> tuple[float, float]:
            # Of equals train, then the smallest: else small groups would all leave out the last.
            rest = 0 if name == TRAIN else of_all[name] / wanted[name]
            return of_group[group, name] / wanted[name], rest

        chosen = min(wanted, key=fullness)
        of_group[group, chosen] += 1
        of_all[chosen] += 1
        splits[str(bears.index[place])] = chosen
    return splits


def keyed_hash(texts: pd.Series, key: bytes) -> pd.Series:
    """HMAC-SHA-256 of each text, the first KEY_LENGTH hexadecimal digits."""
    hashes = {
        text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:KEY_LENGTH]
        for text in texts.unique()
    }
    return texts.map(hashes)


def _set_aside(slices: pd.DataFrame, known: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Refuses whose identity or label is in doubt: a lost slice is counted, a wrong one believed.

    Returns:
        (slices, rejects), those that stay and those that do not.
    """
    named = slices["path"].str.extract(RSNA_NAME, expand=False)
    reason = pd.Series("", index=slices.index)
    reason[slices["labelled"] & ~slices["slice_id"].isin(known)] = NO_LABEL
    reason[named.notna() & (named != slices["slice_id"])] = ID_MISMATCH
    trusted = slices[reason != ID_MISMATCH]
    reason[trusted.index[trusted["slice_id"].duplicated(keep=False)]] = DUPLICATE_ID
    stays = reason == ""
    reason = reason[~stays]
    rejects = slices[["path"]][~stays].assign(reason=reason, detail=reason.map(DETAILS))
    return slices[stays].reset_index(drop=True), rejects


def _with_patients(slices: pd.DataFrame) -> pd.DataFrame:
    """Slices that name no patient may all be of one: by study where there is one, else together."""
    named = slices["patient_id"] != ""
    patient = slices["patient_id"].where(named, "study " + slices["study_id"])
    return slices.drop(columns="patient_id").assign(patient_key=patient)


def _with_labels(slices: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """Adds the six labels, 0, 1 or missing."""
    if labels is None:
        return slices.assign(**{label: pd.array([pd.NA] * len(slices), "Int8") for label in LABELS})
    joined = slices.join(labels.astype("Int8"), on="slice_id")
    joined.loc[~joined["labelled"], list(LABELS)] = pd.NA
    return joined


def _fingerprint(slices: pd.DataFrame, options: Options, key: bytes | None) -> str:
    """SHA-256 over all that the shards follow from; where the files lie is no part of it."""
    settings = {
        **asdict(options),
        "format_version": FORMAT_VERSION,
        "key": hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest() if key else None,
    }
    identity = ["slice_id", "study_id", "patient_key", "bytes", "labelled", *LABELS]
    table = slices[identity].sort_values("slice_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256((json.dumps(settings, sort_keys=True) + table).encode()).hexdigest()


def _pseudonymous(slices: pd.DataFrame, seed: int, key: bytes | None) -> pd.DataFrame:
    """Leaves of the patient, and with a key of study and slice, but a hash."""
    salt = key or str(seed).encode()
    slices = slices.assign(
        sop_uid=slices["slice_id"], patient_key=keyed_hash(slices["patient_key"], salt)
    )
    if key:  # clinical UIDs tell the archive's users who it is
        for column in ("slice_id", "study_id"):
            slices[column] = keyed_hash(slices[column], key)
    return slices.drop(columns=["bytes", "labelled"])


def _cut(slices: pd.DataFrame, shard_size: int) -> tuple[PlannedShard, ...]:
    """Shards a split, each a random sample of it, so that a small buffer can shuffle them."""
    shards = []
    for split in SPLITS:
        members = slices[slices["split"] == split].sort_values("order")
        members = members.drop(columns=["split", "order"])
        count = -(-len(members) // shard_size)
        for number in range(count):
            start, stop = (len(members) * i // count for i in (number, number + 1))
            rows = members.iloc[start:stop].reset_index(drop=True)
            shards.append(PlannedShard(shard_name(split, number, count), rows))
    return tuple(shards)


def _counts(rejects: pd.DataFrame) -> str:
    counts = rejects["reason"].value_counts()
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())

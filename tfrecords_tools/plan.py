"""Which slice goes into which shard: who is where, in what order, and the fingerprint of it all."""

import hashlib
import hmac
import json
import multiprocessing
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfrecords_tools.dicom import RefusedSlice, read_header
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.labels import BLEEDINGS, LABELS
from tfrecords_tools.manifest import FORMAT_VERSION, shard_name
from tfrecords_tools.progress import progress
from tfrecords_tools.windows import Window

SCAN_CHUNK = 256  # files a task: enough to hide what a task costs
KEY_LENGTH = 16  # hexadecimal digits; 64 bits keep 10 million patients apart
RSNA_ID = re.compile(r"ID_[0-9a-f]+")
SPLIT_NAMES = ("train", "val", "test")


class PlanError(InputError):
    """A data set that cannot be planned."""


@dataclass(frozen=True)
class Options:
    """What changes the bytes of the shards.

    Attributes:
        size: edge of a slice in pixels.
        windows: one a channel.
        split: fractions of the patients for train, val and test; they sum to 1.
        seed: of split, order and patient keys.
        encoding: of the images.
        shard_size: records a shard at most.
    """

    size: int
    windows: tuple[Window, ...]
    split: tuple[float, float, float]
    seed: int
    encoding: str
    shard_size: int


@dataclass(frozen=True)
class Planned:
    """One shard to be written.

    Attributes:
        name: of the file.
        slices: rows with `path`, `slice_id`, `study_id`, `patient_key`, `position_mm` and, where
            labelled, the six labels; in the order of the records.
    """

    name: str
    slices: pd.DataFrame


@dataclass(frozen=True)
class Plan:
    """The whole conversion, before a pixel is read.

    Attributes:
        fingerprint: of the sources' identity, the labels and the options.
        shards: in the order of their names.
        rejects: `path`, `reason`, `detail` of the files left out by their headers.
        labels_without_files: labelled slices that no file was found for.
    """

    fingerprint: str
    shards: tuple[Planned, ...]
    rejects: pd.DataFrame
    labels_without_files: int


def parse_split(text: str) -> tuple[float, float, float]:
    """Reads `0.8,0.1,0.1`: fractions for train, val and test.

    Raises:
        UsageError: unless there are three of 0 or more that sum to 1.
    """
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--split {text!r}: expected three fractions, such as 0.8,0.1,0.1"
        ) from None
    if min(train, val, test) < 0 or abs(train + val + test - 1) > 1e-6 or not train:
        raise UsageError(f"--split {text!r}: the fractions must be 0 or more and sum to 1")
    return train, val, test


def scan(root: Path, files: Sequence[Path], workers: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the headers of all files.

    Returns:
        (slices, rejects): a row a slice with `path` relative to root, `bytes` and the fields of
        SliceHeader; a row a file left out with `path`, `reason`, `detail`.
    """
    chunks = [files[i : i + SCAN_CHUNK] for i in range(0, len(files), SCAN_CHUNK)]
    rows: list[dict[str, Any]] = []
    with worker_pool(workers) as pool, progress(total=len(files), desc="scan", unit="file") as bar:
        for chunk, found in zip(chunks, pool.map(_scan_chunk, chunks), strict=True):
            rows += found
            bar.update(len(chunk))
    table = pd.DataFrame(rows, columns=["path", "bytes", *_HEADER_FIELDS, "reason", "detail"])
    table["path"] = [os.path.relpath(path, root) for path in table["path"]]
    refused = table["reason"].notna()
    return table[~refused].reset_index(drop=True), table.loc[refused, ["path", "reason", "detail"]]


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that start fresh, so that no lock or thread of this one is inherited."""
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
    )


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
        labels: from `read_labels`; None plans one split, `unlabelled`.
        options: what the shards will be.
        key: secret for hashing identities. Without one patient ids are salted by the seed alone,
            which a list of all ids can reverse; study and slice ids stay as they are.

    Raises:
        PlanError: if no slice is left.
    """
    slices, doubled = _take_out(slices, slices["slice_id"].duplicated(keep="first"), "duplicate_id")
    slices, mistaken = _take_out(slices, _mistaken_names(slices), "id_mismatch")
    rejects = pd.concat([rejects, doubled, mistaken])
    missing = 0
    if labels is not None:
        missing = int((~labels.index.isin(slices["slice_id"])).sum())
        slices, unknown = _take_out(slices, ~slices["slice_id"].isin(labels.index), "no_label")
        rejects = pd.concat([rejects, unknown])
        slices = slices.join(labels, on="slice_id")
    if slices.empty:
        raise PlanError(
            "no usable slice: "
            + (_reasons(rejects) or "the folder holds no files")
            + "; check the folder and the label file"
        )
    # Slices that name no patient may all be of one: by study where there is one, else together.
    nameless = slices["patient_id"] == ""
    slices["patient_id"] = slices["patient_id"].where(~nameless, "study " + slices["study_id"])
    fingerprint = _fingerprint(slices, labels is not None, options, key)
    salt = str(options.seed).encode() if key is None else key
    slices["patient_key"] = _hashes(slices["patient_id"], salt)
    if labels is None:
        slices["split"] = "unlabelled"
    else:
        splits = assign_splits(slices, options.split, options.seed)
        slices["split"] = slices["patient_key"].map(splits)
    slices["order"] = _hashes(slices["slice_id"], f"order {options.seed}".encode())
    if key is not None:
        for column in ("slice_id", "study_id"):
            slices[column] = _hashes(slices[column], key)
    rejects = rejects.sort_values("path").reset_index(drop=True)
    return Plan(fingerprint, _cut(slices, options.shard_size), rejects, missing)


def assign_splits(slices: pd.DataFrame, fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Puts each patient into one split, so that every label reaches every split where it can.

    Patients are taken by their rarest bleeding, in the order of a hash; the next one goes to the
    split that has the smallest number of such patients for its fraction. That is the method of
    Adams, which gives each split one before it gives any a second.

    Args:
        slices: with `patient_key` and the six labels.
        fractions: of train, val and test.
        seed: of the order.

    Returns:
        The patient's key to the name of the split.
    """
    bears = slices.groupby("patient_key")[list(LABELS)].max()
    rarest_first = bears[list(BLEEDINGS)].sum().sort_values(kind="stable").index
    stratum = np.full(len(bears), len(BLEEDINGS))
    for rank, label in reversed(list(enumerate(rarest_first))):
        stratum[bears[label].to_numpy() == 1] = rank
    order = _hashes(bears.index.to_series(), f"split {seed}".encode()).to_numpy()
    assigned = np.zeros((len(BLEEDINGS) + 1, len(fractions)))
    share = np.where(np.array(fractions) > 0, fractions, np.nan)
    splits = {}
    for place in np.lexsort((order, stratum)):
        counts = assigned[stratum[place]]
        # Of equally served splits the largest: argmin takes the first, train.
        chosen = int(np.nanargmin(counts / share))
        counts[chosen] += 1
        splits[str(bears.index[place])] = SPLIT_NAMES[chosen]
    return splits


def _cut(slices: pd.DataFrame, shard_size: int) -> tuple[Planned, ...]:
    """Shards of a split: random samples of it, so that training can shuffle with a small buffer."""
    shards = []
    for split, members in slices.groupby("split", sort=True):
        members = members.sort_values("order")
        count = -(-len(members) // shard_size)
        for number, rows in enumerate(np.array_split(np.arange(len(members)), count)):
            kept = members.iloc[rows].drop(columns=["order", "split", "patient_id", "series_id"])
            name = shard_name(str(split), number, count)
            shards.append(Planned(name, kept.reset_index(drop=True)))
    return tuple(shards)


def _fingerprint(slices: pd.DataFrame, labelled: bool, options: Options, key: bytes | None) -> str:
    """SHA-256 over what the bytes of the shards follow from."""
    digest = hashlib.sha256()
    settings: Mapping[str, Any] = {
        "format_version": FORMAT_VERSION,
        "size": options.size,
        "windows": [list(window) for window in options.windows],
        "split": list(options.split),
        "seed": options.seed,
        "encoding": options.encoding,
        "shard_size": options.shard_size,
        "key": hashlib.sha256(b"ich-keras" + key).hexdigest() if key else None,
        "labelled": labelled,
    }
    digest.update(json.dumps(settings, sort_keys=True).encode())
    columns = ["slice_id", "study_id", "patient_id", "position_mm", "bytes"]
    columns += list(LABELS) if labelled else []
    for row in slices.sort_values("slice_id")[columns].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def _mistaken_names(slices: pd.DataFrame) -> pd.Series:
    """Files named as another slice: a swapped label is worse than a lost slice."""
    stems = slices["path"].map(lambda path: Path(path).stem)
    return stems.str.fullmatch(RSNA_ID.pattern) & (stems != slices["slice_id"])


DETAILS = {
    "duplicate_id": "another file has the same SOP Instance UID",
    "id_mismatch": "the file's name is not its SOP Instance UID",
    "no_label": "the label file does not know this slice",
}


def _take_out(
    slices: pd.DataFrame, which: pd.Series, reason: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rejects = slices.loc[which, ["path"]].assign(reason=reason, detail=DETAILS[reason])
    return slices[~which].reset_index(drop=True), rejects


def _reasons(rejects: pd.DataFrame) -> str:
    counts = rejects["reason"].value_counts()
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())


def _hashes(texts: pd.Series, key: bytes) -> pd.Series:
    """HMAC-SHA-256 of each text, shortened."""

    def one(text: str) -> str:
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:KEY_LENGTH]

    unique = {text: one(text) for text in texts.unique()}
    return texts.map(unique)


_HEADER_FIELDS = ("slice_id", "study_id", "series_id", "patient_id", "position_mm")


def _scan_chunk(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [_scan_file(path) for path in files]


def _scan_file(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"path": path, "bytes": path.stat().st_size}
    try:
        header = read_header(path)
    except RefusedSlice as refusal:
        return {**row, "reason": refusal.reason, "detail": refusal.detail}
    return {**row, **{field: getattr(header, field) for field in _HEADER_FIELDS}}


def _one_thread() -> None:
    """A worker a core: threads within would only fight."""
    import cv2

    cv2.setNumThreads(1)

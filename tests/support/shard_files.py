"""Small shards for tests, written by the schema alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.dataset.manifest import (
    FORMAT_VERSION,
    INDEX_COLUMNS,
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    Shard,
    ShardFormat,
    Split,
    file_sha256,
    shard_name,
    write_manifest,
)
from tfrecords_tools.records.schema import Example, encode_example
from tfrecords_tools.records.tfrecord import RecordWriter
from tfrecords_tools.windows import WINDOWS

SIZE, CHANNELS = 32, 3
PIXEL_MM = 0.5  # in the index alone
WINDOW_NAMES = ("brain", "subdural", "bone")


@dataclass(frozen=True)
class Written:
    """What `write_shards` wrote."""

    folder: Path
    examples: dict[str, list[Example]]


def write_records(path: Path, records: Iterable[bytes]) -> str:
    """Writes records to a new file; returns its SHA-256, hexadecimal."""
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
    return writer.sha256


def write_shards(
    folder: Path,
    labels: Mapping[str, tuple[int, ...]] | None = None,
    *,
    files: int = 2,
    masks: bool = False,
    **splits: int,
) -> Written:
    """Shards whose positive slices carry a square, as bright as its kind.

    Args:
        folder: where to.
        labels: of single slices, by their id, in place of the right ones.
        files: shards of each split.
        masks: whether records hold the squares as masks.
        splits: name to number of slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    examples = {
        name: [_example(rng, name, i, masks) for i in range(n)] for name, n in splits.items()
    }
    for members in examples.values():
        members[:] = [replace(x, label=(labels or {}).get(x.slice_id, x.label)) for x in members]
    shards, rows = [], []
    for name, members in examples.items():
        for number in range(files):
            part = members[number * len(members) // files : (number + 1) * len(members) // files]
            path = folder / shard_name(name, number, files)
            write_records(path, (encode_example(x, "zlib") for x in part))
            shards.append(Shard(path.name, len(part), file_sha256(path)))
            rows += [(*_names(x), name, path.name, *x.label, x.position_mm, PIXEL_MM) for x in part]
    table = pd.DataFrame(rows, columns=INDEX_COLUMNS).sort_values("slice_id")
    table.to_csv(folder / INDEX_NAME, index=False)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint="0" * 64,
        format=ShardFormat(tuple(WINDOWS[name] for name in WINDOW_NAMES), 0, SIZE, "zlib", masks),
        splits={
            name: Split(
                len(members),
                len({x.patient_key for x in members}),
                {label: sum(x.label[k] for x in members) for k, label in enumerate(LABELS)},
            )
            for name, members in examples.items()
        },
        shards=tuple(shards),
        rejected={},
        labels_without_files=0,
    )
    write_manifest(folder / MANIFEST_NAME, manifest)
    return Written(folder, examples)


def _names(example: Example) -> tuple[str, str, str]:
    return example.slice_id, example.study_id, example.patient_key


def overwrite_labels(written: Written, labels: Mapping[str, tuple[int, ...]]) -> None:
    """Other labels in the records of single slices, which neither index nor manifest know of."""
    for name, members in written.examples.items():
        halves = [members[: len(members) // 2], members[len(members) // 2 :]]
        for number, half in enumerate(halves):
            path = written.folder / shard_name(name, number, len(halves))
            changed = [replace(x, label=labels.get(x.slice_id, x.label)) for x in half]
            write_records(path, (encode_example(x, "zlib") for x in changed))


def labelled_record(slice_id: str, label: tuple[int, ...]) -> bytes:
    """A record of which only the label matters."""
    image = np.zeros((1, 1, 1), np.uint8)
    return encode_example(Example(image, label, slice_id, "study", "patient", 0.0), "raw")


def _example(rng: np.random.Generator, split: str, number: int, masked: bool) -> Example:
    image = rng.integers(40, 90, (SIZE, SIZE, CHANNELS), np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    present = [int(number % 7 == k) for k in range(len(SUBTYPES))]
    for k, shown in enumerate(present):
        if shown:
            square = slice(4 * k + 4, 4 * k + 10), slice(8, 20)
            image[square] = 110 + 30 * k
            mask[square] = 1 << k
    return Example(
        image=image,
        label=(*present, max(present)),
        slice_id=f"{split}{number:04d}",
        study_id=f"study{split}{number // 4}",
        patient_key=f"patient{split}{number // 4}",
        position_mm=float(number),
        mask=mask if masked and any(present) else None,
    )

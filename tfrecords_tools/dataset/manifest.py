"""`dataset.json`: what a folder of shards holds. Written last, so it vouches for the rest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfrecords_tools.dataset.shard_format import ShardFormat
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath, local_copy
from tfrecords_tools.windows import Window

FORMAT_VERSION = 2
MANIFEST_NAME = "dataset.json"
INDEX_NAME = "index.csv"
REJECTS_NAME = "rejects.csv"
SPLITS = ("train", "val", "test", "unlabelled")


class ManifestError(InputError):
    """A folder without a readable manifest."""


@dataclass(frozen=True)
class Shard:
    """One record file.

    Attributes:
        name: of the file.
        records: in it.
        sha256: of its bytes, hexadecimal.
    """

    name: str
    records: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """What a split holds.

    Attributes:
        slices: records over all its shards.
        patients: that they come from; no patient stands in two splits.
        positives: label to slices that bear it; empty where unlabelled.
    """

    slices: int
    patients: int
    positives: Mapping[str, int]


@dataclass(frozen=True)
class Refused:
    """A file that was left out although its header was good.

    Attributes:
        file: keyed hash of its path in `rejects.csv`, as this file holds no path; empty in shards
            of before it was kept.
        slice_id: of its slice, as shards have ids.
        content: keyed hash of its bytes if its pixels were refused; empty if it is a duplicate, or
            in shards of before it was kept.
    """

    file: str
    slice_id: str
    content: str


@dataclass(frozen=True)
class Manifest:
    """The content of `dataset.json`.

    Attributes:
        format_version: of the shards.
        fingerprint: of the sources, the labels and every option that changes bytes.
        format: of the images.
        splits: by name.
        shards: of all splits, by name.
        rejected: reason to files left out.
        labels_without_files: slices of the label file given last that no file was found for.
        pixel_mm: edge of a pixel, the median of all slices; None where no file gave it.
        tables: name of a CSV file beside it to the SHA-256 of its bytes.
        key_check: what tells whether another conversion would hash its patients alike; None in
            shards of before there was such a thing.
        refused: files that were left out because of their pixels, which are not tried again as
            long as they have the same bytes, or because their slice is in another file too.
    """

    format_version: int
    fingerprint: str
    format: ShardFormat
    splits: Mapping[str, Split]
    shards: tuple[Shard, ...]
    rejected: Mapping[str, int]
    labels_without_files: int
    pixel_mm: float | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    key_check: str | None = None
    refused: tuple[Refused, ...] = ()

    @property
    def slices(self) -> int:
        """Of all splits."""
        return sum(split.slices for split in self.splits.values())

    @property
    def left_out(self) -> int:
        """Files, for whatever reason."""
        return sum(self.rejected.values())

    def sentence(self) -> str:
        """What was written."""
        return f"{self.slices:,} slices in {len(self.shards)} shards, {self.left_out:,} rejected"

    def addition(self, before: "Manifest") -> str:
        """What came to that which was there before."""
        parts = []
        for name, now in self.splits.items():
            then = before.splits.get(name, Split(0, 0, {}))
            new, patients = now.slices - then.slices, now.patients - then.patients
            if new:
                parts.append(f"{name} {new:,} slices, {patients:,} new patients")
        shards = len(self.shards) - len(before.shards)
        rejected = self.left_out - before.left_out
        return (
            f"{self.slices - before.slices:,} slices in {shards} shards came to"
            f" {before.slices:,} ({'; '.join(parts) or 'nothing new'}),"
            f" {abs(rejected):,} {'fewer' if rejected < 0 else 'more'} rejected"
        )

    def split_shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, in order."""
        return tuple(x for x in self.shards if split_of(x.name) == split)


def shard_name(split: str, number: int, count: int, addition: int = 0) -> str:
    """The file name of shard `number` of `count`, of the first conversion or of an addition."""
    added = f"add{addition}-" if addition else ""
    return f"{split}-{added}{number:05d}-of-{count:05d}.tfrecord"


def split_of(name: str) -> str:
    """The split that a shard's file name says."""
    return name.split("-", 1)[0]


def file_sha256(path: ShardPath) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with local_copy(path) as local, local.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(path: ShardPath, manifest: Manifest) -> None:
    """Writes the manifest to a file, whole or not at all."""
    content: dict[str, Any] = {}
    for name, value in asdict(manifest).items():
        content |= value if name == "format" else {name: value}
    content["windows"] = [window._asdict() for window in manifest.format.windows]
    write_text(path, _sealed(content))


def read_manifest(folder: ShardPath) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        ManifestError: if it is missing, not as it was written, or of another format version.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise ManifestError(
            f"{folder}: no {MANIFEST_NAME}, so no finished shards; let `ich-keras convert` finish"
        )
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        version = content["format_version"]
        if version == FORMAT_VERSION:
            return _unsealed(content, text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path}: damaged ({error!r}); convert again") from error
    raise ManifestError(
        f"{path}: format version {version}, this program reads {FORMAT_VERSION}; convert again"
    )


def _sealed(content: dict[str, Any]) -> str:
    """The text of the manifest, its last entry a checksum of all others."""
    plain = json.dumps(content, indent=2)
    checksum = hashlib.sha256(plain.encode()).hexdigest()
    return json.dumps({**content, "checksum": checksum}, indent=2) + "\n"


def _unsealed(content: dict[str, Any], text: str) -> Manifest:
    del content["checksum"]
    if text != _sealed(content):
        raise ValueError("the checksum is wrong")
    windows = tuple(Window(**window) for window in content.pop("windows"))
    others = {name: content.pop(name) for name in ("neighbours", "size", "encoding")}
    return Manifest(
        **{
            **content,
            "format": ShardFormat(windows, **others),
            "splits": {name: Split(**split) for name, split in content["splits"].items()},
            "shards": tuple(Shard(**shard) for shard in content["shards"]),
            "refused": tuple(map(_refused, content.get("refused", ()))),
        }
    )


def _refused(entry: dict[str, str] | str) -> Refused:
    """Shards of before have the id of the slice alone."""
    return Refused("", entry, "") if isinstance(entry, str) else Refused(**entry)

"""`dataset.json`, the manifest of a folder of shards. It is written last, so it proves the rest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.atomic import write_text
from tfrecords_tools.storage.shard_path import ShardPath, local_copy
from tfrecords_tools.windows import Window
from tfrecords_tools.wording import counted

FORMAT_VERSION = 2
MANIFEST_NAME = "dataset.json"
INDEX_NAME = "index.csv"
REJECTS_NAME = "rejects.csv"
SPLITS = ("train", "val", "test", "unlabelled")
INDEX_COLUMNS = [  # filled by writing/index.py; numbers are named in dataset/existing.py too
    *("slice_id", "study_id", "patient_key", "split", "shard"),
    *LABELS,
    *("z_mm", "pixel_mm"),
]
REJECT_COLUMNS = ["path", "reason", "detail"]


class ManifestError(InputError):
    """A folder without a readable manifest."""


@dataclass(frozen=True)
class ShardFormat:
    """What the records of a folder of shards hold: size, channels and encoding of the images."""

    windows: tuple[Window, ...]  # in the order of the channels
    # slices below and above each slice. Each window has 2 * neighbours + 1 channels, from the
    # lowest to the highest slice.
    neighbours: int
    size: int  # edge of a slice in pixels
    encoding: str  # one of ENCODINGS
    masks: bool = False  # whether positive slices may have masks

    @property
    def channels(self) -> int:
        return len(self.windows) * (2 * self.neighbours + 1)

    def command_options(self) -> str:
        """The options of `ich-keras convert` that give this format."""
        windows = ",".join(f"{x.name}={x.center:g}/{x.width:g}" for x in self.windows)
        return (
            f"--size {self.size} --windows {windows} --neighbours {self.neighbours}"
            f" --encoding {self.encoding}{' --masks DIR' if self.masks else ''}"
        )


@dataclass(frozen=True)
class Shard:
    """One record file."""

    name: str
    records: int
    sha256: str  # of its bytes, hexadecimal


@dataclass(frozen=True)
class Split:
    """Counts of a split."""

    slices: int
    patients: int  # number of patients; no patient is in two splits
    positives: Mapping[str, int]  # number of positive slices by label; empty if unlabelled


@dataclass(frozen=True)
class RejectedFile:
    """A file that was rejected although its header is valid."""

    # keyed hash of its path in `rejects.csv`, since the manifest contains no paths; empty in shards
    # of older releases
    file: str
    slice_id: str  # public id of its slice
    # keyed hash of its bytes if its pixels were rejected; empty if it is a duplicate, and in shards
    # of older releases
    content: str


@dataclass(frozen=True)
class Manifest:
    """The content of `dataset.json`."""

    format_version: int  # of the shards
    fingerprint: str  # of the files, the labels and every option that changes bytes
    format: ShardFormat  # of the images
    splits: Mapping[str, Split]  # by name
    shards: tuple[Shard, ...]  # of all splits, in order
    rejected: Mapping[str, int]  # number of rejected files by reason
    labels_without_files: int  # number of slices in the last label file without a file
    pixel_mm: float | None = None  # edge of a pixel, median of all slices; None if no file has it
    tables: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the CSV files, by name
    # tells whether another conversion hashes its patients alike; None in shards of older releases
    key_check: str | None = None
    # files that were rejected because of their pixels, and are not tried again until their bytes
    # change, or because their slice is in another file too
    refused: tuple[RejectedFile, ...] = ()

    @property
    def slices(self) -> int:
        return sum(split.slices for split in self.splits.values())

    @property
    def rejected_files(self) -> int:
        return sum(self.rejected.values())

    def sentence(self) -> str:
        """The result of a first conversion."""
        rejected = self.rejected_files
        slices, shards = counted(self.slices, "slice"), counted(len(self.shards), "shard")
        return f"{slices} in {shards}, {rejected:,} rejected"

    def addition(self, before: "Manifest") -> str:
        """The result of an addition to the shards of an earlier manifest."""
        parts = []
        for name, now in self.splits.items():
            then = before.splits.get(name, Split(0, 0, {}))
            new, patients = now.slices - then.slices, now.patients - then.patients
            if new:
                parts.append(f"{name} {counted(new, 'slice')}, {counted(patients, 'new patient')}")
        slices = counted(self.slices - before.slices, "slice")
        shards = counted(len(self.shards) - len(before.shards), "shard")
        rejected = self.rejected_files - before.rejected_files
        return (
            f"{slices} in {shards} added to"
            f" {before.slices:,} ({'; '.join(parts) or 'nothing new'}),"
            f" {abs(rejected):,} {'fewer' if rejected < 0 else 'more'} rejected"
        )

    def split_shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, in order."""
        return tuple(x for x in self.shards if split_of(x.name) == split)


def shard_name(split: str, number: int, count: int, addition: int = 0) -> str:
    """File name of shard `number` of `count`, of the first conversion or of an addition."""
    added = f"add{addition}-" if addition else ""
    return f"{split}-{added}{number:05d}-of-{count:05d}.tfrecord"


def split_of(name: str) -> str:
    """The split in the file name of a shard."""
    return name.split("-", 1)[0]


def file_sha256(path: ShardPath) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with local_copy(path) as local, local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(path: ShardPath, manifest: Manifest) -> None:
    content: dict[str, Any] = {}
    for name, value in asdict(manifest).items():
        content |= value if name == "format" else {name: value}
    content["windows"] = [window._asdict() for window in manifest.format.windows]
    write_text(path, _sealed(content))


def read_manifest(folder: ShardPath) -> Manifest:
    """Reads the manifest of a folder; ManifestError if it is missing, damaged or too old or new."""
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
    """The text of the manifest; its last entry is a checksum of all others."""
    plain = json.dumps(content, indent=2)
    checksum = hashlib.sha256(plain.encode()).hexdigest()
    return json.dumps({**content, "checksum": checksum}, indent=2) + "\n"


def _unsealed(content: dict[str, Any], text: str) -> Manifest:
    del content["checksum"]
    if text != _sealed(content):
        raise ValueError("the checksum is wrong")
    windows = tuple(Window(**window) for window in content.pop("windows"))
    others = {name: content.pop(name) for name in ("neighbours", "size", "encoding")}
    others["masks"] = content.pop("masks", False)  # older releases stored none
    return Manifest(
        **{
            **content,
            "format": ShardFormat(windows, **others),
            "splits": {name: Split(**split) for name, split in content["splits"].items()},
            "shards": tuple(Shard(**shard) for shard in content["shards"]),
            "refused": tuple(map(_rejected_file, content.get("refused", ()))),
        }
    )


def _rejected_file(entry: dict[str, str] | str) -> RejectedFile:
    """Older releases only stored the id of the slice."""
    return RejectedFile("", entry, "") if isinstance(entry, str) else RejectedFile(**entry)

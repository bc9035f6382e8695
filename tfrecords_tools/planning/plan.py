"""Which slice goes into which shard: who is where, in what order, and the fingerprint of it all."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.existing import Standing, say_what_changed, say_what_is_in_doubt
from tfrecords_tools.dataset.keys import key_check, keyed_hash
from tfrecords_tools.dataset.manifest import FORMAT_VERSION, SPLITS, shard_name
from tfrecords_tools.dataset.shard_format import ShardFormat
from tfrecords_tools.errors import InputError
from tfrecords_tools.planning.left_out import (
    DETAILS,
    DUPLICATE_ID,
    NO_SPLIT,
    LeftOut,
    compare,
    left_out,
    set_aside,
    still_left_out,
)
from tfrecords_tools.planning.neighbours import find_neighbours
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.planning.scan import REJECT_COLUMNS
from tfrecords_tools.planning.split import (
    UNLABELLED,
    assign_splits,
    follow_split,
    join_duplicates,
    shard_ids,
)

SHARD_BYTES = 150_000_000  # on disk; files of 100 to 200 MB read well from any storage
COMPRESSION = {"zlib": 4, "png": 4, "raw": 1}  # bytes of pixels to a byte on disk, about
MINIMUM_SHARDS = 16  # of all slices, so that a small training split has 8 or more to shuffle
MINIMUM_SHARD_SIZE = 64  # records

_RECORD = ("neighbours", "slice_id", "study_id", "patient_key", "position_mm")
# What is kept of a slice once its place is known.
_PLANNED = (*SourceFile._fields, *_RECORD, "edge_mm", *LABELS, "split", "order")

log = logging.getLogger(__name__)


class PlanError(InputError):
    """A data set of which nothing can be converted."""


@dataclass(frozen=True)
class Options:
    """What the bytes of the shards depend on, beside the data.

    Attributes:
        format: of the images.
        split: fractions of the patients for train, val and test, which sum to 1; None where a
            file says who is where.
        seed: of split, order and patient keys.
        shard_size: records a shard, at most.
    """

    format: ShardFormat
    split: tuple[float, ...] | None
    seed: int
    shard_size: int


@dataclass(frozen=True, eq=False)
class PlannedShard:
    """One shard to be written.

    Attributes:
        name: of the file.
        slices: a row a record, in order: the fields of its SourceFile; `neighbours`, the files of
            those; `slice_id`, `study_id`, `patient_key` and
            `position_mm` for the record; `edge_mm`; the six labels, missing where unlabelled.
    """

    name: str
    slices: pd.DataFrame

    def records(self) -> list[PlannedSlice]:
        """The rows as what a worker takes."""
        rows = self.slices
        labels = [
            tuple(map(int, x)) if pd.notna(x[0]) else None for x in rows[list(LABELS)].to_numpy()
        ]
        columns = [rows[name].tolist() for name in _RECORD]
        return list(map(PlannedSlice, _files(rows), *columns, labels))


@dataclass(frozen=True, eq=False)
class Plan:
    """The whole conversion, before a pixel is read.

    Attributes:
        fingerprint: of the files' identity, the labels and the options; of an addition, of what
            stands too.
        shards: by split, in order.
        sources: of the files' sizes and times; tells whether a plan that was begun still holds.
        left_out: files, and labels that no file was found for.
        salt: secret that patients are hashed with.
        standing: shards that these are added to.
    """

    fingerprint: str
    sources: str
    shards: tuple[PlannedShard, ...]
    left_out: LeftOut
    salt: bytes = field(repr=False)
    standing: Standing | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to add to what stands, and nothing else to say of it."""
        return (
            self.standing is not None
            and not self.shards
            and self.standing.told(self.left_out.rejects)
            and self.standing.manifest.labels_without_files == self.left_out.labels_without_files
        )


def default_shard_size(shard_format: ShardFormat, slices: int) -> int:
    """Records a shard, for files of some 150 MB; fewer where there would be too few shards."""
    pixels = shard_format.size**2 * shard_format.channels
    by_bytes = SHARD_BYTES * COMPRESSION[shard_format.encoding] // pixels
    by_count = max(slices // MINIMUM_SHARDS, MINIMUM_SHARD_SIZE)
    return max(min(by_bytes, by_count), 1)


def make_plan(
    slices: pd.DataFrame,
    rejects: pd.DataFrame,
    labels: pd.DataFrame | None,
    options: Options,
    key: bytes | None = None,
    given_split: pd.Series | None = None,
    standing: Standing | None = None,
    content_of: Callable[[str], str] | None = None,
) -> Plan:
    """Decides where each slice goes.

    Args:
        slices: from `scan`; patients that share a slice by its `pixel_hash` stay together.
        rejects: from `scan`.
        labels: from `read_labels`; None where no slice is labelled.
        options: what the shards will be.
        key: secret that patients, studies and slices are hashed with. Without one, slice and
            study ids stay as they are, and patient keys are salted with the seed alone: whoever
            has a list of the patients can tell who is who.
        given_split: from `read_split`; taken where `options.split` is None.
        standing: shards to add to. Its slices are not planned again, its patients stay on their
            side, and with them the fractions of `options.split` are to be met.
        content_of: path to the SHA-256 of a file's bytes; asked of slices whose pixels were refused
            before. Those are not planned again if their bytes are the same.

    Raises:
        PlanError: if no slice is left, or `standing` hashes its patients differently.
        SplitError: if `given_split` puts a patient on two sides.
    """
    salt = key or str(options.seed).encode()
    if standing and standing.manifest.key_check != key_check(salt):
        raise PlanError(
            "what stands hashes its patients with another --seed or --patient-key-file; give the"
            " same, or none could be told from each other"
        )
    known = labels.index if labels is not None else pd.Index([], dtype=str)
    stay, doubtful = set_aside(slices, known)
    stay = _with_labels(_with_patients(stay), labels)
    names = _hashed(stay, key, salt)
    sides = pd.Series("", index=stay.index)
    if standing:
        names = compare(names, stay["path"], standing, content_of, salt)
        say_what_changed(standing, stay, names)
        say_what_is_in_doubt(standing, shard_ids(slices["slice_id"], key), names["slice_id"])
        sides = standing.sides(names["patient_key"]).where(stay["labelled"], "")
    stay["split"] = _splits(stay, names, options, given_split, sides, standing)
    unnamed = stay["split"] == ""
    no_split = stay.loc[unnamed, ["path"]].assign(reason=NO_SPLIT, detail=DETAILS[NO_SPLIT])
    rejects = pd.concat([rejects, doubtful[REJECT_COLUMNS], no_split])
    rejects = rejects.sort_values("path", ignore_index=True)
    stay, names = (table[~unnamed].reset_index(drop=True) for table in (stay, names))
    if stay.empty and not standing:
        raise PlanError(
            f"no usable slice: {_counts(rejects)}; check the folder, the label file and the split"
            " file if there is one"
        )
    stay["order"] = keyed_hash(stay["slice_id"], f"order {options.seed}".encode())
    stay = stay.assign(neighbours=_neighbour_files(stay, options.format.neighbours))
    doubled = doubtful[doubtful["reason"] == DUPLICATE_ID]
    labelled = None if labels is None else known
    out = left_out(stay, rejects, doubled, labelled, key, salt)
    if standing:
        out = still_left_out(out, stay, names, labelled, standing, key, salt)
        stay, names = stay[names["new"]], names[names["new"]]
    fingerprint = _fingerprint(stay, rejects, options, key)
    addition = standing.next_addition if standing else 0
    return Plan(
        fingerprint=_joined(standing, stay, fingerprint) if standing else fingerprint,
        sources=_sources(stay),
        shards=_cut(stay.assign(**names)[list(_PLANNED)], options.shard_size, addition),
        left_out=out,
        salt=salt,
        standing=standing,
    )


def _joined(standing: Standing, added: pd.DataFrame, fingerprint: str) -> str:
    """The fingerprint of what stands and of what comes to it, which may be nothing."""
    before = standing.manifest.fingerprint
    return before if added.empty else hashlib.sha256((before + fingerprint).encode()).hexdigest()


def _splits(
    slices: pd.DataFrame,
    names: pd.DataFrame,
    options: Options,
    given: pd.Series | None,
    sides: pd.Series,
    standing: Standing | None,
) -> pd.Series:
    """The split of each slice; "" where a split file does not name it.

    Args:
        slices: that are trusted, with `patient_key` as headers have it.
        names: their ids as they stand in the shards.
        options: with `split`.
        given: from `read_split`.
        sides: of slices whose patient is in a split already, that split; else "".
        standing: shards to add to.
    """
    units = slices
    if slices["pixel_hash"].any():
        units = slices.assign(patient_key=join_duplicates(slices))
        joined = slices["patient_key"].nunique() - units["patient_key"].nunique()
        log.info("identical slices: %d patients stand with another", joined)
    split = pd.Series(UNLABELLED, index=slices.index)
    labelled = slices["labelled"]
    if options.split is None and given is not None:
        split[labelled] = follow_split(units[labelled], given, names[labelled])
        elsewhere = labelled & (sides != "") & (split != "") & (split != sides)
        if elsewhere.any():
            raise PlanError(
                f"the split file moves {slices.loc[elsewhere, 'patient_key'].nunique()} patients"
                " that stand on another side; leave them where they are, or convert anew with"
                " --fresh"
            )
    elif options.split is not None:
        free = labelled & (sides == "")
        drawn = assign_splits(
            units[free], options.split, options.seed, standing.index if standing else None
        )
        split[free] = units.loc[free, "patient_key"].map(drawn)
    return split.where(sides == "", sides)


def _files(slices: pd.DataFrame) -> list[SourceFile]:
    return list(map(SourceFile, *(slices[name].tolist() for name in SourceFile._fields)))


def _neighbour_files(slices: pd.DataFrame, reach: int) -> pd.Series:
    """Of each slice the tuple of its neighbours' files."""
    if not reach:
        return pd.Series([()] * len(slices), index=slices.index)
    files = _files(slices)
    rows = find_neighbours(slices, reach).tolist()
    return pd.Series([tuple(files[x] for x in row) for row in rows], index=slices.index)


def _with_patients(slices: pd.DataFrame) -> pd.DataFrame:
    """Slices that name no patient may all be of one: by study where there is one, else together."""
    named = slices["patient_id"] != ""
    patient = slices["patient_id"].where(named, "study " + slices["study_id"])
    return slices.assign(patient_key=patient)


def _with_labels(slices: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """Adds the six labels, 0, 1 or missing."""
    if labels is None:
        return slices.assign(**{label: pd.array([pd.NA] * len(slices), "Int8") for label in LABELS})
    joined = slices.join(labels.astype("Int8"), on="slice_id")
    joined.loc[~joined["labelled"], list(LABELS)] = pd.NA
    return joined


def _fingerprint(
    slices: pd.DataFrame, rejects: pd.DataFrame, options: Options, key: bytes | None
) -> str:
    """SHA-256 over all that the shards follow from; where the files lie is no part of it."""
    settings = {
        **asdict(options.format),
        "split": options.split,
        "seed": options.seed,
        "shard_size": options.shard_size,
        "format_version": FORMAT_VERSION,
        "rejected": rejects["reason"].value_counts().to_dict(),
        "key": hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest() if key else None,
    }
    identity = ["slice_id", "study_id", "patient_key", "bytes", "header_hash", "split", *LABELS]
    table = slices[identity].sort_values("slice_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256((json.dumps(settings, sort_keys=True) + table).encode()).hexdigest()


def _sources(slices: pd.DataFrame) -> str:
    """SHA-256 over where the files lie, their sizes and when they were written."""
    table = slices[["path", "bytes", "version"]].sort_values("path").to_csv(index=False)
    return hashlib.sha256(table.encode(errors="surrogateescape")).hexdigest()


def _hashed(slices: pd.DataFrame, key: bytes | None, salt: bytes) -> pd.DataFrame:
    """The names that stand in the shards: of the patient a hash, with a key of all three."""
    # Clinical UIDs tell the archive's users who it is.
    names = slices[["slice_id", "study_id"]].apply(shard_ids, key=key)
    return names.assign(patient_key=keyed_hash(slices["patient_key"], salt))


def _cut(slices: pd.DataFrame, shard_size: int, addition: int) -> tuple[PlannedShard, ...]:
    """Shards a split, each a random sample of it, so that a small buffer can shuffle them."""
    shards = []
    for split in SPLITS:
        members = slices[slices["split"] == split].sort_values("order")
        members = members.drop(columns=["split", "order"])
        count = -(-len(members) // shard_size)
        for number in range(count):
            start, stop = (len(members) * i // count for i in (number, number + 1))
            rows = members.iloc[start:stop].reset_index(drop=True)
            shards.append(PlannedShard(shard_name(split, number, count, addition), rows))
    return tuple(shards)


def _counts(rejects: pd.DataFrame) -> str:
    counts = rejects["reason"].value_counts()
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())

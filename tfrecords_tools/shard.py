"""One shard: its slices read, windowed and encoded, by one process from end to end.

No pixel crosses a border between processes, and a process that writes shards needs neither pandas
nor TensorFlow.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords_tools.atomic import whole_file, write_text
from tfrecords_tools.dicom import SliceFormat, read_hu
from tfrecords_tools.elements import ChangedHeaderError, HeaderMark
from tfrecords_tools.errors import InputError
from tfrecords_tools.header import RefusedSlice
from tfrecords_tools.manifest import Shard
from tfrecords_tools.schema import Example, encode_example
from tfrecords_tools.source_files import open_source
from tfrecords_tools.storage import ShardPath
from tfrecords_tools.tfrecord import write_records
from tfrecords_tools.windows import Window, stack_slices, window_slice

WORK = ".work"  # what an unfinished conversion needs to go on
SECONDS_A_FILE = 60  # a thousand times what the slowest codec takes


class ChangedSourceError(InputError):
    """A file that is not as it was when the conversion was planned."""


class DamagedWorkError(InputError):
    """A note of an unfinished conversion that cannot be read."""


class SourceFile(NamedTuple):
    """A file as it was when its header was read.

    Attributes:
        path: relative to the source.
        bytes: size of the file.
        version: tells whether it was written anew, as `open_source` has it.
        header_bytes: of what stands before the pixels.
        header_hash: of that.
        format: how its pixels become HU.
    """

    path: str
    bytes: int
    version: int
    header_bytes: int
    header_hash: int
    format: SliceFormat


class PlannedSlice(NamedTuple):
    """A record to be.

    Attributes:
        file: that holds the slice.
        neighbours: files of the slices below and above, from the lowest to the highest, this one
            left out; the slice's own file where there is none.
        slice_id: for the record.
        study_id: for the record.
        patient_key: for the record.
        position_mm: for the record.
        label: 0 or 1 for each of LABELS, or None where unlabelled.
    """

    file: SourceFile
    neighbours: tuple[SourceFile, ...]
    slice_id: str
    study_id: str
    patient_key: str
    position_mm: float
    label: tuple[int, ...] | None


@dataclass(frozen=True)
class Job:
    """From where, and how.

    Attributes:
        root: that the paths of files are relative to.
        size: edge of a slice in pixels.
        windows: the channels.
        encoding: of the images.
    """

    root: str
    size: int
    windows: tuple[Window, ...]
    encoding: str


@dataclass(frozen=True)
class Written:
    """What became of a shard.

    Attributes:
        shard: as it stands in the manifest.
        kept: ids of its slices.
        rejects: path, reason and detail of the files refused by their pixels.
    """

    shard: Shard
    kept: list[str]
    rejects: list[tuple[str, str, str]]


def write_shard(
    job: Job,
    folder: Path,
    name: str,
    slices: Sequence[PlannedSlice],
    given_up: Mapping[str, tuple[str, str]],
) -> None:
    """Writes what became of the slices of a shard and, last, the shard under its name.

    Args:
        job: what all shards have in common.
        folder: of the shards on this machine, from where they may go to an object store.
        name: of the file.
        slices: in order.
        given_up: path to reason and detail of the files that are not to be touched.

    Raises:
        ChangedSourceError: if a file is not as it was planned.
        OSError: if a file cannot be read or written.
        SourceError: if an object store does not give one.
    """
    kept: list[str] = []
    rejects: list[tuple[str, str, str]] = []

    def records() -> Iterator[bytes]:
        for planned in slices:
            try:
                example = _example(job, planned, given_up, at_hand)
            except RefusedSlice as refusal:
                rejects.append((planned.file.path, refusal.reason, refusal.detail))
                continue
            kept.append(planned.slice_id)
            yield encode_example(example, job.encoding)

    with _at_hand(folder, name) as at_hand, whole_file(folder / name) as temporary:
        digest = write_records(temporary, records())
        written = Written(Shard(name, len(kept), digest), kept, rejects)
        write_text(result_file(folder, name), json.dumps(asdict(written)))


def result_file(out: ShardPath, name: str) -> ShardPath:
    """Where it stands what became of a shard."""
    return out / WORK / f"{name}.json"


def read_work(path: ShardPath) -> Any:
    """What stands in a JSON file of WORK.

    Raises:
        DamagedWorkError: if it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        folder = path.parent.parent
        raise DamagedWorkError(
            f"{path}: damaged; remove {folder}, and give the command again"
        ) from error


def read_result(out: ShardPath, name: str) -> Written:
    """What became of a shard."""
    content = read_work(result_file(out, name))
    return Written(**{**content, "shard": Shard(**content["shard"])})


def written_names(out: ShardPath) -> set[str]:
    """The shards that stand, and of which it is known what became of their slices."""
    results = {path.name for path in (out / WORK).iterdir()}
    return {path.name for path in out.iterdir() if f"{path.name}.json" in results}


def file_at_hand(out: Path, name: str) -> str | None:
    """The file that a shard was reading when its process died."""
    try:
        noted = _at_hand_file(out, name).read_bytes()
    except FileNotFoundError:
        return None
    return os.fsdecode(noted.split(b"\0")[0]) or None


def _at_hand_file(out: Path, name: str) -> Path:
    return out / WORK / f"{name}.reading"


@contextmanager
def _at_hand(out: Path, name: str) -> Iterator[Callable[[str], None]]:
    """Gives what notes the file at hand, and ends this process where one takes too long.

    A codec in native code may crash or hang, and cannot be interrupted otherwise; the parent
    reads the note.
    """
    path = _at_hand_file(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as notes:

        def note(file: str) -> None:
            notes.seek(0)
            notes.write(os.fsencode(file) + b"\0")
            _end_in(SECONDS_A_FILE)

        try:
            yield note
        finally:
            _end_in(0)
    path.unlink()


def _end_in(seconds: float) -> None:
    """Lets the system end this process, whatever it does; 0 takes that back."""
    if hasattr(signal, "setitimer"):  # Windows has none
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _example(
    job: Job,
    planned: PlannedSlice,
    given_up: Mapping[str, tuple[str, str]],
    at_hand: Callable[[str], None],
) -> Example:
    def windowed(file: SourceFile) -> np.ndarray:
        if file.path in given_up:
            raise RefusedSlice(*given_up[file.path])
        at_hand(file.path)
        return window_slice(_read(job.root, file), job.size, job.windows)

    return Example(
        image=_image(planned, windowed),
        label=planned.label,
        slice_id=planned.slice_id,
        study_id=planned.study_id,
        patient_key=planned.patient_key,
        position_mm=planned.position_mm,
    )


def _image(planned: PlannedSlice, windowed: Callable[[SourceFile], np.ndarray]) -> np.ndarray:
    """The channels: for each window the slices from the lowest to the highest."""
    own = windowed(planned.file)
    if not planned.neighbours:
        return own
    stack = []
    for file in planned.neighbours:
        try:
            stack.append(windowed(file) if file != planned.file else own)
        except RefusedSlice:
            stack.append(own)
    stack.insert(len(stack) // 2, own)
    return stack_slices(stack)


def _read(root: str, file: SourceFile) -> np.ndarray:
    """HU, float32, shape (rows, columns)."""
    path = os.path.join(root, file.path)  # noqa: PTH118 - it may be a URI
    changed = ChangedSourceError(
        f"{path}: changed while it was being converted; give the command again"
    )
    with open_source(path, block=file.bytes) as (stream, size, version):
        if (size, version) != (file.bytes, file.version):
            raise changed
        try:
            return read_hu(stream, file.format, HeaderMark(file.header_bytes, file.header_hash))
        except ChangedHeaderError:
            raise changed from None

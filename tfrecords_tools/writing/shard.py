"""One shard: its slices read, windowed and encoded, by one process from end to end.

No pixel crosses a border between processes, and a process that writes shards needs neither pandas
nor TensorFlow.
"""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tfrecords_tools.dataset.manifest import Shard
from tfrecords_tools.dataset.shard_format import ShardFormat
from tfrecords_tools.dataset.work import WORK, read_work
from tfrecords_tools.dicom.parsing import MAX_BYTES, ChangedHeaderError, HeaderMark
from tfrecords_tools.dicom.reader import read_hu
from tfrecords_tools.dicom.refusal import RefusedSlice
from tfrecords_tools.errors import InputError
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.records.schema import Example, encode_example
from tfrecords_tools.records.tfrecord import write_records
from tfrecords_tools.storage.atomic import whole_file, write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.storage.source_files import open_source
from tfrecords_tools.windows import stack_slices, window_slice
from tfrecords_tools.writing.watchdog import Decoding, decoding_watch


class ChangedSourceError(InputError):
    """A file that is not as it was when the conversion was planned."""


@dataclass(frozen=True)
class Job:
    """From where, and how.

    Attributes:
        root: that the paths of files are relative to.
        format: of the images.
    """

    root: str
    format: ShardFormat


@dataclass(frozen=True)
class Written:
    """What became of a shard.

    Attributes:
        shard: as it stands in the manifest.
        kept: ids of its slices.
        rejects: path, reason and detail of the files refused by their pixels.
        contents: path of each of those to the SHA-256 of its bytes, hexadecimal.
    """

    shard: Shard
    kept: list[str]
    rejects: list[tuple[str, str, str]]
    contents: dict[str, str] = field(default_factory=dict)


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
    contents: dict[str, str] = {}

    def records() -> Iterator[bytes]:
        for planned in slices:
            try:
                example = _example(job, planned, given_up, decoding)
            except RefusedSlice as refusal:
                rejects.append((planned.file.path, refusal.reason, refusal.detail))
                contents[planned.file.path] = file_content(job.root, planned.file.path)
                continue
            with decoding(planned.file.path):
                record = encode_example(example, job.format.encoding)
            kept.append(planned.slice_id)
            yield record

    note = decoding_note(folder, name)
    with decoding_watch(note) as decoding, whole_file(folder / name) as temporary:
        digest = write_records(temporary, records())
        written = Written(Shard(name, len(kept), digest), kept, rejects, contents)
        write_text(result_file(folder, name), json.dumps(asdict(written)))


def result_file(out: ShardPath, name: str) -> ShardPath:
    """Where it stands what became of a shard."""
    return out / WORK / f"{name}.json"


def read_result(out: ShardPath, name: str) -> Written:
    """What became of a shard."""
    content = read_work(result_file(out, name))
    return Written(**{**content, "shard": Shard(**content["shard"])})


def written_names(out: ShardPath) -> set[str]:
    """The shards that stand, and of which it is known what became of their slices."""
    results = {path.name for path in (out / WORK).iterdir()}
    return {path.name for path in out.iterdir() if f"{path.name}.json" in results}


def decoding_note(folder: Path, name: str) -> Path:
    """Where a worker notes which file of a shard it decodes."""
    return folder / WORK / f"{name}.decoding"


def _example(
    job: Job,
    planned: PlannedSlice,
    given_up: Mapping[str, tuple[str, str]],
    decoding: Decoding,
) -> Example:
    def windowed(file: SourceFile) -> np.ndarray:
        if file.path in given_up:
            raise RefusedSlice(*given_up[file.path])
        content = _read_bytes(job.root, file)
        with decoding(file.path):
            return window_slice(
                _decode(job.root, file, content), job.format.size, job.format.windows
            )

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


def _read_bytes(root: str, file: SourceFile) -> bytes:
    """Reads the whole file, however long that takes; at most MAX_BYTES, as it passed the scan.

    Raises:
        ChangedSourceError: if its size or version is not as it was planned.
        OSError: if it cannot be read.
        SourceError: if an object store does not give it.
    """
    path = _whole_path(root, file.path)
    with open_source(path, block=file.bytes) as (stream, size, version):
        if (size, version) != (file.bytes, file.version):
            raise _changed(path)
        try:
            content = stream.read(file.bytes)
        except OSError as error:  # a read that fails does not know its file
            reason = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, reason, path) from error
    if len(content) != file.bytes:
        raise _changed(path)
    return content


def file_content(root: str, path: str) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: if it cannot be read.
        SourceError: if an object store does not give it.
    """
    with open_source(_whole_path(root, path)) as (stream, _size, _version):
        return hashlib.sha256(stream.read(MAX_BYTES)).hexdigest()


def _decode(root: str, file: SourceFile, content: bytes) -> np.ndarray:
    """HU, float32, shape (rows, columns), of a file's bytes."""
    mark = HeaderMark(file.header_bytes, file.header_hash)
    try:
        return read_hu(io.BytesIO(content), file.format, mark)
    except ChangedHeaderError:
        raise _changed(_whole_path(root, file.path)) from None


def _whole_path(root: str, path: str) -> str:
    return os.path.join(root, path)  # noqa: PTH118 - it may be a URI


def _changed(path: str) -> ChangedSourceError:
    return ChangedSourceError(
        f"{path}: changed while it was being converted; give the command again"
    )

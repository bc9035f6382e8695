"""One shard: its slices are read, windowed, encoded and written by one process.

No pixels are sent between processes, and a process that writes shards loads neither pandas nor
TensorFlow.
"""

import errno
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tfrecords_tools.dataset.manifest import Shard, ShardFormat
from tfrecords_tools.dataset.work import WORK, read_work
from tfrecords_tools.dicom.parsing import ChangedHeaderError, HeaderMark
from tfrecords_tools.dicom.reader import read_hu
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.errors import ConvertError, InputError
from tfrecords_tools.masks import kinds_in, read_mask, resample_mask
from tfrecords_tools.planning.file_scan import absolute_path, content_sha256
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.records.schema import Example, encode_example
from tfrecords_tools.records.tfrecord import RecordWriter
from tfrecords_tools.storage.atomic import whole_file, write_text
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.storage.source_files import open_source
from tfrecords_tools.windows import pad_square, resize_area, stack_slices, window_slice
from tfrecords_tools.writing.watchdog import Watchdog, watchdog


@dataclass(frozen=True)
class Job:
    """What all shards of a conversion have in common."""

    root: str  # folder or bucket that the paths of files are relative to
    format: ShardFormat
    masks: Path | None = None  # folder of the masks


@dataclass(frozen=True)
class ShardResult:
    """Which slices a shard contains, and which were rejected."""

    shard: Shard
    kept: list[str]  # ids of its slices
    rejects: list[tuple[str, str, str]]  # path, reason and detail of rejected files
    # SHA-256 of each of those files by path, hexadecimal; empty in results of older releases
    contents: dict[str, str] = field(default_factory=dict)


def write_shard(
    job: Job,
    folder: Path,
    name: str,
    slices: Sequence[PlannedSlice],
    given_up: Mapping[str, tuple[str, str]],
) -> None:
    """Writes the result of a shard and, last, the shard under its name.

    The folder is local and may be uploaded later. `given_up` has reason and detail of files that
    must not be decoded, by path. Raises ConvertError if a file is not as it was planned.
    """
    kept, rejects, contents = [], [], {}
    note = decoding_note(folder, name)
    with watchdog(note) as watch, whole_file(folder / name) as temporary:
        reader = _SliceReader(job, given_up, watch)
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            for planned in slices:
                try:
                    record = reader.record(planned)
                except RejectedSlice as rejection:
                    path = planned.file.path
                    rejects.append((path, rejection.reason, rejection.detail))
                    contents[path] = content_sha256(job.root, path)
                else:
                    writer.write(record)
                    kept.append(planned.slice_id)
        result = ShardResult(Shard(name, len(kept), writer.sha256), kept, rejects, contents)
        write_text(result_file(folder, name), json.dumps(asdict(result)))


def result_file(out: ShardPath, name: str) -> ShardPath:
    """The file with the result of a shard."""
    return out / WORK / f"{name}.json"


def read_result(out: ShardPath, name: str) -> ShardResult:
    content = read_work(result_file(out, name))
    return ShardResult(**{**content, "shard": Shard(**content["shard"])})


def written_names(out: ShardPath) -> set[str]:
    """The shards that are written, result included."""
    results = {path.name for path in (out / WORK).iterdir()}
    return {path.name for path in out.iterdir() if f"{path.name}.json" in results}


def decoding_note(folder: Path, name: str) -> Path:
    """The file in which a worker notes what it is decoding for a shard."""
    return folder / WORK / f"{name}.decoding"


@dataclass(frozen=True)
class _SliceReader:
    """Turns slices into records."""

    job: Job
    given_up: Mapping[str, tuple[str, str]]  # files that must not be decoded
    watch: Watchdog  # watches the decoders

    def record(self, planned: PlannedSlice) -> bytes:
        example = Example(
            image=self._image(planned),
            label=planned.label,
            slice_id=planned.slice_id,
            study_id=planned.study_id,
            patient_key=planned.patient_key,
            position_mm=planned.position_mm,
            mask=self._mask(planned),
        )
        with self.watch.decoding(planned.file.path):
            return encode_example(example, self.job.format.encoding)

    def _image(self, planned: PlannedSlice) -> np.ndarray:
        """The channels: for each window, the slices from the lowest to the highest.

        A neighbour whose pixels are rejected is replaced by the slice itself.
        """
        own = self._windowed(planned.file)
        if not planned.neighbours:
            return own
        stack = []
        for file in planned.neighbours:
            try:
                stack.append(own if file == planned.file else self._windowed(file))
            except RejectedSlice:
                stack.append(own)
        stack.insert(len(stack) // 2, own)
        return stack_slices(stack)

    def _mask(self, planned: PlannedSlice) -> np.ndarray | None:
        """The mask at the size of the shards, uint8 (size, size); None without a hemorrhage."""
        if self.job.masks is None or not planned.mask:
            return None
        form, size = planned.file.format, self.job.format.size
        try:
            mask = read_mask(self.job.masks / planned.mask)
        except (InputError, OSError) as error:
            raise RejectedSlice("wrong_mask", str(error)) from error
        _check_mask(mask, planned)
        if not mask.any():
            return None
        return resample_mask(mask, lambda x: resize_area(pad_square(form.view.apply(x), 0), size))

    def _windowed(self, file: SourceFile) -> np.ndarray:
        """A slice without neighbours; uint8, shape (size, size, windows)."""
        if file.path in self.given_up:
            raise RejectedSlice(*self.given_up[file.path])
        content = _read_bytes(self.job.root, file)
        with self.watch.decoding(file.path):
            hu = file.format.view.apply(_decode(self.job.root, file, content))
            return window_slice(hu, self.job.format.size, self.job.format.windows)


def _check_mask(mask: np.ndarray, planned: PlannedSlice) -> None:
    expected = planned.file.format.pixels.shape
    if mask.shape != expected:
        given, needed = (" x ".join(map(str, shape)) for shape in (mask.shape, expected))
        raise RejectedSlice("wrong_mask", f"{planned.mask} has {given} pixels, its slice {needed}")
    if planned.label is not None and kinds_in(mask) != planned.label[:-1]:
        raise RejectedSlice("wrong_mask", f"{planned.mask} shows other subtypes than the labels")


def _read_bytes(root: str, file: SourceFile) -> bytes:
    """Reads a whole file, however long that takes; at most MAX_BYTES, as it passed the scan."""
    path = absolute_path(root, file.path)
    with open_source(path, block=file.bytes) as (stream, size, version):
        if (size, version) != (file.bytes, file.version):
            raise _changed(path)
        try:
            content = stream.read(file.bytes)
        except OSError as error:  # errors of `read` do not name the file
            reason = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, reason, path) from error
    if len(content) != file.bytes:
        raise _changed(path)
    return content


def _decode(root: str, file: SourceFile, content: bytes) -> np.ndarray:
    """The HU of a file; float32, shape (rows, columns)."""
    mark = HeaderMark(file.header_bytes, file.header_hash)
    try:
        return read_hu(io.BytesIO(content), file.format, mark)
    except ChangedHeaderError:
        raise _changed(absolute_path(root, file.path)) from None


def _changed(path: str) -> ConvertError:
    return ConvertError(f"{path}: changed while it was being converted; give the command again")

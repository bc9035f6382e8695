"""The plan carried out on this machine: each process writes whole shards by itself."""

import json
import logging
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

import pandas as pd
from pebble import ProcessExpired, ProcessPool

from tfrecords_tools.atomic import write_text
from tfrecords_tools.bleedings import LABELS
from tfrecords_tools.claim import begin, check_apart, check_free, clear, finished, only_writer
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.header import DECODER_CRASH
from tfrecords_tools.labels import read_labels
from tfrecords_tools.manifest import (
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    REJECTS_NAME,
    SPLITS,
    Manifest,
    Split,
    file_sha256,
    split_of,
    write_manifest,
)
from tfrecords_tools.plan import Options, Plan, PlannedShard, default_shard_size, make_plan
from tfrecords_tools.progress import progress
from tfrecords_tools.rejects import path_cell
from tfrecords_tools.scan import REJECT_COLUMNS, find_source, scan
from tfrecords_tools.schema import check_encoding
from tfrecords_tools.shard import (
    SECONDS_A_FILE,
    WORK,
    Job,
    Written,
    file_at_hand,
    read_result,
    read_work,
    write_shard,
)
from tfrecords_tools.split import parse_split, read_split
from tfrecords_tools.storage import S3Path, ShardPath, StoreError, local_folder, remove_folder
from tfrecords_tools.windows import parse_windows
from tfrecords_tools.workers import uninterrupted, worker_pool

GIVEN_UP_NAME = "given_up.json"
INDEX_COLUMNS = [
    *("slice_id", "study_id", "patient_key", "split", "shard"),
    *LABELS,
    *("z_mm", "pixel_mm"),
]
DEATHS_A_FILE = 2  # the first may have been chance, or another program's hunger for memory
UNEXPLAINED_DEATHS = 8  # something else is wrong than a file

log = logging.getLogger(__name__)


class ConvertError(InputError):
    """A conversion that cannot go on."""


def convert(
    source: Path,
    out: ShardPath,
    *,
    size: int = 512,
    windows: str = "brain,subdural,bone",
    neighbours: int = 0,
    split: str = "0.8,0.1,0.1",
    group_duplicates: bool = False,
    seed: int = 0,
    workers: int | None = None,
    encoding: str = "zlib",
    shard_size: int | None = None,
    unlabelled: bool = False,
    patient_key_file: Path | None = None,
    fresh: bool = False,
) -> Manifest:
    """Writes the shards of a folder of DICOM files; goes on where it was interrupted.

    The same files and options give the same bytes, whatever the number of workers.

    Args:
        source: as `find_source` takes it.
        out: a new folder, or one that this very conversion has begun; on an object store too.
        size: edge of a slice in pixels.
        windows: as `parse_windows` takes them.
        neighbours: slices below and above that stand beside each one, as further channels.
        split: as `parse_split` takes it, or the name of a CSV file as `read_split` takes it.
        group_duplicates: keep patients that share a slice, pixel for pixel, in one split.
        seed: of split, order and patient keys.
        workers: processes; None means one a core.
        encoding: of the images, one of ENCODINGS.
        shard_size: records a shard, at most; None chooses.
        unlabelled: leave labels aside and write one split, `unlabelled`.
        patient_key_file: its bytes are the key of `make_plan`.
        fresh: remove what another conversion has left in `out`.

    Raises:
        InputError: one line, if options, source or `out` are not as they must be.
        OSError: if a file cannot be read or written.
    """
    parsed = parse_windows(windows)
    channels = len(parsed) * (1 + 2 * neighbours)
    check_encoding(encoding, channels)
    given = read_split(Path(split)) if split.endswith((".csv", ".csv.gz")) else None
    fractions = parse_split(split) if given is None else None
    key = _key(patient_key_file)
    workers = workers or os.cpu_count() or 1
    check_free(out)
    found = find_source(source, unlabelled=unlabelled)
    check_apart(out, found)
    labels = read_labels(found.label_file) if found.label_file else None
    with local_folder(out) as local, worker_pool(workers) as pool:
        slices, rejects = scan(found, pool, hash_pixels=group_duplicates)
        shard_size = shard_size or default_shard_size(size, channels, encoding, len(slices))
        options = Options(size, parsed, neighbours, fractions, seed, encoding, shard_size)
        plan = make_plan(slices, rejects, labels, options, key, given)
        del slices, labels  # of a million slices, they are much
        with only_writer(out):
            if fresh:
                clear(out, plan)
            manifest = finished(out, plan)
            if manifest is None:
                begin(out, plan)
                job = Job(source, local, size, parsed, encoding)
                _write_shards(pool, job, out, plan, 2 * workers)
                manifest = _finish(out, plan, options)
            remove_folder(out / WORK)
    return manifest


def _key(path: Path | None) -> bytes | None:
    if path is None:
        log.info(
            "patient ids are hashed without a secret, so a list of the patients tells who is who;"
            " enough for public data, give --patient-key-file for others"
        )
        return None
    key = path.read_bytes()
    if not key:
        raise UsageError(f"{path}: is empty, so no secret; write some random bytes to it")
    return key


class _Deaths:
    """The deaths of workers, and the files that are given up for them."""

    def __init__(self, job: Job, out: ShardPath) -> None:
        self._job, self._out, self._file = job, out, out / WORK / GIVEN_UP_NAME
        self._unexplained: Counter[str | None] = Counter()
        known = read_work(self._file) if self._file.is_file() else {}
        self.given_up: dict[str, tuple[str, str]] = {x: tuple(why) for x, why in known.items()}

    def note(self, shard: PlannedShard, death: ProcessExpired) -> None:
        """Gives a file up at which workers died again and again.

        Raises:
            ConvertError: if they die whatever the file.
        """
        path = file_at_hand(self._job.out, shard.name)
        self._unexplained[path] += 1
        if path is not None and self._unexplained[path] == DEATHS_A_FILE:
            del self._unexplained[path]
            detail = f"{DEATHS_A_FILE} processes that read it {_how_it_ended(death.exitcode)}"
            log.warning("%s: %s; it is left out", path, detail)
            self.given_up[path] = (DECODER_CRASH, detail)
            write_text(self._file, json.dumps(self.given_up))
        elif self._unexplained.total() >= UNEXPLAINED_DEATHS:
            raise ConvertError(
                f"{self._out}: {UNEXPLAINED_DEATHS} workers died, each at another file, so for want"
                " of memory or by another program; the same command goes on, with fewer --workers"
                " if memory is short"
            )


def _how_it_ended(exit_code: int) -> str:
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    return f"took more than {SECONDS_A_FILE} s" if name == "SIGALRM" else f"were ended by {name}"


def _write_shards(pool: ProcessPool, job: Job, out: ShardPath, plan: Plan, queue: int) -> None:
    """Writes the shards that are not there yet."""
    written = _written_names(out)
    waiting = [x for x in plan.shards if x.name not in written]
    if len(waiting) < len(plan.shards):
        log.info("%d of %d shards stand already", len(plan.shards) - len(waiting), len(plan.shards))
    total = sum(len(shard.slices) for shard in waiting)
    with progress(total=total, desc="convert", unit="slice") as bar:
        try:
            for shard in _written_shards(pool, job, out, deque(waiting), queue):
                bar.update(len(shard.slices))
        except (OSError, StoreError) as error:
            raise ConvertError(f"{error}; once that is mended, the same command goes on") from error


def _written_shards(
    pool: ProcessPool, job: Job, out: ShardPath, waiting: deque[PlannedShard], queue: int
) -> Iterator[PlannedShard]:
    """Each shard as soon as it stands; one whose process died is begun again."""
    deaths = _Deaths(job, out)
    running: dict[Future, PlannedShard] = {}
    while waiting or running:
        while waiting and len(running) < queue:
            shard = waiting.popleft()
            arguments = (job, shard.name, shard.records(), dict(deaths.given_up))
            with uninterrupted():
                running[pool.schedule(write_shard, args=arguments)] = shard
        for task in wait(running, return_when=FIRST_COMPLETED).done:
            shard = running.pop(task)
            try:
                task.result()
            except ProcessExpired as death:
                deaths.note(shard, death)
                waiting.append(shard)
            else:
                _deliver(job.out, out, shard.name)
                yield shard


def _deliver(local: Path, out: ShardPath, name: str) -> None:
    """Sends what became of the slices of a shard to the object store and, last, the shard."""
    if isinstance(out, S3Path):
        for path in (local / WORK / f"{name}.json", local / name):
            (out / path.relative_to(local)).upload(path)
            path.unlink()


def _written_names(out: ShardPath) -> set[str]:
    """The shards that stand, and of which it is known what became of their slices."""
    results = {path.name for path in (out / WORK).iterdir()}
    return {path.name for path in out.iterdir() if f"{path.name}.json" in results}


def _finish(out: ShardPath, plan: Plan, options: Options) -> Manifest:
    """Writes index and rejects and, last, the manifest."""
    written = [read_result(out, planned.name) for planned in plan.shards]
    index = _index(plan, written, options.size)
    refused = [pd.DataFrame(x.rejects, columns=REJECT_COLUMNS) for x in written]
    rejects = pd.concat([plan.rejects, *refused]).sort_values("path")
    rejects["path"] = rejects["path"].map(path_cell)
    reasons = dict(sorted(Counter(rejects["reason"]).items()))
    if index.empty:
        raise ConvertError(f"{out}: no slice could be read: {reasons}; check the DICOM files")
    tables = {
        INDEX_NAME: index.to_csv(index=False, float_format="%.3f", lineterminator="\n"),
        REJECTS_NAME: rejects.to_csv(index=False, lineterminator="\n"),
    }
    for name, text in tables.items():
        write_text(out / name, text)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        fingerprint=plan.fingerprint,
        windows=options.windows,
        neighbours=options.neighbours,
        size=options.size,
        encoding=options.encoding,
        splits={x: _count(index[index["split"] == x]) for x in SPLITS if x in set(index["split"])},
        shards=tuple(x.shard for x in written),
        rejected=reasons,
        labels_without_files=plan.labels_without_files,
        pixel_mm=_median(index["pixel_mm"]),
        tables={name: file_sha256(out / name) for name in tables},
    )
    write_manifest(out / MANIFEST_NAME, manifest)
    return manifest


def _index(plan: Plan, written: list[Written], size: int) -> pd.DataFrame:
    """A row a slice that was written, by slice id; lengths in mm to three places."""
    parts = []
    for planned, result in zip(plan.shards, written, strict=True):
        kept = planned.slices[planned.slices["slice_id"].isin(result.kept)]
        parts.append(kept.assign(split=split_of(planned.name), shard=planned.name))
    table = pd.concat(parts).rename(columns={"position_mm": "z_mm"})
    table["pixel_mm"] = (table["edge_mm"] / size).round(3)
    return table[INDEX_COLUMNS].sort_values("slice_id")


def _median(lengths: pd.Series) -> float | None:
    known = lengths.dropna()
    return None if known.empty else float(known.median())


def _count(rows: pd.DataFrame) -> Split:
    labelled = rows[rows["any"].notna()]
    positives = {label: int(labelled[label].sum()) for label in LABELS} if len(labelled) else {}
    return Split(len(rows), rows["patient_key"].nunique(), positives)

"""The whole conversion: what there is, which slice goes where, and the shards."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from tfrecords_tools.dataset.existing import read_standing
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, Manifest
from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.engines.local import local_engine
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.plan import Options, Plan, default_shard_size, make_plan
from tfrecords_tools.planning.scan import Source, find_source, listed_source, scan
from tfrecords_tools.planning.split import parse_split, read_split
from tfrecords_tools.progress import progress
from tfrecords_tools.records.schema import check_encoding
from tfrecords_tools.storage.shard_path import ShardPath, remove_folder
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.windows import Window, parse_windows
from tfrecords_tools.writing.index import finish
from tfrecords_tools.writing.ownership import (
    begin,
    begin_addition,
    check_apart,
    check_free,
    clear,
    finished,
    only_writer,
)
from tfrecords_tools.writing.shard import Job, file_content, written_names

LOCAL = "local"

log = logging.getLogger(__name__)


# Else, where pyarrow is installed, pandas holds strings by it, and names of files may be no UTF-8.
@pd.option_context("mode.string_storage", "python")
def convert(
    source: Path | Iterable[str],
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
    labels: Path | None = None,
    unlabelled: bool = False,
    patient_key_file: Path | None = None,
    fresh: bool = False,
    add: bool = False,
    runner: str = LOCAL,
    pipeline_options: Sequence[str] = (),
) -> Manifest:
    """Writes the shards of DICOM files; goes on where it was interrupted.

    The same files and options give the same bytes, whatever the runner and the number of workers.

    Args:
        source: a folder, as `find_source` takes it, or paths, as `listed_source` takes them.
        out: a new folder, or one that this very conversion has begun; on an object store too.
        size: edge of a slice in pixels.
        windows: as `parse_windows` takes them.
        neighbours: slices below and above that stand beside each one, as further channels.
        split: as `parse_split` takes it, or the name of a CSV file as `read_split` takes it.
        group_duplicates: keep patients that share a slice, pixel for pixel, in one split.
        seed: of split, order and patient keys.
        workers: processes of this machine; None means one a core.
        encoding: of the images, one of ENCODINGS.
        shard_size: records a shard, at most; None chooses.
        labels: label file of all files of the source; None where the RSNA layout has one.
        unlabelled: leave labels aside and write one split, `unlabelled`.
        patient_key_file: its bytes are the key of `make_plan`.
        fresh: remove what another conversion has left in `out`.
        add: add to the shards that stand in `out` what they do not hold yet.
        runner: LOCAL, or `beam`.
        pipeline_options: of Beam.

    Raises:
        InputError: one line, if options, source or `out` are not as they must be.
        OSError: if a file cannot be read or written.
    """
    if add and fresh:
        raise UsageError("--add and --fresh exclude each other; give one")
    if add and group_duplicates:
        raise UsageError(
            "--add cannot go with --group-duplicates: what stands does not tell its pixels' hashes"
        )
    parsed = parse_windows(windows)
    channels = len(parsed) * (1 + 2 * neighbours)
    check_encoding(encoding, channels)
    given = read_split(Path(split)) if split.endswith((".csv", ".csv.gz")) else None
    fractions = parse_split(split) if given is None else None
    key = _key(patient_key_file)
    check_free(out)
    found = _source(source, labels, unlabelled)
    check_apart(out, found)
    table = read_labels(found.label_file) if found.label_file else None
    with only_writer(out), _engine(out, runner, workers, pipeline_options) as engine:
        standing = read_standing(out) if add and (out / MANIFEST_NAME).is_file() else None
        if standing:
            _check_alike(out, standing.manifest, size, parsed, neighbours, encoding)
        scanned = scan(found, engine.scan, hash_pixels=group_duplicates)
        many = len(scanned.slices)
        shard_size = shard_size or default_shard_size(size, channels, encoding, many)
        options = Options(size, parsed, neighbours, fractions, seed, encoding, shard_size)
        content_of = partial(file_content, scanned.root)
        plan = make_plan(
            *(scanned.slices, scanned.rejects, table, options, key, given, standing, content_of)
        )
        job = Job(scanned.root, size, parsed, encoding)
        del scanned, table  # of a million slices, they are much
        manifest = _carry_out(out, plan, options, job, engine, fresh=fresh)
        remove_folder(out / WORK)
    return manifest


def _source(source: Path | Iterable[str], labels: Path | None, unlabelled: bool) -> Source:
    if labels is not None and unlabelled:
        raise UsageError("--labels and --unlabelled exclude each other; give one")
    if isinstance(source, Path):
        return find_source(source, label_file=labels, unlabelled=unlabelled)
    if labels is None and not unlabelled:
        raise UsageError("a list of files says nothing of labels; give --labels or --unlabelled")
    return listed_source(source, label_file=labels)


def _engine(
    out: ShardPath, runner: str, workers: int | None, pipeline_options: Sequence[str]
) -> AbstractContextManager[Engine]:
    if runner == LOCAL:
        if pipeline_options:
            raise UsageError("what stands behind -- is for --runner beam; give both, or neither")
        return local_engine(out, workers)
    if workers is not None:
        raise UsageError(
            "--workers is of this machine; Beam has options for that, such as"
            " -- --direct_num_workers=2"
        )
    if find_spec("apache_beam") is None:
        raise UsageError(
            "--runner beam needs a package that is missing: pip install 'ich-keras[beam]'"
        )
    logging.disable(logging.WARNING)  # Beam says of which clouds it finds no library
    try:
        from tfrecords_tools.engines.beam import beam_engine
    finally:
        logging.disable(logging.NOTSET)
    return beam_engine(out, pipeline_options)


def _check_alike(
    out: ShardPath,
    manifest: Manifest,
    size: int,
    windows: Sequence[Window],
    neighbours: int,
    encoding: str,
) -> None:
    """Shards of one folder are all alike."""
    stands = (manifest.size, manifest.windows, manifest.neighbours, manifest.encoding)
    if stands != (size, tuple(windows), neighbours, encoding):
        names = ",".join(f"{x.name}={x.center:g}/{x.width:g}" for x in manifest.windows)
        raise UsageError(
            f"{out}: stands with --size {manifest.size} --windows {names} --neighbours"
            f" {manifest.neighbours} --encoding {manifest.encoding}; add with the same"
        )


def _carry_out(
    out: ShardPath, plan: Plan, options: Options, job: Job, engine: Engine, *, fresh: bool
) -> Manifest:
    if plan.standing is None:
        if fresh:
            clear(out, plan)
        manifest = finished(out, plan)
        if manifest is not None:
            return manifest
        begin(out, plan)
    elif plan.empty:
        log.info("%s: holds all of this already, nothing to add", out)
        return plan.standing.manifest
    else:
        begin_addition(out, plan, plan.standing)
    _write_shards(engine, job, out, plan)
    return finish(out, plan, options)


def _write_shards(engine: Engine, job: Job, out: ShardPath, plan: Plan) -> None:
    """Writes the shards that are not there yet."""
    written = written_names(out)
    waiting = [x for x in plan.shards if x.name not in written]
    if len(waiting) < len(plan.shards):
        log.info("%d of %d shards stand already", len(plan.shards) - len(waiting), len(plan.shards))
    total = sum(len(shard.slices) for shard in waiting)
    with progress(total=total, desc="convert", unit="slice") as bar:
        for shard in engine.write(job, waiting):
            bar.update(len(shard.slices))


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

"""The whole conversion: finds files, plans, and writes the shards."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from tfrecords_tools.dataset.existing import Existing, no_shards, read_existing
from tfrecords_tools.dataset.manifest import MANIFEST_NAME, Manifest, ShardFormat
from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.engines.engine import Engine
from tfrecords_tools.engines.local import local_engine
from tfrecords_tools.errors import UsageError
from tfrecords_tools.planning.mask_folder import read_mask_folder
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.plan import Plan, default_shard_size, make_plan
from tfrecords_tools.planning.scan import scan
from tfrecords_tools.planning.source import Source, find_source, listed_source
from tfrecords_tools.planning.split import parse_split
from tfrecords_tools.planning.split_file import read_split
from tfrecords_tools.progress import progress
from tfrecords_tools.records.schema import check_encoding
from tfrecords_tools.storage.shard_path import ShardPath, remove_folder
from tfrecords_tools.tables.label_csv import read_labels
from tfrecords_tools.windows import parse_windows
from tfrecords_tools.writing.index import finish
from tfrecords_tools.writing.ownership import check_apart, check_free, claim, only_writer
from tfrecords_tools.writing.shard import Job, written_names

LOCAL = "local"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConvertOptions:
    """Options of a conversion, with the defaults of the command; UsageError if they do not fit."""

    size: int = 512  # edge of a slice in pixels
    windows: str = "brain,subdural,bone"  # known ones, or name=center/width in HU
    neighbours: int = 0  # slices below and above each slice, which become further channels
    split: str = "0.8,0.1,0.1"  # fractions of the patients, or a CSV file that assigns them
    group_duplicates: bool = False  # keep patients with a slice in common in one split
    seed: int = 0  # of the split, the order and the patient keys
    workers: int | None = None  # processes on this machine; None means one per core
    encoding: str = "zlib"  # of the images, one of ENCODINGS
    shard_size: int | None = None  # maximum number of records per shard; None chooses one
    labels: Path | None = None  # of all files of the source; None if the RSNA layout has one
    masks: Path | None = None  # folder of masks (`tfrecords_tools.masks`) to store beside slices
    unlabelled: bool = False  # ignore labels and write a single split, `unlabelled`
    patient_key_file: Path | None = None  # holds the secret that identifiers are hashed with
    fresh: bool = False  # replace what another conversion left in the output folder
    add: bool = False  # add to existing shards the slices that they do not hold yet
    runner: str = LOCAL  # LOCAL or `beam`
    pipeline_options: Sequence[str] = ()  # options of the Beam pipeline

    def __post_init__(self) -> None:
        check_encoding(self.encoding, self.format.channels)
        local, labels = self.runner == LOCAL, self.labels is not None
        conflicts = {
            "--add and --fresh exclude each other; give one": self.add and self.fresh,
            "--add cannot go with --group-duplicates: existing shards do not keep the hashes of"
            " their pixels": self.add and self.group_duplicates,
            "--labels and --unlabelled exclude each other; give one": labels and self.unlabelled,
            "--masks are of labelled slices; give one of --masks and --unlabelled": self.unlabelled
            and self.masks is not None,
            "options after -- are for --runner beam; give both": local and self.pipeline_options,
            "--workers is for this machine; Beam has its own options, such as"
            " -- --direct_num_workers=2": not local and self.workers,
        }
        for message, conflict in conflicts.items():
            if conflict:
                raise UsageError(message)

    @property
    def format(self) -> ShardFormat:
        windows = parse_windows(self.windows)
        masks = self.masks is not None
        return ShardFormat(windows, self.neighbours, self.size, self.encoding, masks)


DEFAULTS = ConvertOptions()


# If pyarrow is installed, pandas stores strings with it, but file names may not be valid UTF-8.
@pd.option_context("mode.string_storage", "python")
def convert(
    source: Path | Iterable[str], out: ShardPath, options: ConvertOptions = DEFAULTS
) -> Manifest:
    """Converts DICOM files to shards, or resumes an interrupted conversion.

    The same files and options give the same bytes, whatever the runner and the number of workers.
    `source` is a folder (see `find_source`) or a list of paths (see `listed_source`); `out` is new,
    or the same conversion began it. With `options.add` it may hold shards of other files. Raises
    InputError, of one line, if the options, the source or `out` cannot be used.
    """
    shard_format = options.format
    is_file = options.split.endswith((".csv", ".csv.gz"))
    split = read_split(Path(options.split)) if is_file else parse_split(options.split)
    key = _read_key(options.patient_key_file)
    check_free(out)
    files = _find_source(source, options)
    check_apart(out, files)
    labels = read_labels(files.label_file) if files.label_file else None
    with only_writer(out), _engine(out, options) as engine:
        existing = _existing(out, options)
        scanned = scan(files, engine.scan, hash_pixels=options.group_duplicates)
        shard_size = options.shard_size or default_shard_size(shard_format, len(scanned.slices))
        masks = read_mask_folder(options.masks) if options.masks else None
        plan_options = PlanOptions(shard_format, split, options.seed, shard_size, key, masks)
        plan = make_plan(scanned, labels, plan_options, existing)
        job = Job(scanned.root, shard_format, options.masks)
        del scanned, labels  # large for a million slices
        manifest = claim(out, plan, fresh=options.fresh)
        if manifest is None:
            _write_shards(engine, job, out, plan)
            manifest = finish(out, plan)
        remove_folder(out / WORK)
    return manifest


def _find_source(source: Path | Iterable[str], options: ConvertOptions) -> Source:
    if isinstance(source, Path):
        return find_source(source, label_file=options.labels, unlabelled=options.unlabelled)
    if options.labels is None and not options.unlabelled:
        raise UsageError("a list of files has no labels; give --labels or --unlabelled")
    return listed_source(source, label_file=options.labels)


def _engine(out: ShardPath, options: ConvertOptions) -> AbstractContextManager[Engine]:
    if options.runner == LOCAL:
        return local_engine(out, options.workers)
    if find_spec("apache_beam") is None:
        raise UsageError(
            "--runner beam needs a package that is missing: pip install 'ich-keras[beam]'"
        )
    logging.disable(logging.WARNING)  # Beam lists the clouds it has no library for
    try:
        from tfrecords_tools.engines.beam import beam_engine
    finally:
        logging.disable(logging.NOTSET)
    return beam_engine(out, options.pipeline_options)


def _existing(out: ShardPath, options: ConvertOptions) -> Existing:
    if not options.add or not (out / MANIFEST_NAME).is_file():
        return no_shards(options.format)
    existing = read_existing(out)
    shard_format = existing.manifest.format
    if shard_format != options.format:
        raise UsageError(
            f"{out}: the existing shards have {shard_format.command_options()}; add with the same"
        )
    return existing


def _write_shards(engine: Engine, job: Job, out: ShardPath, plan: Plan) -> None:
    """Writes the shards that do not exist yet."""
    written = written_names(out)
    missing = [x for x in plan.shards if x.name not in written]
    if len(missing) < len(plan.shards):
        done = len(plan.shards) - len(missing)
        log.info("%d of %d shards are written already", done, len(plan.shards))
    total = sum(len(shard.slices) for shard in missing)
    with progress(total=total, desc="convert", unit="slice") as bar:
        for shard in engine.write(job, missing):
            bar.update(len(shard.slices))


def _read_key(path: Path | None) -> bytes | None:
    if path is None:
        log.info(
            "patient ids are hashed without a secret, so anyone with a list of the patients can"
            " re-identify them; enough for public data, give --patient-key-file for other data"
        )
        return None
    key = path.read_bytes()
    if not key:
        raise UsageError(f"{path}: is empty, so no secret; write some random bytes to it")
    return key

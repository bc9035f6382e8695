"""Checks of this machine: versions, GPUs, codecs, data and disk, each with a fix."""

import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

import keras
import tensorflow as tf
from packaging.requirements import Requirement
from pydicom.pixels import get_decoder
from rich.console import Console

from ich_keras.cli.computation import check_precision, check_xla, find_gpus
from ich_keras.cli.finding import Finding
from ich_keras.run.versions import commit, installed_version
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.dicom.decoders import PLUGINS
from tfrecords_tools.errors import InputError
from tfrecords_tools.planning.source import find_source
from tfrecords_tools.storage.shard_path import ShardPath

SHARD_BYTES_PER_SLICE = 150_000  # 512 px, three windows; measured in docs/reference/converting.md
GIB = 2**30

STYLES = {"ok": "green", "note": "yellow", "failed": "bold red"}


def examine(source: Path, shards: ShardPath, runs: Path) -> Iterator[Finding]:
    """Runs all checks of this machine, and of the folders of data, shards and runs."""
    yield _program()
    yield from _packages()
    yield _tensorflow()
    yield from find_gpus()
    yield check_precision()
    yield check_xla()
    yield from _codecs()
    yield _object_store()
    files, data = _data(source)
    yield data
    converted = _shards(shards)
    yield converted
    if isinstance(shards, Path):
        yield _disk(shards, files if converted.state == "note" else 0)
    yield _runs(runs)


def show(findings: Iterator[Finding]) -> list[Finding]:
    """Prints each finding with its fix below, and returns those that failed."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    failed = []
    for finding in findings:
        console.print(f"{finding.state:8}", style=STYLES[finding.state], end="")
        console.print(f"{finding.check:12}{finding.result}")
        if finding.fix:
            console.print(f"{'':20}-> {finding.fix}")
        if finding.state == "failed":
            failed.append(finding)
    return failed


def _program() -> Finding:
    program = f"{version('ich-keras')}, {commit() or 'commit not known'}"
    return Finding("ich-keras", "ok", f"{program}; Python {platform.python_version()}")


def _packages() -> Iterator[Finding]:
    """Finds packages that are missing, or of a version that this program does not support."""
    for package in map(Requirement, requires("ich-keras") or ()):
        if package.marker is not None and not package.marker.evaluate({"extra": ""}):
            continue
        installed = installed_version(package.name)
        if installed is None or not package.specifier.contains(installed, prereleases=True):
            state = f"{installed}, needed {package.specifier}" if installed else "is not installed"
            fix = f"pip install '{package.name}{package.specifier}'"
            yield Finding(package.name, "failed", state, fix)


def _tensorflow() -> Finding:
    built = tf.sysconfig.get_build_info()
    cuda = "without CUDA"
    if built.get("is_cuda_build"):
        cuda = f"built for CUDA {built['cuda_version']} and cuDNN {built['cudnn_version']}"
    return Finding("TensorFlow", "ok", f"{tf.__version__}, {cuda}; Keras {keras.__version__}")


def _codecs() -> Iterator[Finding]:
    """Whether compressed DICOM files can be read; one finding for each extra that is missing."""
    missing: dict[str, list[str]] = {}
    for syntax, plugin in PLUGINS.items():
        if plugin.name not in get_decoder(syntax).available_plugins:
            missing.setdefault(plugin.extra, []).append(f"{syntax.name} ({plugin.package})")
    readable = len(PLUGINS) - sum(map(len, missing.values()))
    text = f"{readable} of {len(PLUGINS)} compressed transfer syntaxes can be read"
    if not missing:
        yield Finding("codecs", "ok", text)
    for extra, names in missing.items():
        fix = f"pip install 'ich-keras[{extra}]', if you have such files"
        yield Finding("codecs", "note", f"{text}; not {', '.join(names)}", fix)


def _object_store() -> Finding:
    if find_spec("tensorflow_io") is None:
        fix = "pip install 'ich-keras[s3]' in an environment of its own, if shards are there"
        return Finding("s3://", "note", "tensorflow-io is not installed", fix)
    return Finding("s3://", "ok", f"tensorflow-io {version('tensorflow-io')}")


def _data(source: Path) -> tuple[int, Finding]:
    """Returns the number of files to convert, and the finding."""
    fix = "set $ICH_DATA to the folder of stage_2_train.csv; no data yet? `ich-keras synth DIR`"
    try:
        if not source.is_dir():
            return 0, Finding("data", "note", f"none at {source}", fix)
        found = find_source(source)
    except (InputError, OSError) as error:
        return 0, Finding("data", "failed", str(error), fix)
    labelled = [found.is_labelled(path) for path in found.files]
    files, with_labels = len(labelled), sum(labelled)
    text = f"{source}: {with_labels:,} files with labels, {files - with_labels:,} without"
    return files, Finding("data", "ok", text)


def _shards(shards: ShardPath) -> Finding:
    fix = f"ich-keras convert --out {shards}, or set $ICH_SHARDS to their folder"
    try:
        if not (shards / "dataset.json").is_file():
            return Finding("shards", "note", f"none at {shards}", fix)
        manifest = read_manifest(shards)
    except InputError as error:
        return Finding("shards", "failed", str(error), f"ich-keras verify {shards}")
    slices = ", ".join(f"{name} {split.slices:,}" for name, split in manifest.splits.items())
    return Finding("shards", "ok", f"{shards}: {manifest.format.size} px; {slices}")


def _disk(shards: Path, files: int) -> Finding:
    """Whether the disk has room for the shards of so many files."""
    place = _existing(shards)
    free = shutil.disk_usage(place).free
    needed = files * SHARD_BYTES_PER_SLICE
    text = f"{free / GIB:,.0f} GiB free at {place}"
    if files:
        text += f"; shards of {files:,} slices take {needed / GIB:,.1f} GiB at 512 px"
    if free < needed:
        fix = "choose another disk with --out, or --size 256, which takes a quarter"
        return Finding("disk", "failed", text, fix)
    return Finding("disk", "ok", text)


def _runs(runs: Path) -> Finding:
    place = _existing(runs)
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        fix = "give another folder with --run or $ICH_RUNS, or get the permission to write"
        return Finding("runs", "failed", f"{place}: {error.strerror}", fix)
    return Finding("runs", "ok", f"{runs} can be written")


def _existing(path: Path) -> Path:
    """Returns the path itself, or the nearest folder above it that exists."""
    return next(x for x in (path.resolve(), *path.resolve().parents) if x.exists())

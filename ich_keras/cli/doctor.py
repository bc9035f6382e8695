"""Whether this machine is ready: versions, GPUs, codecs, data, room; each with what mends it."""

import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from packaging.requirements import Requirement
from pydicom.pixels import get_decoder
from rich.console import Console

from ich_keras.run.versions import commit
from ich_keras.training.devices import missing_gpu
from ich_keras.training.train_step import choose_precision
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.dicom.pixels import PLUGINS
from tfrecords_tools.errors import InputError
from tfrecords_tools.planning.source import find_source
from tfrecords_tools.storage.shard_path import ShardPath

# Of a slice of 512x512 in three windows as `convert` writes it by default; a real head takes 144 kB
# (docs/reference/converting.md), and a quarter of the edge squared at half the size.
SHARD_BYTES_A_SLICE = 150_000
GIB = 2**30
BFLOAT16_ERROR = 0.02  # of a convolution; its numbers have eight bits
NO_GPU = "training is what needs one: convert, verify, predict and the demo do without"

State = Literal["ok", "note", "failed"]
STYLES = {"ok": "green", "note": "yellow", "failed": "bold red"}
CHECK_COLUMN = 12  # characters


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        check: the thing.
        state: `ok`; `note` where something is missing that not everybody needs; `failed`.
        found: how it is.
        fix: what to do about it; empty where it is ok.
    """

    check: str
    state: State
    found: str
    fix: str = ""


def examine(source: Path, shards: ShardPath, runs: Path) -> Iterator[Finding]:
    """Looks at one thing after another.

    Args:
        source: where the data set is expected.
        shards: where shards are, or will be.
        runs: where runs are, or will be.
    """
    yield _program()
    yield from _packages()
    yield _tensorflow()
    yield from _gpus()
    yield _precision()
    yield _xla()
    yield from _codecs()
    yield _object_store()
    files, found = _data(source)
    yield found
    found = _shards(shards)
    yield found
    if isinstance(shards, Path):
        yield _room(shards, files if found.state == "note" else 0)
    yield _runs(runs)


def show(findings: Iterator[Finding]) -> list[Finding]:
    """Prints each finding as it comes, what mends it below; returns those that failed."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    failed = []
    for finding in findings:
        console.print(f"{finding.state:8}", style=STYLES[finding.state], end="")
        console.print(f"{finding.check:{CHECK_COLUMN}}{finding.found}")
        if finding.fix:
            console.print(f"{'':{8 + CHECK_COLUMN}}-> {finding.fix}")
        if finding.state == "failed":
            failed.append(finding)
    return failed


def _program() -> Finding:
    where = commit() or "commit not known"
    text = f"{version('ich-keras')}, {where}; Python {platform.python_version()}"
    return Finding("ich-keras", "ok", text)


def _packages() -> Iterator[Finding]:
    """Whether what is installed is what this version asks for."""
    for text in requires("ich-keras") or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        fix = f"pip install '{wanted.name}{wanted.specifier}'"
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(wanted.name, "failed", "is not installed", fix)
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            yield Finding(wanted.name, "failed", f"{installed}, wanted {wanted.specifier}", fix)


def _tensorflow() -> Finding:
    built = tf.sysconfig.get_build_info()
    cuda = "without CUDA"
    if built.get("is_cuda_build"):
        cuda = f"built for CUDA {built['cuda_version']} and cuDNN {built['cudnn_version']}"
    backend = keras.backend.backend()
    text = f"{tf.__version__}, {cuda}; Keras {keras.__version__} on {backend}"
    if backend != "tensorflow":
        return Finding("TensorFlow", "failed", text, "set KERAS_BACKEND=tensorflow, or unset it")
    return Finding("TensorFlow", "ok", text)


def _gpus() -> Iterator[Finding]:
    devices = tf.config.list_physical_devices("GPU")
    for number, device in enumerate(devices):
        details = tf.config.experimental.get_device_details(device)
        capability = ".".join(map(str, details.get("compute_capability", ())))
        name = details.get("device_name", device.name)
        text = f"{name}, compute capability {capability}, {_gpu_memory(details, number)}"
        yield Finding(f"GPU {number}", "ok", text)
    if not devices:
        missing = missing_gpu()
        state: State = "failed" if missing else "note"
        yield Finding("GPU", state, "none", missing or NO_GPU)


def _gpu_memory(details: dict, number: int) -> str:
    """Total and free, from the driver, which alone knows them."""
    try:
        import pynvml

        pynvml.nvmlInit()
        address = details.get("pci_bus_id")
        handle = (
            pynvml.nvmlDeviceGetHandleByPciBusId(address)
            if address
            else pynvml.nvmlDeviceGetHandleByIndex(number)
        )
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        driver = pynvml.nvmlSystemGetDriverVersion()
    except ImportError:
        return "memory not known without nvidia-ml-py (extra gpu)"
    except pynvml.NVMLError as error:
        return f"memory not known: {error}"
    return f"{memory.free / GIB:.0f} of {memory.total / GIB:.0f} GiB free, driver {driver}"


def _precision() -> Finding:
    """Whether a convolution in bfloat16 is, but for rounding, that of float32."""
    image, kernel = _convolution()
    exact = tf.nn.conv2d(image, kernel, 1, "SAME")
    half = (tf.cast(x, tf.bfloat16) for x in (image, kernel))
    rounded = tf.cast(tf.nn.conv2d(*half, 1, "SAME"), tf.float32)
    error = float(tf.reduce_max(tf.abs(rounded - exact)) / tf.reduce_max(tf.abs(exact)))
    text = f"auto is {choose_precision('auto')} here; bfloat16 is off by {100 * error:.2f} %"
    if error > BFLOAT16_ERROR:
        return Finding("precision", "failed", text, "set training.precision to float32")
    return Finding("precision", "ok", text)


def _xla() -> Finding:
    image, kernel = _convolution()
    compiled = tf.function(
        lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), jit_compile=True, autograph=False
    )
    try:
        compiled(image)
    except tf.errors.OpError as error:
        return Finding(
            "XLA", "failed", error.message.splitlines()[0], "set training.jit_compile to false"
        )
    return Finding("XLA", "ok", "compiles a convolution")


def _convolution() -> tuple[tf.Tensor, tf.Tensor]:
    """An image and a kernel, small and always the same."""
    draw = np.random.default_rng(0)
    image = draw.standard_normal((1, 32, 32, 8), np.float32)
    return tf.constant(image), tf.constant(draw.standard_normal((3, 3, 8, 8), np.float32))


def _codecs() -> Iterator[Finding]:
    """What reads compressed DICOM files, an extra a line."""
    missing: dict[str, list[str]] = {}
    readable = []
    for syntax, plugin in PLUGINS.items():
        decoder = get_decoder(syntax)
        if plugin.name in decoder.available_plugins:
            readable.append(plugin.package)
        else:
            missing.setdefault(plugin.extra, []).append(f"{syntax.name} ({plugin.package})")
    found = f"{len(readable)} of {len(PLUGINS)} compressed transfer syntaxes can be read"
    if not missing:
        yield Finding("codecs", "ok", found)
    for extra, names in missing.items():
        text = f"{found}; not {', '.join(names)}"
        yield Finding("codecs", "note", text, f"pip install 'ich-keras[{extra}]', if you have such")


def _object_store() -> Finding:
    if find_spec("tensorflow_io") is None:
        fix = "pip install 'ich-keras[s3]' in an environment of its own, if shards lie there"
        return Finding("s3://", "note", "tensorflow-io is not installed", fix)
    return Finding("s3://", "ok", f"tensorflow-io {version('tensorflow-io')}")


def _data(source: Path) -> tuple[int, Finding]:
    """How many files there are to convert."""
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
    fix = f"ich-keras convert --out {shards}, or set $ICH_SHARDS to where they are"
    try:
        if not (shards / "dataset.json").is_file():
            return Finding("shards", "note", f"none at {shards}", fix)
        manifest = read_manifest(shards)
    except InputError as error:
        return Finding("shards", "failed", str(error), f"ich-keras verify {shards}")
    slices = ", ".join(f"{name} {split.slices:,}" for name, split in manifest.splits.items())
    return Finding("shards", "ok", f"{shards}: {manifest.format.size} px; {slices}")


def _room(shards: Path, files: int) -> Finding:
    """The disk against what a conversion of the files will take, where they are still to be."""
    place = _existing(shards)
    free = shutil.disk_usage(place).free
    needed = files * SHARD_BYTES_A_SLICE
    text = f"{free / GIB:,.0f} GiB free at {place}"
    if files:
        text += f"; shards of {files:,} slices take {needed / GIB:,.1f} GiB at 512 px"
    if free < needed:
        fix = "give another disk with --out, or --size 256, which takes a quarter"
        return Finding("disk", "failed", text, fix)
    return Finding("disk", "ok", text)


def _runs(runs: Path) -> Finding:
    place = _existing(runs)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        fix = "give another folder with --run or $ICH_RUNS, or the permission to write"
        return Finding("runs", "failed", f"{place}: {error.strerror}", fix)
    return Finding("runs", "ok", f"{runs} can be written")


def _existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(x for x in (path.resolve(), *path.resolve().parents) if x.exists())

"""Devices and machines that compute a step: GPUs of this machine, workers, strategies."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from itertools import takewhile
from pathlib import Path

import tensorflow as tf

from ich_keras.experiment.schema import TrainingConfig
from tfrecords_tools.errors import InputError, UsageError

log = logging.getLogger(__name__)

DRIVER = Path("/proc/driver/nvidia/version")
CONTAINER_FILES = (Path("/.dockerenv"), Path("/run/.containerenv"))
CUDA_LIBRARIES = "nvidia-cudnn-cu12"  # one of those that the extra gpu installs
NO_GPU = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that name none


class DistributionError(InputError):
    """Devices or workers that are not what the experiment asks for."""


@dataclass(frozen=True)
class Workers:
    """The processes that train together, as `TF_CONFIG` names them."""

    index: int = 0  # of this process, from 0
    count: int = 1  # of all processes

    @property
    def chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.index == 0


def usable_gpus(variables: Mapping[str, str] = os.environ) -> list[str]:
    """Returns the GPUs that TensorFlow sees, by their names in CUDA_VISIBLE_DEVICES.

    CUDA sees no GPU at all if one is listed more than once, and only the first of several MIG
    instances. Such lists are returned as they are: each worker gets one entry of them, and a GPU
    that is listed more than once is shared by as many workers.
    """
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    count = len(tf.config.list_physical_devices("GPU"))
    if visible is None:
        return [str(number) for number in range(count)]
    names = (name.strip() for name in visible.split(","))
    listed = list(takewhile(lambda name: name not in NO_GPU, names))  # CUDA ignores what follows
    one_each = len(set(listed)) < len(listed) or any(x.startswith("MIG-") for x in listed)
    return listed if one_each else listed[:count]


def devices_of(workers: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Returns the environment variables that give each of several processes a GPU of its own.

    Without GPUs, from `usable_gpus`, the processes share the cores.

    Raises:
        UsageError: if there are more workers than GPUs.
    """
    if not gpus:
        return [{} for _ in range(workers)]
    if workers > len(gpus):
        shared = ",".join(gpus[number % len(gpus)] for number in range(workers))
        raise UsageError(
            f"--workers {workers}: each worker needs a GPU of its own, and {len(gpus)} can be used"
            f" ({','.join(gpus)}); give --workers {len(gpus)}, or list a GPU once for each worker"
            f" that shares it: CUDA_VISIBLE_DEVICES={shared}"
        )
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:workers]]


def why_expected(variables: Mapping[str, str] = os.environ, *, driver: Path = DRIVER) -> str | None:
    """Returns why this machine should have a GPU; None if it need not, or must not use one."""
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        hidden = visible.strip() in NO_GPU
        return None if hidden else f"CUDA_VISIBLE_DEVICES is {visible}"
    if driver.exists():
        return "an NVIDIA driver is loaded"
    return "TensorFlow's CUDA libraries are installed" if _libraries_installed() else None


def how_to_fix(*, driver: Path = DRIVER, container_files: Sequence[Path] = CONTAINER_FILES) -> str:
    """Returns the first thing to do about a GPU that TensorFlow does not see."""
    if not driver.exists():
        if any(path.exists() for path in container_files):
            return (
                "start the container with --gpus all, on a host with the NVIDIA Container Toolkit"
            )
        return "install the NVIDIA driver, until `nvidia-smi` lists the GPU"
    if not _libraries_installed():
        return "pip install 'ich-keras[gpu]'"
    return "compare the driver that `nvidia-smi` names with the CUDA that TensorFlow was built for"


def _libraries_installed() -> bool:
    """Whether the CUDA libraries of the extra `gpu` are installed."""
    try:
        distribution(CUDA_LIBRARIES)
    except PackageNotFoundError:
        return False
    return True


def missing_gpu() -> str:
    """Returns one line about a GPU that should be there and is not seen; otherwise ""."""
    reason = None if tf.config.list_physical_devices("GPU") else why_expected()
    if reason is None:
        return ""
    return (
        f"TensorFlow sees no GPU, although {reason}; {how_to_fix()}; CUDA_VISIBLE_DEVICES=-1 says"
        " that none is to be used"
    )


def warn_without_gpu() -> None:
    """Warns before the first step, not after a night, about a missing GPU."""
    missing = missing_gpu()
    if missing:
        log.warning("NO GPU: %s. Training runs on the processor, many times slower.", missing)


def find_workers() -> Workers:
    """Returns the place of this process in the cluster of `TF_CONFIG`; alone if there is none.

    Raises:
        DistributionError: if `TF_CONFIG` is not what TensorFlow defines.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        tasks = resolver.cluster_spec().as_dict()
        chiefs, workers = tasks.get("chief", []), tasks.get("worker", [])
        if not chiefs and not workers:
            return Workers()
        before = len(chiefs) if resolver.task_type == "worker" else 0
        if resolver.task_id >= len(tasks[resolver.task_type]):
            raise ValueError(f"there is no {resolver.task_type} {resolver.task_id}")
        return Workers(before + resolver.task_id, len(chiefs) + len(workers))
    except (ValueError, TypeError, KeyError) as error:
        raise DistributionError(
            f"TF_CONFIG: {error}; expected"
            ' {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error


def resolve_strategy(name: str, workers: Workers) -> str:
    """Returns the name of the distribution strategy: `one`, `mirrored` or `multi_worker`.

    `auto` becomes `multi_worker` if there are several workers, `mirrored` if there are several
    GPUs, and otherwise `one`.

    Raises:
        DistributionError: if it does not fit the number of workers.
    """
    if name == "auto":
        name = "multi_worker" if workers.count > 1 else "one"
        if name == "one" and len(tf.config.list_logical_devices("GPU")) > 1:
            name = "mirrored"
    if (name == "multi_worker") != (workers.count > 1):
        raise DistributionError(
            f"training.strategy is {name} and TF_CONFIG names {workers.count} worker(s); set it to"
            " auto, or correct TF_CONFIG"
        )
    return name


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Creates the distribution strategy of a name from `resolve_strategy`.

    Call it before any tensor exists: the workers' collectives are set up at the start.
    """
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """Returns the devices of this process, such as "GPU:0"."""
    return [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]


def check_devices(strategy: tf.distribute.Strategy, config: TrainingConfig) -> None:
    """Checks at the start what would otherwise fail at the first step.

    Raises:
        DistributionError: if the batch cannot be shared evenly, or XLA is to compile a step of
            several devices.
    """
    devices = strategy.num_replicas_in_sync
    if config.batch_size % devices:
        raise DistributionError(
            f"training.batch_size {config.batch_size} is not a multiple of the {devices} devices;"
            " change it"
        )
    if config.jit_compile is True and devices > 1:
        raise DistributionError(
            f"training.jit_compile is true, and there are {devices} devices: XLA compiles the step"
            " of one; set it to auto, or training.strategy to one"
        )


class ChiefsValue:
    """Gives all workers the chief's value of a score, as the last digits of their own may differ.

    A call returns once all workers have called it. None is a score that is undefined.
    """

    def __init__(self, strategy: tf.distribute.Strategy, workers: Workers) -> None:
        self._strategy = strategy
        self._workers = workers
        self._sum = tf.function(self._sum_over_devices, autograph=False)

    def __call__(self, value: float | None) -> float | None:
        if self._workers.count == 1:
            return value
        own = (math.nan if value is None else value) if self._workers.chief else 0.0
        per_worker = self._strategy.num_replicas_in_sync // self._workers.count
        total = float(self._sum(tf.constant(own, tf.float64))) / per_worker
        return None if math.isnan(total) else total

    def _sum_over_devices(self, own: tf.Tensor) -> tf.Tensor:
        values = self._strategy.run(tf.identity, args=(own,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

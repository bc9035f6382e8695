"""The GPUs of this machine: which may be used, who gets which, and why none may be seen."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import takewhile
from pathlib import Path

from tfrecords_tools.errors import UsageError

DRIVER = Path("/proc/driver/nvidia/version")
IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))
CUDA_LIBRARIES = "nvidia-cudnn-cu12"  # one of those that the extra gpu brings
NO_GPU = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that name none
NOT_WANTED = "CUDA_VISIBLE_DEVICES=-1 says that none is wanted"


def why_expected(variables: Mapping[str, str] = os.environ) -> str | None:
    """What of this machine speaks for a GPU; None where nothing does, or where none is wanted."""
    chosen = variables.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        wanted = chosen.strip() not in NO_GPU
        return f"CUDA_VISIBLE_DEVICES is {chosen}" if wanted else None
    if DRIVER.exists():
        return "an NVIDIA driver is loaded"
    if libraries_installed():
        return "TensorFlow's CUDA libraries are installed"
    return None


def usable_gpus(variables: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that TensorFlow sees, by their names in CUDA_VISIBLE_DEVICES.

    CUDA sees no GPU at all where one is listed more than once, and only the first of several MIG
    instances. Such lists are returned as they are: each worker is given one entry of them, and one
    that is listed more than once says by name that several workers share it.
    """
    import tensorflow as tf

    chosen = variables.get("CUDA_VISIBLE_DEVICES")
    seen = len(tf.config.list_physical_devices("GPU"))
    if chosen is None:
        return [str(number) for number in range(seen)]
    names = (name.strip() for name in chosen.split(","))
    listed = list(takewhile(lambda name: name not in NO_GPU, names))  # CUDA ignores what follows
    one_by_one = len(set(listed)) < len(listed) or any(x.startswith("MIG-") for x in listed)
    return listed if one_by_one else listed[:seen]


def devices_of(workers: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """The environment variables of each worker, which give it a GPU of its own.

    Args:
        workers: number of processes.
        gpus: from `usable_gpus`; without any, the workers share the cores.

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
    return [_device(gpu, shared=gpus.count(gpu) > 1) for gpu in gpus[:workers]]


def _device(gpu: str, *, shared: bool) -> dict[str, str]:
    """Variables by which TensorFlow uses one GPU, and not all of its memory if it is shared."""
    growth = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if shared else {}
    return {"CUDA_VISIBLE_DEVICES": gpu, **growth}


def libraries_installed() -> bool:
    """Whether the CUDA libraries of the extra `gpu` are there."""
    try:
        distribution(CUDA_LIBRARIES)
    except PackageNotFoundError:
        return False
    return True


def how_to_mend() -> str:
    """The first thing to do about a GPU that TensorFlow does not see."""
    if not DRIVER.exists():
        if any(path.exists() for path in IN_CONTAINER):
            return (
                "start the container with --gpus all, on a host with the NVIDIA Container Toolkit"
            )
        return "install the NVIDIA driver, until `nvidia-smi` lists the GPU"
    if not libraries_installed():
        return "pip install 'ich-keras[gpu]'"
    return "compare the driver that `nvidia-smi` names with the CUDA that TensorFlow was built for"


def missing_gpu() -> str:
    """One line on a GPU that is expected and not there; empty where none is expected."""
    reason = why_expected()
    if reason is None:
        return ""
    return f"TensorFlow sees no GPU, although {reason}; {how_to_mend()}; {NOT_WANTED}"

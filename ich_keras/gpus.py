"""Why a GPU may be expected of this machine although TensorFlow sees none."""

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/version")
IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))
CUDA_LIBRARIES = "nvidia-cudnn-cu12"  # one of those that the extra gpu brings
NOT_WANTED = "CUDA_VISIBLE_DEVICES=-1 says that none is wanted"


def why_expected(variables: Mapping[str, str] = os.environ) -> str | None:
    """What of this machine speaks for a GPU; None where nothing does, or where none is wanted."""
    chosen = variables.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        wanted = chosen.strip() not in ("", "-1", "NoDevFiles")
        return f"CUDA_VISIBLE_DEVICES is {chosen}" if wanted else None
    if DRIVER.exists():
        return "an NVIDIA driver is loaded"
    if libraries_installed():
        return "TensorFlow's CUDA libraries are installed"
    return None


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

"""What an answer depends on beside experiment and data: versions, and the commit."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "ich-keras",
    "tensorflow",
    "keras",
    "keras-tuner",
    "numpy",
    "pandas",
    "pydicom",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Computation:
    """How steps are computed: what each `auto` of `training` became on this machine.

    Attributes:
        strategy: `one`, `mirrored` or `multi_worker`.
        precision: the Keras dtype policy.
        jit_compile: whether XLA compiles the step.
    """

    strategy: str
    precision: str
    jit_compile: bool


def environment(devices: list[str], computation: Computation) -> dict[str, Any]:
    """What a session of a run depends on beside data and seed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "git_commit": commit(),
        "command": Path(sys.argv[0]).name,
        "devices": devices,
        **asdict(computation),
    }


def versions() -> dict[str, str | None]:
    """Of the packages that an answer depends on; None where one is not installed."""
    return {name: _version(name) for name in RECORDED_PACKAGES}


def commit() -> str | None:
    """The commit of the checkout that holds this file, with "+changes" where it differs.

    Outside of a checkout the one that an image was built from, `$ICH_COMMIT`; None where neither is
    known.
    """
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def describe() -> str:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")

    of_checkout = _quiet(describe, (OSError, subprocess.CalledProcessError))
    return of_checkout or os.environ.get("ICH_COMMIT") or None  # it may be set to nothing


def _version(package: str) -> str | None:
    return _quiet(lambda: version(package), PackageNotFoundError)


def _quiet(call: Callable[[], str], expected: Any) -> str | None:
    """The call's answer, or None where it is not to be had here."""
    try:
        return call()
    except expected:
        return None

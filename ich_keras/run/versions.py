"""The versions that results depend on: of packages, and of this code."""

import os
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
# TensorFlow without CUDA is a package of its own; the container image `cpu` holds it.
TENSORFLOW = ("tensorflow", "tensorflow-cpu")


def versions() -> dict[str, str | None]:
    """Versions of the packages that results depend on; None if one is not installed."""
    return {name: installed_version(name) for name in RECORDED_PACKAGES}


def installed_version(package: str) -> str | None:
    """The version of a package, for TensorFlow of any of its packages; None if it is missing."""
    for name in TENSORFLOW if package == "tensorflow" else (package,):
        with suppress(PackageNotFoundError):
            return version(name)
    return None


def commit() -> str | None:
    """The commit of the checkout that holds this file, with "+changes" if files were changed.

    Outside of a checkout, the commit that an image was built from, `$ICH_COMMIT`; otherwise None.
    """
    return _commit_of_checkout() or os.environ.get("ICH_COMMIT") or None  # it may be empty


def _commit_of_checkout() -> str | None:
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # fails in another repository
        return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

"""The versions that results depend on: of packages, and of this code."""

import os
import subprocess
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


def versions() -> dict[str, str | None]:
    """Versions of the packages that results depend on; None if one is not installed."""
    return {name: _version(name) for name in RECORDED_PACKAGES}


def commit() -> str | None:
    """The commit of the checkout that holds this file, with "+changes" if files were changed.

    Outside of a checkout, the commit that an image was built from, `$ICH_COMMIT`; otherwise None.
    """
    return _commit_of_checkout() or os.environ.get("ICH_COMMIT") or None  # it may be empty


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit_of_checkout() -> str | None:
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # fails in another repository
        return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

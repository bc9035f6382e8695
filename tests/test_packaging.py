"""What is installed elsewhere: locked versions within their bounds, and an image's content."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator

import pytest
from packaging.requirements import Requirement

from tests.support.paths import ROOT

IMAGE = ("codecs", "bayesian", "onnx")
# What is installed together, and the extras of setup.cfg that it covers.
ENVIRONMENTS = {
    ("run",): (),
    ("run", "test"): ("test",),
    ("run", "test", "integration"): ("test", "integration"),
    ("run", "development"): ("lint", "docs"),
    ("cpu",): IMAGE,
    ("gpu",): (*IMAGE, "gpu"),
    ("beam",): ("codecs", "beam", "cloud"),
    ("s3",): ("s3", "test_s3"),
}
# The image of Beam only converts; the Makefile names the same.
TRAINING = {"tensorflow", "keras", "keras-tuner", "tensorboard", "matplotlib", "highdicom"}
LOCKS = sorted({lock for locks in ENVIRONMENTS for lock in locks})


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def read_lock(lock: str) -> str:
    return (ROOT / "locks" / f"{lock}.lock").read_text("utf-8")


def pins(locks: Iterable[str]) -> list[Requirement]:
    """The locked packages; TensorFlow without CUDA counts as TensorFlow."""
    text = "\n".join(map(read_lock, locks)).replace("tensorflow-cpu==", "tensorflow==")
    lines = text.splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[\w.-]+==", line)]


def requirements(text: str) -> list[Requirement]:
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def of_extra(setup: configparser.ConfigParser, extra: str) -> Iterator[Requirement]:
    """The requirements of an extra, and of the extras that it names."""
    for requirement in requirements(setup["options.extras_require"][extra]):
        if requirement.name == setup["metadata"]["name"]:
            for name in requirement.extras:
                yield from of_extra(setup, name)
        else:
            yield requirement


@pytest.mark.parametrize("locks", ENVIRONMENTS, ids=" ".join)
def test_locked_versions_are_within_the_bounds(setup, locks):
    required = requirements(setup["options"]["install_requires"])
    for extra in ENVIRONMENTS[locks]:
        required += of_extra(setup, extra)
    if locks == ("beam",):
        required = [x for x in required if x.name not in TRAINING]
    locked = pins(locks)
    for requirement in required:
        versions = [
            next(iter(pin.specifier)).version
            for pin in locked
            if pin.name == requirement.name.lower()
        ]
        assert versions, f"{requirement} is not locked; run `make lock`"
        assert all(requirement.specifier.contains(x) for x in versions), (requirement, versions)


def test_the_image_of_beam_lacks_what_trains():
    assert not TRAINING & {pin.name for pin in pins(["beam"])}


def test_all_locks_but_that_of_s3_have_the_same_versions():
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        if lock != "s3":  # has an older TensorFlow
            for name in {pin.name for pin in pins([lock])}:
                lines = sorted({str(pin.specifier) for pin in pins([lock]) if pin.name == name})
                versions.setdefault(name, set()).add(" ".join(lines))
    assert {name: x for name, x in versions.items() if len(x) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_is_locked_has_its_hash(lock):
    text = read_lock(lock)
    blocks = re.findall(r"^[\w.-]+==.*(?:\n {4}.*)*", text, re.MULTILINE)
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text  # of an index that not everybody reaches


def test_the_image_names_the_version_of_the_program(setup):
    (version,) = re.findall(r"^ARG VERSION=(.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
    assert version == setup["metadata"]["version"]


def test_the_image_is_made_of_files_that_are_not_ignored():
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("${VARIANT}", "cpu")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [x.split()[:-1] for x in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name


def test_wheel_and_source_archive_hold_the_program_and_nothing_else(tmp_path):
    names = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
    for name in names:
        shutil.copy(ROOT / name, tmp_path)
    for name in ("ich_keras", "tfrecords_tools", "experiments", "tests", "benchmarks"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            symlinks=True,  # of the experiments, in the package
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    build = "from setuptools.build_meta import *; build_sdist('dist'); build_wheel('dist')"
    command = [sys.executable, "-c", build]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    program = {
        path.relative_to(tmp_path).as_posix()
        for package in ("ich_keras", "tfrecords_tools")
        for path in (tmp_path / package).rglob("*")
        if path.is_file()
    }
    experiments = (tmp_path / "experiments").rglob("*.yaml")
    program |= {f"ich_keras/{path.relative_to(tmp_path).as_posix()}" for path in experiments}
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        assert {x for x in file.namelist() if ".dist-info/" not in x} == program
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        files = {x.name.partition("/")[2] for x in file.getmembers() if x.isfile()}
    metadata = {"PKG-INFO", *(x for x in files if ".egg-info/" in x)}
    assert files - metadata - {*names} == program

"""What is installed elsewhere: locked versions within their bounds, and an image's content."""

import configparser
import re

import pytest
from packaging.requirements import Requirement

from tests.support.paths import ROOT

IMAGE = ("codecs", "bayesian", "onnx")
LOCKS = {
    "requirements.lock": ("test", "lint", "docs"),
    "requirements-s3.lock": ("s3", "test_s3"),
    "requirements-cpu.lock": IMAGE,
    "requirements-gpu.lock": (*IMAGE, "gpu"),
}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_locked_versions_are_within_the_bounds(setup, lock):
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[\w.-]+==", line)]
    wanted = requirements(setup["options"]["install_requires"])
    for extra in LOCKS[lock]:
        wanted += requirements(setup["options.extras_require"][extra])
    for requirement in wanted:
        name = requirement.name.lower()
        versions = [next(iter(x.specifier)).version for x in pins if x.name == name]
        assert versions, f"{requirement} is not locked; run `make lock`"
        assert all(requirement.specifier.contains(x) for x in versions), (requirement, versions)


def test_everything_that_is_locked_has_its_hash():
    for lock in LOCKS:
        text = (ROOT / lock).read_text("utf-8")
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

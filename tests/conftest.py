"""Fixtures that several test modules share."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.support.paths import REALDATA

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Of `make mutation`: the first failure kills a mutant, and the least one need not be looked for.
settings.register_profile(
    "mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate)
)


@pytest.fixture(autouse=True)
def loggers():
    """Restores the loggers, which a command that runs in this process sets up for itself."""
    states = [
        (x, x.level, x.handlers, x.propagate)
        for x in map(logging.getLogger, ("ich_keras", "tfrecords_tools"))
    ]
    yield
    for logger, level, handlers, propagate in states:
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real DICOM files, which is beside the checkout and not in it."""
    if not REALDATA.is_dir():
        pytest.skip(f"real DICOM files are not here: {REALDATA} is missing")
    return REALDATA


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Few slices of 32 pixels, to train on and to validate on; modules have others of their own."""
    from tests.support.shard_files import write_shards

    return write_shards(tmp_path_factory.mktemp("shards"), train=28, val=14).folder


@pytest.fixture
def undrawn():
    """Figures of one pixel; fixtures of modules use `dots` themselves."""
    from tests.support.pictures import dots

    with dots():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with an experiment in it, so that messages hold short paths."""
    from tests.support.experiment_files import MINIMAL

    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(MINIMAL, encoding="utf-8")
    return tmp_path

"""A bare name is that of a shipped network; what it needs is in the package."""

import io
import logging
import zipfile
from pathlib import Path

import h5py
import pytest

from ich_keras.run.folder import read_input
from ich_keras.run.shipped import NETWORKS, find_run, find_weights, shipped_networks
from ich_keras.scores.postprocessing import read_postprocessing
from tfrecords_tools.errors import UsageError


def test_a_bare_name_is_the_shipped_network_and_a_path_is_a_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    Path("phantom").mkdir()
    with caplog.at_level(logging.INFO, "ich_keras"):
        assert find_run("phantom").path == NETWORKS / "phantom"
    assert "write ./phantom for the folder of that name" in caplog.text
    assert find_weights("phantom") == NETWORKS / "phantom" / "best.keras"
    assert find_weights("./phantom") == Path("phantom")
    for folder in ("./phantom", "phantom/", str(tmp_path / "phantom")):
        with pytest.raises(UsageError, match="not a trained run"):
            find_run(folder)


def test_a_wrong_name_is_answered_with_the_shipped_ones():
    with pytest.raises(UsageError, match=r"the name of a shipped network: .*phantom"):
        find_run("phantoms")


@pytest.mark.parametrize("name", shipped_networks())
def test_a_shipped_network_is_small_and_has_what_answers_need(name):
    run = find_run(name)
    trained = read_input(run)
    assert trained.shards is None
    assert run.best.stat().st_size <= 15_000_000
    assert read_postprocessing(run, trained.network.size) is not None
    assert "For research only" in run.notice
    assert run.notice in run.card.read_text("utf-8")
    with zipfile.ZipFile(run.best) as file:
        weights = h5py.File(io.BytesIO(file.read("model.weights.h5")))
    assert "optimizer" not in weights

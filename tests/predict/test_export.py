"""An export is a folder for others: each runtime gives its answers, and names the labels."""

import json
import shutil
import sys

import numpy as np
import pytest

from ich_keras.model.forward import predict_images
from ich_keras.model.network import load_model
from ich_keras.predict.export import export_model
from ich_keras.predict.loading import load
from ich_keras.run.folder import RunFolder, read_input
from ich_keras.run.shipped import find_run
from ich_keras.scores.postprocessing import read_postprocessing
from tests.support.runtimes import RUNTIMES
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError

PHANTOM = find_run("phantom")


@pytest.mark.parametrize(
    "kind",
    [
        "keras",
        "savedmodel",
        *(pytest.param(x, marks=pytest.mark.integration) for x in ("onnx", "litert", "openvino")),
    ],
)
def test_the_runtime_of_each_format_gives_the_answers_of_the_check(tmp_path, kind):
    path = export_model(PHANTOM, kind, tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text("utf-8"))
    with np.load(tmp_path / metadata["check"]["file"]) as check:
        expected = dict(check)
    assert np.ptp(expected["probabilities"]) > 0.5  # or a network that ignores its input passes
    run, labels = RUNTIMES[kind](path)
    image = expected.pop("image")
    part = image[:1, :96, :80]  # of another number, height and width
    of_part = predict_images(load("phantom").with_maps, part, 1)
    for given, answers in ((image, expected), (part, of_part)):
        outputs = run(given)
        assert outputs.keys() == answers.keys()
        for name, answer in answers.items():
            atol = metadata["check"]["tolerance"]
            np.testing.assert_allclose(outputs[name], answer, rtol=0, atol=atol)
    assert labels == list(LABELS) == metadata["labels"]


def test_a_run_without_a_card_gets_one_with_its_thresholds(tmp_path):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(PHANTOM.path, run.path, ignore=shutil.ignore_patterns("README.md", "*.txt"))
    export_model(run, "keras", tmp_path / "export")
    export_model(run, "savedmodel", tmp_path / "export")
    card = (tmp_path / "export" / "README.md").read_text("utf-8")
    assert "**For research, not for diagnosis.**" in card
    assert "It was not judged" in card
    assert "| `model.keras` |" in card and "| `savedmodel` |" in card
    assert "`model.onnx`" not in card
    fitted = read_postprocessing(run, read_input(run).network.size).thresholds
    assert f"| any | {fitted['slice']['sensitivity_95']['any']:.4f} |" in card


def test_a_network_of_mixed_precision_is_exported_in_single_precision(tmp_path):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(PHANTOM.path, run.path)
    mixed, image = load_model(PHANTOM.best), np.full((1, 64, 64, 3), 128, np.uint8)
    for layer in mixed.layers:
        layer.dtype_policy = "mixed_bfloat16"
    mixed.save(run.best)
    answer = RUNTIMES["keras"](export_model(run, "keras", tmp_path / "export"))[0](image)
    expected = predict_images(load("phantom").with_maps, image, 1)
    for name in expected:
        np.testing.assert_allclose(answer[name], expected[name], rtol=0, atol=1e-6)


def test_missing_packages_are_named_with_what_brings_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"pip install 'ich-keras\[openvino\]'"):
        export_model(PHANTOM, "openvino", tmp_path)
    assert not list(tmp_path.iterdir())

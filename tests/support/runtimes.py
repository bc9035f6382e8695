"""Runs an exported network as those it is for do: without this package.

Each takes the path of an export, and returns a function from `image` to the outputs by name, and
the labels that the export names.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

Run = Callable[[np.ndarray], dict[str, Any]]
REASON = "needs the runtimes of exported networks: make test-slow"


def _keras(path: Path) -> tuple[Run, list[str]]:
    return keras.saving.load_model(path), _labels_in_archive(path)


def _savedmodel(path: Path) -> tuple[Run, list[str]]:
    signatures = tf.saved_model.load(path).signatures
    labels = [x.decode() for x in signatures["labels"]()["labels"].numpy()]
    return lambda image: signatures["serving_default"](image=tf.constant(image)), labels


def _onnx(path: Path) -> tuple[Run, list[str]]:
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
    session = onnxruntime.InferenceSession(path)
    names = [x.name for x in session.get_outputs()]
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    return lambda image: dict(zip(names, session.run(None, {"image": image}), strict=True)), labels


def _litert(path: Path) -> tuple[Run, list[str]]:
    module = pytest.importorskip("ai_edge_litert.interpreter", reason=REASON)

    def run(image: np.ndarray) -> dict[str, Any]:
        interpreter = module.Interpreter(str(path))
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], image.shape)
        return interpreter.get_signature_runner()(image=image)

    return run, _labels_in_archive(path)


def _openvino(path: Path) -> tuple[Run, list[str]]:
    openvino = pytest.importorskip("openvino", reason=REASON)
    core = openvino.Core()
    model = core.read_model(path / "model.xml")
    # Processors that multiply in bfloat16 would do so unless told.
    network = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(image: np.ndarray) -> dict[str, Any]:
        return {x.any_name: value for x, value in network(image).items()}

    return run, model.get_rt_info(["model_info", "labels"]).astype(str).split()


def _labels_in_archive(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.read("labels.txt").decode().split()


RUNTIMES = {
    "keras": _keras,
    "savedmodel": _savedmodel,
    "onnx": _onnx,
    "litert": _litert,
    "openvino": _openvino,
}

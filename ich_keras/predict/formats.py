"""The formats of an exported network, each with the names of the labels in the file.

All have one input, `image`, and the outputs `probabilities` and `class_maps`, of any batch size,
height and width.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from ich_keras.model import network
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError

LABELS_NAME = "labels.txt"  # a member of the files that are zip archives


@dataclass(frozen=True)
class Format:
    """One of the formats; `file` is a folder where it needs several files."""

    file: str
    write: Callable[[keras.Model, Path], None]
    runtime: str  # what runs it
    labels: str  # where it names them


def write_network(model: keras.Model, kind: str, path: Path) -> None:
    """Writes a model that was called before; InputError if packages are missing."""
    try:
        FORMATS[kind].write(model, path)
    except ImportError as error:
        raise InputError(
            f"{kind} needs packages that are missing ({error.name}):"
            f" pip install 'ich-keras[{kind}]'"
        ) from error


def of_keras_layers(model: keras.Model) -> keras.Model:
    """The same network in operations of Keras alone, which can load it without this package."""

    def call(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        own = type(layer).__module__ == network.__name__
        return layer.call(*inputs) if own else layer(*inputs, **options)

    def clone(layer: layers.Layer) -> layers.Layer:
        return of_keras_layers(layer) if isinstance(layer, keras.Model) else layer

    return keras.models.clone_model(model, call_function=call, clone_function=clone)


def _write_keras(model: keras.Model, path: Path) -> None:
    of_keras_layers(model).save(path)
    _append_labels(path)


def _write_savedmodel(model: keras.Model, path: Path) -> None:
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    image = keras.InputSpec(shape=model.input.shape, dtype=model.input.dtype, name="image")
    archive.track_and_add_endpoint("serve", model, [image])
    archive.add_endpoint("labels", lambda: {"labels": tf.constant(LABELS)}, input_signature=[])
    archive.write_out(path, verbose=False)


def _write_onnx(model: keras.Model, path: Path) -> None:
    import onnx

    model.export(path, format="onnx", verbose=False)
    content = onnx.load(path)
    onnx.helper.set_model_props(content, {"labels": json.dumps(LABELS)})
    onnx.save(content, path)


def _write_litert(model: keras.Model, path: Path) -> None:
    model.export(path, format="litert", verbose=False)
    _append_labels(path)


def _write_openvino(model: keras.Model, path: Path) -> None:
    import openvino

    path.mkdir(exist_ok=True)
    graph, weights = path / "model.xml", path / "model.bin"
    model.export(str(graph), format="openvino", verbose=False)
    # As bytes: a file that is read in place cannot be written again.
    content = openvino.Core().read_model(graph.read_bytes(), weights.read_bytes())
    content.set_rt_info(" ".join(LABELS), ["model_info", "labels"])
    openvino.serialize(content, graph)


def _append_labels(path: Path) -> None:
    """A Keras file is a zip archive; one after its end is how a LiteRT file has its labels."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_NAME), "\n".join(LABELS) + "\n")


IN_ARCHIVE = f"`{LABELS_NAME}`, which `unzip` shows"
FORMATS = {
    "savedmodel": Format(
        "savedmodel", _write_savedmodel, "TensorFlow, TensorFlow Serving", "signature `labels`"
    ),
    "onnx": Format("model.onnx", _write_onnx, "ONNX Runtime", "property `labels`, as JSON"),
    "keras": Format("model.keras", _write_keras, "Keras, `ich_keras.load`", IN_ARCHIVE),
    "litert": Format("model.tflite", _write_litert, "LiteRT", IN_ARCHIVE),
    "openvino": Format(
        "openvino", _write_openvino, "OpenVINO", "`model_info/labels` of the runtime information"
    ),
}

"""Exports the network of a run for use elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
from keras import layers

from ich_keras.model import network
from ich_keras.model.network import load_model, with_class_maps
from ich_keras.run.folder import RunFolder, read_input, write_json
from ich_keras.scores.postprocessing import read_postprocessing
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.storage.atomic import whole_file, write_text

NAMES = {"savedmodel": "savedmodel", "onnx": "model.onnx", "keras": "model.keras"}
METADATA_NAME = "metadata.json"  # beside it


def export_model(run: RunFolder, kind: str, out: Path) -> Path:
    """Writes the network with both outputs, `probabilities` and `class_maps`; returns its path.

    Height and width stay free. `metadata.json` beside it describes the input, and the model card of
    a shipped network is copied. `kind` is `savedmodel`, `onnx` or `keras`.

    Raises:
        InputError: if the ONNX packages are not installed.
        UsageError: if an export of this kind exists.
    """
    target = out / NAMES[kind]
    if target.exists():
        raise UsageError(f"{target} exists already; give another --out, or remove it")
    network_input = read_input(run).network
    model = with_class_maps(load_model(run.best))
    model(
        keras.ops.zeros((1, 64, 64, network_input.channels), "uint8")
    )  # the ONNX export needs a called model
    with whole_file(target) as temporary:
        _write(model, kind, temporary)
    postprocessing = read_postprocessing(run, network_input.size)
    metadata = {
        "input": "uint8, (slices, height, width, channels), windowed HU",
        "steps": [
            "pad the slice in HU to a square with air (-1000 HU), centred",
            "average HU over the area of each pixel to shard_size x shard_size",
            "window: round(255 * clip((HU - (center - width / 2)) / width, 0, 1))",
            "average the grey levels over the area of each pixel to size x size, and round",
        ],
        "channels": "of each window in turn, the slices from the lowest neighbour to the highest",
        **network_input.as_json(),
        "labels": list(LABELS),
        "fitted_on_validation": postprocessing and asdict(postprocessing),
        "notice": run.notice or "for research, not for diagnosis",
    }
    write_json(out / METADATA_NAME, metadata)
    if run.card.is_file():
        write_text(out / run.card.name, run.card.read_text("utf-8"))
    return target


def _write(model: keras.Model, kind: str, path: Path) -> None:
    if kind == "keras":
        of_keras_layers(model).save(path)
    elif kind == "savedmodel":
        model.export(path, verbose=False)
    else:
        try:
            model.export(path, format="onnx", verbose=False)
        except ImportError as error:
            raise InputError(
                f"ONNX needs packages that are missing ({error.name}):"
                " pip install 'ich-keras[onnx]'"
            ) from error


def of_keras_layers(model: keras.Model) -> keras.Model:
    """The same network in operations of Keras alone, which can load it without this package."""

    def call(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        own = type(layer).__module__ == network.__name__
        return layer.call(*inputs) if own else layer(*inputs, **options)

    return keras.models.clone_model(model, call_function=call, clone_function=lambda layer: layer)

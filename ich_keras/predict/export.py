"""Exports the network of a run for use elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_keras.data.network_input import NetworkInput
from ich_keras.evaluation.model_card import model_card
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.mirror import as_answering
from ich_keras.model.network import load_model, with_class_maps
from ich_keras.predict.formats import FORMATS, write_network
from ich_keras.run.folder import RunFolder, read_input, write_json
from ich_keras.scores.postprocessing import Postprocessing, read_postprocessing
from ich_keras.view.templates import render_markdown
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.atomic import whole_file, write_text

METADATA_NAME = "metadata.json"  # beside it
CHECK_NAME = "check.npz"
TOLERANCE = 1e-4  # of outputs in 0..1; the runtimes of the tests differ by less than 2e-6
BLOCK = 8  # pixels


def export_model(run: RunFolder, kind: str, out: Path) -> Path:
    """Writes the network in single precision into a folder for others; returns its path.

    `metadata.json` beside it describes the input, `README.md` is the model card, and `check.npz`
    has an input with the outputs that belong to it. `kind` is a key of FORMATS.

    Raises:
        InputError: if the packages of the format are not installed.
        UsageError: if an export of this kind exists.
    """
    target = out / FORMATS[kind].file
    if target.exists():
        raise UsageError(f"{target} exists already; give another --out, or remove it")
    network_input = read_input(run).network
    fitted = read_postprocessing(run, network_input.size)
    card = run.card.read_text("utf-8") if run.card.is_file() else model_card(run)
    evaluation = load_experiment(str(run.experiment)).evaluation
    model = as_answering(_in_single_precision(load_model(run.best)), evaluation)
    model = with_class_maps(model)
    check = _check(model, network_input)  # the ONNX export needs a called model
    with whole_file(target) as temporary:
        write_network(model, kind, temporary)
    write_json(out / METADATA_NAME, _metadata(run, network_input, fitted))
    with whole_file(out / CHECK_NAME) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **check)
    write_text(out / run.card.name, f"{card.rstrip()}\n\n{_description(out, fitted)}")
    return target


def _in_single_precision(model: keras.Model) -> keras.Model:
    """A mixed one becomes so: not every format and runtime has the halves."""
    for layer in model.layers:
        layer.dtype_policy = "float32"
    return model


def _check(model: keras.Model, network_input: NetworkInput) -> dict[str, Any]:
    """Two slices of random blocks, large enough for the network to see, and its answer."""
    size, channels = network_input.size, network_input.channels
    blocks = -(-size // BLOCK)
    grey = np.random.default_rng(0).integers(0, 256, (2, blocks, blocks, channels), np.uint8)
    image = grey.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)[:, :size, :size]
    outputs = model(image, training=False)
    return {"image": image} | {name: np.asarray(x) for name, x in outputs.items()}


def _metadata(
    run: RunFolder, network_input: NetworkInput, fitted: Postprocessing | None
) -> dict[str, Any]:
    return {
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
        "fitted_on_validation": fitted and asdict(fitted),
        "check": {"file": CHECK_NAME, "tolerance": TOLERANCE},
        "notice": run.notice or "for research, not for diagnosis",
    }


def _description(out: Path, fitted: Postprocessing | None) -> str:
    """What the folder holds now, and the thresholds, as Markdown."""
    return render_markdown(
        "export.md.j2",
        formats=[x for x in FORMATS.values() if (out / x.file).exists()],
        metadata=METADATA_NAME,
        check=CHECK_NAME,
        tolerance=TOLERANCE,
        fitted=fitted,
        labels=LABELS,
    )

"""Loads a network with what was fitted for it: of a run, one that is shipped, or an export."""

import json
import logging
from pathlib import Path

import keras

from ich_keras.data.network_input import NetworkInput, network_input_from_json
from ich_keras.experiment.experiment import load_experiment
from ich_keras.model.forward import compile_forward
from ich_keras.model.mirror import as_answering
from ich_keras.model.network import CLASS_MAPS, PROBABILITIES, load_model, with_class_maps
from ich_keras.predict.detector import Detector
from ich_keras.predict.export import METADATA_NAME
from ich_keras.run.folder import RunError, RunFolder, read_input
from ich_keras.run.shipped import find_run
from ich_keras.scores.postprocessing import (
    Postprocessing,
    answer_thresholds,
    postprocessing_from_json,
    read_postprocessing,
)
from tfrecords_tools.classes import ANY, LABELS
from tfrecords_tools.errors import InputError, UsageError

log = logging.getLogger(__name__)

MIN_SIZE = 16  # pixels


def load(network: str | Path, *, size: int | None = None, smooth: bool = False) -> Detector:
    """Loads the network of a run, of the program (`phantom`), or an exported `.keras` file.

    `size` is the edge of a slice in pixels, by default that of the training. `smooth` smooths over
    the slices of each series, as fitted on validation.

    Raises:
        UsageError: if there is no such network.
        InputError: if it is damaged, or for `smooth`, if no smoothing was fitted on validation.
    """
    if size is not None and size < MIN_SIZE:
        raise UsageError(f"size: {size}; give at least {MIN_SIZE} pixels")
    if Path(network).suffix == ".keras":
        return _load_export(Path(network), size=size, smooth=smooth)
    return load_detector(find_run(str(network)), size=size, smooth=smooth)


def load_detector(
    run: RunFolder, *, size: int | None, smooth: bool, threshold: float | None = None
) -> Detector:
    """The network of a run at a size, by default that of the training.

    `threshold` takes the place of the fitted one of `any`.

    Raises:
        RunError: for `smooth`, if no smoothing was fitted on validation.
    """
    trained = read_input(run).network
    network_input = trained.at(size or trained.size)
    fitted = read_postprocessing(run, network_input.size)
    if fitted is None:
        advice = (
            f"`ich-keras evaluate {run.path} --size {network_input.size}` fits it on validation"
        )
        if read_input(run).shards is None:
            advice = "the network came without the slices to fit it on"
        _report_unfitted(run.path, network_input.size, advice, smooth)
    evaluation = load_experiment(str(run.experiment)).evaluation
    model = with_class_maps(as_answering(load_model(run.best), evaluation))
    return _detector(model, network_input, fitted, run.notice, smooth, threshold)


def _load_export(path: Path, *, size: int | None, smooth: bool) -> Detector:
    """A `.keras` file that `ich-keras export` wrote, with its metadata beside it."""
    metadata = path.with_name(METADATA_NAME)
    for needed in (path, metadata):
        if not needed.is_file():
            raise UsageError(
                f"{path}: {needed.name} is missing; give a file that `ich-keras export --format"
                f" keras` wrote, with its {METADATA_NAME} beside it, or the folder of a run"
            )
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
        trained, notice = network_input_from_json(content), str(content["notice"])
        fitted = content["fitted_on_validation"]
        postprocessing = postprocessing_from_json(fitted) if fitted else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{metadata}: damaged ({error}); export the network again") from error
    network_input = trained.at(size or trained.size)
    if postprocessing is None or postprocessing.source.size != network_input.size:
        postprocessing = None
        _report_unfitted(path, network_input.size, "export an evaluated run at this size", smooth)
    return _detector(_exported_model(path), network_input, postprocessing, notice, smooth)


def _exported_model(path: Path) -> keras.Model:
    """A model with both outputs, read in Keras' safe mode, which runs no code from the file."""
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a readable network ({reason}); export it again") from error
    if not isinstance(model.output, dict) or set(model.output) != {PROBABILITIES, CLASS_MAPS}:
        raise InputError(f"{path}: has no class maps; give a file that `ich-keras export` wrote")
    return model


def _detector(
    model: keras.Model,
    network_input: NetworkInput,
    fitted: Postprocessing | None,
    notice: str,
    smooth: bool,
    own_threshold: float | None = None,
) -> Detector:
    return Detector(
        network_input,
        compile_forward(model),
        _thresholds(fitted, smooth, own_threshold),
        fitted.smoothing if fitted and smooth else None,
        notice,
        own_threshold,
    )


def _report_unfitted(path: Path, size: int, advice: str, smooth: bool) -> None:
    if smooth:
        raise RunError(f"{path}: no smoothing is fitted for {size} pixels; {advice}")
    log.info("no threshold is fitted for %d pixels; %s", size, advice)


def _thresholds(
    fitted: Postprocessing | None, smooth: bool, own_threshold: float | None
) -> dict[str, float | None] | None:
    """Those of studies; None if validation gave none, and that of `any` is not given."""
    thresholds: dict[str, float | None] = dict.fromkeys(LABELS)
    if fitted:
        level = "study_smoothed" if smooth else "study"
        thresholds = answer_thresholds(fitted.thresholds[level])
    if own_threshold is not None:
        return thresholds | {LABELS[ANY]: own_threshold}
    if any(value is not None for value in thresholds.values()):
        return thresholds
    if fitted:
        log.info("no column `found`: validation had no studies both with and without a hemorrhage")
    return None

"""Checks before the first step: of the shards, the folder of the run, and initial weights."""

import keras

from ich_keras.data.shards import DatasetError, ShardSet
from ich_keras.experiment.experiment import Experiment, experiment_to_yaml
from ich_keras.experiment.schema import ModelConfig
from ich_keras.experiment.yaml_files import ConfigError, read_file
from ich_keras.model.network import load_model, stride
from ich_keras.run.folder import (
    RunError,
    RunFolder,
    RunInput,
    read_input,
    write_input,
)
from ich_keras.run.recorded import differences, parse_recorded, without_shards
from ich_keras.run.shipped import find_weights, or_shipped
from tfrecords_tools.errors import InputError
from tfrecords_tools.storage.atomic import write_text


class TrainingError(InputError):
    """A run that cannot continue."""


def claim_folder(run: RunFolder, experiment: Experiment, shards: ShardSet, *, resume: bool) -> None:
    """Writes experiment and input of the run, unless the folder holds them already.

    Raises:
        RunError: if it holds another run, a damaged one, or one of another version.
    """
    if run.experiment.is_file():
        if not resume:
            raise RunError(f"{run.path}: holds a run already; give another --run, or --resume")
        _refuse_other_run(run, experiment, shards.manifest.fingerprint)
        return
    shards_folder = str(shards.folder.resolve())
    write_input(run, RunInput(shards.input, shards_folder, shards.manifest.fingerprint))
    write_text(run.experiment, experiment_to_yaml(experiment))


def check_shards(shards: ShardSet, experiment: Experiment) -> None:
    """Checks what would otherwise fail at the first step or at the first validation.

    Raises:
        DatasetError: if slices are smaller than a cell of the class map, or a split is empty or
            lacks the positive slices that the monitored score needs.
    """
    cell = stride(experiment.model)
    if shards.input.size < cell:
        raise DatasetError(
            f"{shards.folder}: slices of {shards.input.size} pixels are smaller than a cell of the"
            f" class map, {cell} pixels; convert larger ones, or give model.widths fewer stages"
        )
    splits = {name: split for name, split in shards.manifest.splits.items() if split.slices}
    if not {"train", "val"} <= splits.keys():
        held = ", ".join(f"{split.slices:,} slices of {name}" for name, split in splits.items())
        raise DatasetError(
            f"{shards.folder}: holds {held}, and a training needs labelled slices of train and of"
            " val; convert again, with the label file beside the DICOM files and a share of both"
            " in --split"
        )
    if experiment.training.monitor == "mean_auc" and not any(splits["val"].positives.values()):
        raise DatasetError(
            f"{shards.folder}: no slice of the split val bleeds, so the mean AUC is undefined;"
            " convert with another --split or --seed, or set training.monitor to loss"
        )
    shards.check_index("val")  # the index of train is checked as training begins


def warm_start(model: keras.Model, config: ModelConfig) -> None:
    """Takes the weights of another run or a shipped network, whose slices may have any size.

    Raises:
        RunError: if there is no such file, or its network is another one.
    """
    if config.weights is None:
        return
    path = find_weights(config.weights)
    if not path.is_file():
        raise RunError(
            f"model.weights: no such file {path}; give the best.keras of a run, {or_shipped()}"
        )
    other = load_model(path)
    shapes = [tuple(x.shape) for x in other.weights]
    if shapes != [tuple(x.shape) for x in model.weights]:
        raise RunError(
            f"model.weights: {path} is of another network; widths, blocks, normalization and the"
            " number of windows and neighbours must be the same"
        )
    model.set_weights(other.get_weights())


def _refuse_other_run(run: RunFolder, experiment: Experiment, fingerprint: str) -> None:
    before, now = (
        without_shards(x.model_dump(mode="json")) for x in (_recorded_experiment(run), experiment)
    )
    changed = differences(before, now)
    if changed:
        raise RunError(
            f"{run.experiment}: is the run of another experiment, which differs in"
            f" {changed}; give another --run"
        )
    if read_input(run).fingerprint != fingerprint:
        raise RunError(f"{run.path}: was trained on other shards; give those, or another --run")


def _recorded_experiment(run: RunFolder) -> Experiment:
    try:
        content = read_file(run.experiment).content
    except ConfigError as error:
        raise RunError(f"{error}; the file is damaged, so give another --run") from error
    return parse_recorded(Experiment, content, str(run.experiment))

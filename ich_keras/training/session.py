"""What one session of a run computes with: network, optimizer, step and batches."""

import logging
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from ich_keras.data.batches import training_batches
from ich_keras.data.shards import ShardSet
from ich_keras.experiment.experiment import Experiment
from ich_keras.model.forward import Forward, compile_forward
from ich_keras.model.network import build_model, stride
from ich_keras.model.summary import summarize
from ich_keras.run.environment import Computation, current_environment, record_session
from ich_keras.run.folder import RunFolder
from ich_keras.run.state import Position
from ich_keras.training.checks import warm_start
from ich_keras.training.devices import (
    ChiefsValue,
    Workers,
    device_names,
    warn_without_gpu,
)
from ich_keras.training.losses import Loss, constant_guess_loss, make_loss, make_map_loss
from ich_keras.training.schedule import Schedule
from ich_keras.training.train_step import (
    TrainSteps,
    compile_train_step,
    compile_train_steps,
    make_optimizer,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """One session of a run, in one of the processes that train together."""

    experiment: Experiment
    shards: ShardSet
    run: RunFolder
    workers: Workers
    strategy: tf.distribute.Strategy
    computation: Computation
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: Loss
    forward: Forward  # the network without dropout
    train_steps: TrainSteps
    chiefs_value: ChiefsValue  # makes all workers decide by the same score

    @property
    def validation_slices(self) -> int:
        """Slices of one validation."""
        available = self.shards.slices("val")
        return min(self.experiment.training.validation_slices or available, available)

    @property
    def variables(self) -> list[Any]:
        """All that a step changes: weights, statistics, dropout seeds, and the optimizer's own."""
        return [*self.model.variables, *self.optimizer.variables]


def open_session(
    experiment: Experiment,
    shards: ShardSet,
    run: RunFolder,
    workers: Workers,
    strategy: tf.distribute.Strategy,
    computation: Computation,
) -> Session:
    """Builds the network as it is before the first step, and compiles what computes with it.

    Raises:
        RunError: if `model.weights` are of another network.
    """
    config = experiment.training
    keras.utils.set_random_seed(experiment.seed)
    tf.random.set_seed(max(experiment.seed, 1))  # tf.data fails at 0 beside a seed of a pass
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(computation.precision)
    with strategy.scope():
        model = build_model(
            experiment.model,
            shards.input.channels,
            synchronized=strategy.num_replicas_in_sync > 1,
            compiled=computation.jit_compile,
        )
        warm_start(model, experiment.model)
        optimizer = make_optimizer(config)
        optimizer.build(model.trainable_variables)
    loss = make_loss(config)
    step = compile_train_step(
        *(strategy, model, optimizer, loss, config.batch_size, computation.jit_compile),
        map_loss=make_map_loss(config) if trains_maps(experiment, shards) else None,
    )
    return Session(
        *(experiment, shards, run, workers, strategy, computation, model, optimizer, loss),
        forward=compile_forward(model),
        train_steps=compile_train_steps(step),
        chiefs_value=ChiefsValue(strategy, workers),
    )


def batches_from(session: Session, start_step: int) -> Any:
    """Returns the batches of this worker from a step on, each in one part per device.

    For a single processor the dataset is returned as it is. `distribute_datasets_from_function`
    prefetches to the device, so that each step on a processor allocates its memory again from the
    system and takes 1.5 times as long.
    """
    experiment = session.experiment
    batch_size = experiment.training.batch_size
    dataset = training_batches(
        session.shards,
        experiment.data,
        batch_size=batch_size,
        seed=experiment.seed,
        start_step=start_step,
        worker=session.workers.index,
        workers=session.workers.count,
        cell=stride(experiment.model) if trains_maps(experiment, session.shards) else None,
    )
    if device_names(session.strategy) == ["CPU:0"]:
        return dataset
    share = batch_size // session.strategy.num_replicas_in_sync
    return session.strategy.distribute_datasets_from_function(
        lambda _: dataset.rebatch(share, drop_remainder=True)
    )


def trains_maps(experiment: Experiment, shards: ShardSet) -> bool:
    """Returns whether class maps are trained on masks too."""
    return experiment.training.map_weight > 0 and shards.manifest.format.masks


def record(session: Session, position: Position) -> None:
    """Adds the session to `environment.json`."""
    devices = [device.name for device in tf.config.list_logical_devices()]
    fingerprint, seed = session.shards.manifest.fingerprint, session.experiment.seed
    record_session(
        session.run,
        position.step,
        current_environment(devices, session.computation),
        {"data_fingerprint": fingerprint, "seed": seed},
    )


def describe(session: Session, schedule: Schedule, position: Position) -> None:
    """Logs the size of the network and of the data, and the scores that a constant reaches."""
    warn_without_gpu()
    shards, experiment, workers = session.shards, session.experiment, session.workers
    size = shards.input.size
    summary = summarize(session.model, experiment.model, size, shards.pixel_mm)
    field = f"{summary.receptive_field} px"
    if summary.receptive_field_mm is not None:
        field += f" or {summary.receptive_field_mm:.0f} mm"
    log.info(
        f"{experiment.name}: {summary.parameters:,} parameters,"
        f" {summary.multiply_adds / 1e6:.0f} million multiply-adds per slice of {size} px,"
        f" a receptive field of {field}"
    )
    log.info(
        f"{shards.slices('train'):,} slices to train on, on"
        f" {', '.join(device_names(session.strategy))} of worker {workers.index} of {workers.count}"
    )
    if experiment.training.batch_size > shards.slices("train"):
        log.warning(
            f"training.batch_size {experiment.training.batch_size} is more than all slices to train"
            " on: a step sees some of them twice; give a smaller one, or convert more studies"
        )
    if experiment.training.map_weight and not shards.manifest.format.masks:
        log.warning(
            f"{shards.folder}: holds no masks, so class maps are trained by the labels of slices"
            " alone, without training.map_weight; `ich-keras convert --masks` stores masks"
        )
    prevalences = shards.prevalences("val")
    log.info(
        "on the validation slices the best constant guess has a loss of"
        f" {constant_guess_loss(experiment.training, prevalences):.4f}, and always answering"
        f' "no" an accuracy of {1 - prevalences.mean():.4f}'
    )
    slices = session.validation_slices
    percent = 100 * schedule.validation_share(slices)
    log.info(
        f"a validation takes {slices:,} slices, all validations about {percent:.0f} % of the"
        " multiply-adds"
    )
    if position.step:
        log.info(f"resumed at step {position.step}")

"""How fast a training step is, in `fit` and alone, and the network relative to a convolution.

    python -m benchmarks.step [SHARDS] --experiment halfres.yaml --size 256
    KERAS_BACKEND=jax python -m benchmarks.step --experiment halfres.yaml --size 256

Without SHARDS, only the network is measured, on any backend in `network_pass.BACKENDS`; for JAX,
install it beside this package.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import click
import keras
import numpy as np
import pandas as pd

from benchmarks.network_pass import measure_network
from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.model.network import build_model

NEVER = 1_000_000  # steps


def _bare_step(experiment: Experiment, channels: int, size: int) -> partial:
    """A training step on a batch that stays in memory, to be called without arguments."""
    import tensorflow as tf

    from ich_keras.training.devices import find_workers, make_strategy, resolve_strategy
    from ich_keras.training.losses import make_loss
    from ich_keras.training.train_step import (
        compile_train_step,
        make_optimizer,
        resolve_computation,
    )

    config = experiment.training
    name = resolve_strategy(config.strategy, find_workers())
    strategy = make_strategy(name)
    xla = resolve_computation(config, name, strategy.num_replicas_in_sync).jit_compile
    with strategy.scope():
        model = build_model(experiment.model, channels)
        optimizer = make_optimizer(config)
        optimizer.build(model.trainable_variables)
    step = compile_train_step(strategy, model, optimizer, make_loss(config), config.batch_size, xla)
    rng = np.random.default_rng(0)
    image = tf.constant(rng.integers(0, 256, (config.batch_size, size, size, channels), np.uint8))
    label = tf.constant(rng.integers(0, 2, (config.batch_size, 6)).astype(np.float32))

    return partial(step, image, label)


def _bare_seconds(step: partial, steps: int) -> float:
    """Seconds per step, after one that is not counted."""
    step()[0].numpy()
    began = time.perf_counter()
    for _ in range(steps):
        loss, _ = step()
    loss.numpy()
    return (time.perf_counter() - began) / steps


def _fit_seconds(experiment: Experiment, folder: Path) -> float:
    """Seconds per step of `fit`, between the first row of its history and the last."""
    from ich_keras.run.folder import RunFolder
    from ich_keras.training.fit import fit

    with tempfile.TemporaryDirectory() as path:
        run = RunFolder(Path(path))
        fit(experiment, folder, run)
        history = pd.read_csv(run.history)
    return np.ptp(history["seconds"]) / np.ptp(history["step"])


def measure_fit(experiment: Experiment, folder: Path, steps: int, repeats: int) -> None:
    """Prints the rate of `fit` relative to that of its step alone, measured in turn."""
    from ich_keras.data.shards import open_shards

    shards = open_shards(folder, experiment.data)
    step = _bare_step(experiment, shards.input.channels, shards.input.size)
    ratios = []
    for _ in range(repeats):
        before = _bare_seconds(step, steps)
        fitted = _fit_seconds(experiment, folder)
        ratios.append((before + _bare_seconds(step, steps)) / 2 / fitted)
        click.echo(f"fit {experiment.training.batch_size / fitted:.1f} slices/s: {ratios[-1]:.3f}")
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    click.echo(f"fit reaches {np.median(ratios):.3f} of the rate of its step alone ({spread})")


@click.command(help=__doc__.splitlines()[0])
@click.argument(
    "folder", metavar="[SHARDS]", required=False, type=click.Path(exists=True, path_type=Path)
)
@click.option("--experiment", "name", default="demo.yaml", show_default=True)
@click.option("--size", default=256, show_default=True, help="Edge of a slice in pixels.")
@click.option("--channels", default=3, show_default=True, help="Of the network measured alone.")
@click.option("--precision", default="float32", show_default=True)
@click.option("--steps", default=20, show_default=True, help="Of each measurement.")
@click.option("--repeats", default=3, show_default=True, help="Of fit and its step, in turn.")
def main(
    folder: Path | None,
    name: str,
    size: int,
    channels: int,
    precision: str,
    steps: int,
    repeats: int,
) -> None:
    """Prints both parts."""
    training = {
        "precision": precision,
        "log_every": steps,
        "max_steps": 2 * steps,
        "validate_every": NEVER,
        "figure_every": NEVER,
        "validation_slices": 1,
        "warmup_steps": 0,
    }
    settings = [f"training.{key}={value}" for key, value in training.items()]
    experiment = load_experiment(name, [*settings, f"data.size={size}"])
    keras.config.set_dtype_policy(precision)
    if folder is not None:
        measure_fit(experiment, folder, steps, repeats)
    measure_network(experiment, size, channels)


if __name__ == "__main__":
    main()

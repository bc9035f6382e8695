"""How fast a training step is, in `fit` and alone, and the network relative to a convolution.

    python -m benchmarks.step [SHARDS] --experiment halfres.yaml --size 256
    python -m benchmarks.step --torch --experiment demo.yaml --size 128
    KERAS_BACKEND=jax python -m benchmarks.step --variants --experiment halfres.yaml --size 256

With SHARDS, `fit` is compared with its step alone; with --torch, the step with that of the equal
network in PyTorch. Otherwise only the network is measured, on any backend in
`network_pass.BACKENDS`. PyTorch and JAX are to be installed beside this package.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import click
import keras
import numpy as np
import pandas as pd

from benchmarks.network_pass import measure_network, measure_variants
from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.model.network import build_model

NEVER = 1_000_000  # steps
WARM = 3  # steps that are not measured, since they compile


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
        model = build_model(experiment.model, channels, compiled=xla)
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


def measure_torch(experiment: Experiment, size: int, channels: int, repeats: int) -> None:
    """Prints the step's rate relative to that of the equal network in PyTorch, measured in turn."""
    from benchmarks.torch_fcn import training_step

    config, batch = experiment.training, (experiment.training.batch_size, size, size, channels)
    ours = _bare_step(experiment, channels, size)
    steps = {
        "this network": lambda: ours()[0].numpy(),
        "PyTorch": training_step(experiment.model, config, batch, compiled=False),
        "PyTorch, compiled": training_step(experiment.model, config, batch, compiled=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + WARM):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if turn >= WARM:
                seconds[name].append(time.perf_counter() - began)
    table = pd.DataFrame(seconds) * 1000
    ratios = table.div(table["this network"], axis=0).median()
    rows = pd.DataFrame({"ms, median": table.median(), "ms, least": table.min(), "ratio": ratios})
    click.echo(rows.to_string(float_format=lambda x: f"{x:.3g}"))


@click.command(help=__doc__.splitlines()[0])
@click.argument(
    "folder", metavar="[SHARDS]", required=False, type=click.Path(exists=True, path_type=Path)
)
@click.option("--experiment", "name", default="demo.yaml", show_default=True)
@click.option("--size", default=256, show_default=True, help="Edge of a slice in pixels.")
@click.option("--channels", default=3, show_default=True, help="Of the network measured alone.")
@click.option("--precision", default="float32", show_default=True)
@click.option("--steps", default=20, show_default=True, help="Of each measurement.")
@click.option("--repeats", default=3, show_default=True, help="Of what is measured in turn.")
@click.option("--torch", "with_torch", is_flag=True, help="Compare with PyTorch.")
@click.option("--variants", is_flag=True, help="Compare batch sizes, precisions and poolings.")
def main(
    folder: Path | None,
    name: str,
    size: int,
    channels: int,
    precision: str,
    steps: int,
    repeats: int,
    with_torch: bool,
    variants: bool,
) -> None:
    """Prints what is asked for."""
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
    if with_torch:
        measure_torch(experiment, size, channels, repeats)
    elif variants:
        measure_variants(experiment, size, channels)
    else:
        measure_network(experiment, size, channels)


if __name__ == "__main__":
    main()

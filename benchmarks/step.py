"""How fast a step is: `fit` beside its own step, and the network beside the machine's convolution.

    python -m benchmarks.step [SHARDS] --experiment halfres.yaml --size 256
    KERAS_BACKEND=jax python -m benchmarks.step --experiment halfres.yaml --size 256

Without SHARDS only the network is measured, which any backend of Keras in BACKENDS can: for JAX
install it beside this package. Where PyTorch and a GPU are there too, the equal network of
`torch_fcn.py` is put beside it.
"""

import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import pandas as pd

from ich_keras.experiment.experiment import Experiment, load_experiment
from ich_keras.model.network import build_model

Pass = Callable[[], Any]  # returns one small array that is ready when all is done
NEVER = 1_000_000  # steps
MIN_SECONDS = 0.3  # of a measurement


# --- forward and backward, by backend -------------------------------------------------------------


def _by_tensorflow(model: keras.Model, x: list, upstream: Any) -> Pass:
    import tensorflow as tf

    on_gpu = bool(tf.config.list_physical_devices("GPU"))

    @tf.function(jit_compile=on_gpu)
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return tape.gradient(y, [*x, *model.trainable_weights], output_gradients=upstream)

    return run


def _by_jax(model: keras.Model, x: list, upstream: Any) -> Pass:
    import jax

    weights = [x.value for x in model.trainable_variables]
    state = [x.value for x in model.non_trainable_variables]

    @jax.jit
    def run(weights: Any, x: Any) -> Any:
        def forward(weights: Any, x: Any) -> Any:
            return model.stateless_call(weights, state, x, training=True)[0]

        _, backward = jax.vjp(forward, weights, x)
        weight_gradients, x_gradient = backward(upstream)
        return [*x_gradient, *weight_gradients]

    return lambda: run(weights, x)


BACKENDS = {"tensorflow": _by_tensorflow, "jax": _by_jax}


def _seconds(run: Pass) -> float:
    """The best of three, each long enough; whatever else the machine does only takes time away."""

    def measure(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            gradients = run()
        keras.ops.convert_to_numpy(gradients[-1])  # waits for a GPU
        return (time.perf_counter() - began) / count

    measure(2)
    count = max(1, round(MIN_SECONDS / measure(1)))
    return min(measure(count) for _ in range(3))


# --- the network and its layers -------------------------------------------------------------------


def _time_layer(layer: keras.Layer, shapes: list[tuple], output: tuple) -> float:
    """Seconds of one forward and backward pass of a layer, or of a model, on noise."""
    inputs = [keras.Input(batch_shape=shape, dtype=layer.compute_dtype) for shape in shapes]
    alone = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]))
    rng = np.random.default_rng(0)
    *x, upstream = [
        keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"), dtype)
        for shape, dtype in [
            *((shape, layer.compute_dtype) for shape in shapes),
            (output, alone.outputs[0].dtype),
        ]
    ]
    return _seconds(BACKENDS[keras.backend.backend()](alone, x, upstream))


def _shapes(model: keras.Model, batch: tuple) -> dict[str, tuple[list[tuple], tuple]]:
    """Layer name to the shapes of its inputs and of its output."""
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    tensors = {x.name: [x.input] if not isinstance(x.input, list) else x.input for x in layers}
    found = {}
    for layer in layers:
        probe = keras.Model(model.input, [*tensors[layer.name], layer.output])
        *inputs, output = probe.compute_output_shape(batch)
        found[layer.name] = (inputs, output)
    return found


def _multiply_adds(layer: keras.Layer, output: tuple) -> int:
    """Of a convolution, forward, for the whole batch; 0 of other layers."""
    if not isinstance(layer, keras.layers.Conv2D):
        return 0
    batch, rows, columns, _ = output
    return batch * rows * columns * int(np.prod(layer.kernel.shape))


def layer_table(model: keras.Model, batch: tuple) -> pd.DataFrame:
    """A row a layer: seconds forward and backward, and multiply-adds a second.

    Args:
        model: the network.
        batch: the shape of its input.
    """
    rows = []
    for name, (inputs, output) in _shapes(model, batch).items():
        layer = model.get_layer(name)
        seconds = _time_layer(layer, inputs, output)
        # Backward are two convolutions more: of the gradient of the input, and of the kernel's.
        work = 3 * _multiply_adds(layer, output)
        rows.append({"layer": name, "output": output[1:], "seconds": seconds, "MAC": work})
    table = pd.DataFrame(rows).set_index("layer")
    table["share of time"] = table["seconds"] / table["seconds"].sum()
    table["GMAC"] = table["MAC"] / 1e9
    table["GMAC/s"] = table["GMAC"] / table["seconds"]
    return table


def measure_network(experiment: Experiment, size: int, channels: int) -> None:
    """Prints the layers, the convolution peak, and how near the network comes to it."""
    model = build_model(experiment.model, channels)
    batch = (experiment.training.batch_size, size, size, channels)
    table = layer_table(model, batch)
    columns = ["output", "seconds", "share of time", "GMAC", "GMAC/s"]
    click.echo(table[columns].to_string(float_format=lambda x: f"{x:.4g}"))
    network = _time_network(model, batch)
    rate, peak = table["GMAC"].sum() / network, _convolution_peak(model, table)
    click.echo(
        f"{keras.backend.backend()}, {model.compute_dtype}: forward and backward"
        f" {batch[0] / network:.1f} slices/s, {rate:.1f} GMAC/s, {rate / peak:.0%} of the"
        f" {peak:.1f} GMAC/s of the best 3x3 convolution; the layers one by one take"
        f" {table['seconds'].sum() / network:.0%} of the network's time"
    )
    _compare_with_torch(experiment, batch, network)


def _convolution_peak(model: keras.Model, table: pd.DataFrame) -> float:
    """The highest rate of a single 3x3 convolution of the network; GMAC/s."""
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    return max(table.loc[x.name, "GMAC/s"] for x in convolutions if x.kernel_size == (3, 3))


def _time_network(model: keras.Model, batch: tuple) -> float:
    """Seconds of one pass of the whole network, as one graph."""
    body = keras.Model(model.get_layer("rescaling").output, model.output)
    return _time_layer(body, [batch], (batch[0], model.output.shape[-1]))


def _compare_with_torch(experiment: Experiment, batch: tuple, seconds: float) -> None:
    if find_spec("torch") is None:
        return
    from benchmarks.torch_fcn import seconds_of_pass

    other = seconds_of_pass(experiment.model, batch)
    if other is not None:
        click.echo(
            f"the equal network in PyTorch: {batch[0] / other:.1f} slices/s; this one has"
            f" {other / seconds:.2f} of its rate"
        )


# --- fit, beside its own step ---------------------------------------------------------------------


def _bare_seconds(experiment: Experiment, channels: int, size: int) -> Callable[[int], float]:
    """A function from a number of steps to the seconds of one, on a batch that stays in memory."""
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

    def measure(steps: int) -> float:
        step(image, label)[0].numpy()
        began = time.perf_counter()
        for _ in range(steps):
            loss, _ = step(image, label)
        loss.numpy()
        return (time.perf_counter() - began) / steps

    return measure


def _fit_seconds(experiment: Experiment, folder: Path) -> float:
    """Seconds of a step of `fit`, between the first row of its history and the last."""
    from ich_keras.run.folder import RunFolder
    from ich_keras.training.fit import fit

    with tempfile.TemporaryDirectory() as path:
        run = RunFolder(Path(path))
        fit(experiment, folder, run)
        history = pd.read_csv(run.history)
    return np.ptp(history["seconds"]) / np.ptp(history["step"])


def measure_fit(experiment: Experiment, folder: Path, steps: int, repeats: int) -> None:
    """Prints the rate of `fit` over that of its step alone, taken in turn."""
    from ich_keras.data.shards import open_shards

    shards = open_shards(folder, experiment.data)
    bare = _bare_seconds(experiment, shards.input.channels, shards.input.size)
    ratios = []
    for _ in range(repeats):
        before = bare(steps)
        fitted = _fit_seconds(experiment, folder)
        ratios.append((before + bare(steps)) / 2 / fitted)
        click.echo(f"fit {experiment.training.batch_size / fitted:.1f} slices/s: {ratios[-1]:.3f}")
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    click.echo(f"fit has {np.median(ratios):.3f} of the rate of its step alone ({spread})")


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

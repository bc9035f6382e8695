"""Time of forward and backward passes of the network and of its single layers.

Runs on any backend of Keras in BACKENDS.
"""

import time
from collections.abc import Callable
from itertools import product
from typing import Any

import click
import keras
import numpy as np
import pandas as pd

from ich_keras.experiment.experiment import Experiment
from ich_keras.model.network import build_model

Pass = Callable[[], Any]  # returns arrays, the last of which is ready when all is done
MIN_SECONDS = 0.3  # of one measurement
PRECISIONS = ("float32", "mixed_bfloat16")


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
    """The best of three measurements, since other load on the machine can only slow it down."""

    def measure(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            gradients = run()
        keras.ops.convert_to_numpy(gradients[-1])  # waits for a GPU
        return (time.perf_counter() - began) / count

    measure(2)
    count = max(1, round(MIN_SECONDS / measure(1)))
    return min(measure(count) for _ in range(3))


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
    shapes = {}
    for layer in layers:
        probe = keras.Model(model.input, [*tensors[layer.name], layer.output])
        *inputs, output = probe.compute_output_shape(batch)
        shapes[layer.name] = (inputs, output)
    return shapes


def _multiply_adds(layer: keras.Layer, output: tuple) -> int:
    """Multiply-adds of a convolution, forward, for the whole batch; 0 for other layers."""
    if not isinstance(layer, keras.layers.Conv2D):
        return 0
    batch, rows, columns, _ = output
    return batch * rows * columns * int(np.prod(layer.kernel.shape))


def layer_table(model: keras.Model, batch: tuple) -> pd.DataFrame:
    """One row per layer: seconds forward and backward, and multiply-adds per second.

    Args:
        model: the network.
        batch: shape of its input.
    """
    rows = []
    for name, (inputs, output) in _shapes(model, batch).items():
        layer = model.get_layer(name)
        seconds = _time_layer(layer, inputs, output)
        # The backward pass has two convolutions: for the gradients of input and kernel.
        work = 3 * _multiply_adds(layer, output)
        rows.append({"layer": name, "output": output[1:], "seconds": seconds, "MAC": work})
    table = pd.DataFrame(rows).set_index("layer")
    table["share of time"] = table["seconds"] / table["seconds"].sum()
    table["GMAC"] = table["MAC"] / 1e9
    table["GMAC/s"] = table["GMAC"] / table["seconds"]
    return table


def measure_network(experiment: Experiment, size: int, channels: int) -> None:
    """Prints the layers, the fastest convolution, and the rate of the network relative to it."""
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


def _convolution_peak(model: keras.Model, table: pd.DataFrame) -> float:
    """The highest rate of a single 3x3 convolution of the network; GMAC/s."""
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    return max(table.loc[x.name, "GMAC/s"] for x in convolutions if x.kernel_size == (3, 3))


def _time_network(model: keras.Model, batch: tuple) -> float:
    """Seconds of one pass of the whole network, as one graph."""
    body = keras.Model(model.get_layer("rescaling").output, model.output)
    return _time_layer(body, [batch], (batch[0], model.output.shape[-1]))


def measure_variants(experiment: Experiment, size: int, channels: int) -> None:
    """Prints the rate of the network by batch size, precision and how it pools."""
    rows = []
    for count, precision, pairs in product((12, 96), PRECISIONS, (False, True)):
        keras.config.set_dtype_policy(precision)
        model = build_model(experiment.model, channels, compiled=pairs)
        seconds = _time_network(model, (count, size, size, channels))
        rows.append(
            {
                "batch": count,
                "precision": precision,
                "pooling": "maxima of pairs" if pairs else "max pooling",
                "slices/s": count / seconds,
            }
        )
    click.echo(pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.1f}"))

"""What a network costs and how far it sees."""

from dataclasses import dataclass
from math import prod

import keras
from keras import layers, ops

from ich_keras.experiment.schema import ModelConfig
from ich_keras.model.network import stride

RESERVED_BYTES = 1.5 * 2**30


@dataclass(frozen=True)
class Summary:
    """Cost and reach of a network."""

    parameters: int  # trainable weights
    multiply_adds: int  # of all convolutions for one slice
    receptive_field: int  # pixels along an axis on which one cell of the class map depends
    receptive_field_mm: float | None  # the same in mm, or None if the size of a pixel is unknown
    stride: int  # pixels per cell of the class map
    activations: int  # values of all layers' outputs for one slice, which a backward pass may need


def summarize(
    model: keras.Model, config: ModelConfig, size: int, pixel_mm: float | None = None
) -> Summary:
    """Counts parameters, multiply-adds and receptive field for slices of `size` pixels."""
    field = _receptive_field(config)
    return Summary(
        parameters=sum(int(ops.size(x)) for x in model.trainable_variables),
        multiply_adds=_multiply_adds(model, size),
        receptive_field=field,
        receptive_field_mm=None if pixel_mm is None else field * pixel_mm,
        stride=stride(config),
        activations=_activations(model, size),
    )


def largest_batch(summary: Summary, memory: float, value_bytes: int) -> int:
    """Slices of a training step for which so many bytes of a GPU suffice; at least 1.

    Cautious: it takes all layers' outputs to be kept, while fused layers keep about half of them.
    Weights have a gradient and two moments. The rest is for CUDA, its kernels and their workspace.
    """
    free = memory - RESERVED_BYTES - 4 * 4 * summary.parameters
    return max(int(free / (value_bytes * summary.activations)), 1)


def _activations(model: keras.Model, size: int) -> int:
    outputs = [x.output for x in model.layers if not isinstance(x, layers.InputLayer)]
    shapes = keras.Model(model.input, outputs).compute_output_shape(
        (1, size, size, model.input.shape[-1])
    )
    return sum(prod(map(int, shape)) for shape in shapes)


def _multiply_adds(model: keras.Model, size: int) -> int:
    convolutions = [x for x in model.layers if isinstance(x, layers.Conv2D)]
    probe = keras.Model(model.input, [x.output for x in convolutions])
    shapes = probe.compute_output_shape((1, size, size, model.input.shape[-1]))
    return sum(
        int(shape[1]) * int(shape[2]) * int(ops.size(layer.kernel))
        for layer, shape in zip(convolutions, shapes, strict=True)
    )


def _receptive_field(config: ModelConfig) -> int:
    """Each layer adds (kernel - 1) times the stride before it."""
    field, jump = 3, 2  # the stem
    for stage in range(len(config.widths)):
        if stage > 0:
            field, jump = field + jump, 2 * jump  # 2x2 pooling
        field += config.blocks * 2 * (3 - 1) * jump
    return field

"""The network: fully convolutional, with 3x3 and 1x1 kernels only, in pure Keras."""

import logging
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from ich_keras.experiment.schema import ModelConfig
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError
from tfrecords_tools.interrupts import uninterrupted
from tfrecords_tools.storage.atomic import whole_file

log = logging.getLogger(__name__)

CLASS_MAPS = "class_maps"
PROBABILITIES = "probabilities"
LOGITS = "pooling"  # the layer that returns the logits of the slice

# A slice is rarely positive: starting near "no hemorrhage" saves the first steps. With -3.5, at
# which `any` starts at its prevalence, the network learned more slowly on phantoms.
INITIAL_LOGIT = -2.0


@keras.saving.register_keras_serializable(package="ich_keras")
class GlobalLogSumExpPooling2D(layers.Layer):
    """A smooth maximum over the map: log of the mean of exp, between mean and maximum.

    Pinheiro and Collobert, "From image-level to pixel-level labeling with convolutional
    networks", 2015, equation 6 with r = 1.
    """

    def call(self, maps: Any) -> Any:  # (N, H, W, C) -> (N, C)
        peak = ops.max(maps, axis=(1, 2), keepdims=True)
        mean = ops.mean(ops.exp(maps - peak), axis=(1, 2))
        return ops.log(mean) + ops.squeeze(peak, axis=(1, 2))


@keras.saving.register_keras_serializable(package="ich_keras")
class ShareOfOdds(layers.Layer):
    """Logits of a map whose odds add up to those of the slice under `GlobalLogSumExpPooling2D`."""

    def call(self, maps: Any) -> Any:  # (N, H, W, C) -> the same
        cells = ops.sum(ops.ones_like(maps), axis=(1, 2), keepdims=True)
        return maps - ops.log(cells)


@keras.saving.register_keras_serializable(package="ich_keras")
class AnyFromKinds(layers.Layer):
    """Coherent logits: `any` is at least as probable as each subtype.

    The probability of `any` is 1 - (1 - p1) ... (1 - p5) (1 - q): that of at least one of five
    independent subtypes, or of a hemorrhage q that is none of them (noisy-or; Pearl, "Probabilistic
    reasoning in intelligent systems", 1988, section 4.3). This holds in each cell of the map; since
    pooling and sigmoid are monotonic, it holds for the slice as well.
    """

    def call(self, maps: Any) -> Any:  # (..., 6), the last q -> (..., 6), the last `any`
        pairs = _logit_of_either(maps[..., :3], maps[..., 3:])
        either = _logit_of_either(pairs[..., :1], pairs[..., 1:2])
        return ops.concatenate([maps[..., :5], _logit_of_either(either, pairs[..., 2:])], axis=-1)


def _logit_of_either(a: Any, b: Any) -> Any:
    """The logit of 1 - (1 - p) (1 - q), never below those of p and q, not even by rounding.

    It is log(exp(a) + exp(b) + exp(a + b)). ONNX has no log1p, and so no `ops.logaddexp`.
    """
    both = a + b
    peak = ops.maximum(ops.maximum(a, b), both)
    return peak + ops.log(ops.exp(a - peak) + ops.exp(b - peak) + ops.exp(both - peak))


@keras.saving.register_keras_serializable(package="ich_keras")
class MaxPoolingOfPairs2D(layers.MaxPooling2D):
    """2x2 max pooling which trains as the maximum of pairs: first along a row, then of two rows.

    In this order, ties have the gradient of max pooling too, bit for bit. XLA has no deterministic
    gradient of max pooling on a GPU, but one of a maximum, and fuses it with its neighbours; a
    processor without XLA takes three times as long.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:  # (N, H, W, C)
        if not training:  # any size, for which nothing is to be compiled
            return super().call(inputs)
        return _larger_of_pairs(_larger_of_pairs(inputs, axis=2), axis=1)


def _larger_of_pairs(x: Any, axis: int) -> Any:
    if x.shape[axis] % 2:
        pads = [(0, int(k == axis)) for k in range(4)]
        x = ops.pad(x, pads, constant_values=-float("inf"))
    shape = ops.shape(x)
    pairs = ops.reshape(x, (*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :]))
    return ops.maximum(*ops.unstack(pairs, axis=axis + 1))


POOLING = {
    "max": layers.GlobalMaxPooling2D,
    "average": layers.GlobalAveragePooling2D,
    "logsumexp": GlobalLogSumExpPooling2D,
}


def build_model(
    config: ModelConfig, channels: int, *, synchronized: bool = False, compiled: bool = False
) -> keras.Model:
    """Builds the network from windowed slices to six probabilities.

    The first 3x3 convolution and every stage but the first halve the resolution, so one cell of a
    class map covers `stride(config)` x `stride(config)` pixels. Batch statistics are those of all
    replicas if `synchronized`, as they should be if there are several. `compiled` tells whether XLA
    compiles the training step.

    Returns:
        A functional model. Input `image`: uint8, shape (N, H, W, channels), any H and W of at
        least one stride. Output `probabilities`: float32, shape (N, 6), in the order of LABELS.
        Its layer `class_maps` gives float32 logits, shape (N, H / stride, W / stride, 6).
    """
    image = keras.Input((None, None, channels), dtype="uint8", name="image")
    # In float32 under a mixed policy too: bfloat16 would round twice, by up to a level of grey.
    x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="rescaling")(image)
    halving = MaxPoolingOfPairs2D if compiled else layers.MaxPooling2D
    x = _convolution(x, config.widths[0], 3, "stem", strides=2)
    x = layers.Activation("relu", name="stem_relu")(x)
    for stage, width in enumerate(config.widths, start=1):
        if stage > 1:
            x = halving(2, padding="same", name=f"stage{stage}_pool")(x)
        # On a CPU, normalising the largest maps takes longer than computing them
        # (docs/reference/network.md).
        normalized = config.normalization == "batch" and stage > 1
        for block in range(1, config.blocks + 1):
            name = f"stage{stage}_block{block}"
            x = _residual_block(x, width, name, normalized=normalized, synchronized=synchronized)
    x = layers.SpatialDropout2D(config.dropout, name="dropout")(x)
    maps = layers.Conv2D(
        len(LABELS),
        1,
        bias_initializer=keras.initializers.Constant(INITIAL_LOGIT),
        dtype="float32",  # logits and sigmoid keep full precision under a mixed policy
        name="label_maps",
    )(x)
    maps = AnyFromKinds(dtype="float32", name=CLASS_MAPS)(maps)
    logits = POOLING[config.pooling](dtype="float32", name=LOGITS)(maps)
    outputs = layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)(logits)
    return keras.Model(image, outputs, name="ich_fcn")


def with_logits(model: keras.Model) -> keras.Model:
    """The same network from `image` to the logits of the slice, float32 (N, 6), for training."""
    return keras.Model(model.input, model.get_layer(LOGITS).output, name="ich_fcn_logits")


def with_map_logits(model: keras.Model) -> keras.Model:
    """As `with_logits`, and as second output those of the class maps, float32 (N, H, W, 6)."""
    outputs = [model.get_layer(LOGITS).output, _map_logits(model)]
    return keras.Model(model.input, outputs, name="ich_fcn_map_logits")


def with_class_maps(model: keras.Model) -> keras.Model:
    """The same network with two outputs.

    Returns:
        A model from `image` to a dictionary of `probabilities` (N, 6) and `class_maps`
        (N, H / stride, W / stride, 6), both float32 in 0..1. A cell gives the probability of the
        label from this cell alone, so none exceeds the slice's probability. In both, no subtype
        exceeds `any`.
    """
    maps = ops.sigmoid(_map_logits(model))
    return keras.Model(
        model.input, {PROBABILITIES: model.output, CLASS_MAPS: maps}, name="ich_fcn_with_maps"
    )


def _map_logits(model: keras.Model) -> Any:
    """The logits of the label from each cell alone."""
    logits = model.get_layer(CLASS_MAPS).output
    if isinstance(model.get_layer(LOGITS), GlobalLogSumExpPooling2D):
        return ShareOfOdds(dtype="float32", name="share_of_odds")(logits)
    return logits


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a checkpoint, complete or not at all."""
    with uninterrupted(), whole_file(path) as temporary:
        model.save(temporary)


def load_model(path: Path) -> keras.Model:
    """Reads a checkpoint in Keras' safe mode, which runs no code from the file.

    Raises:
        InputError: if the file is not a checkpoint of this project.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a readable checkpoint ({reason}); train again") from error
    if not any(isinstance(layer, AnyFromKinds) for layer in model.layers):
        log.warning(
            "%s: an older network, in which a subtype may be more probable than `any`; train again,"
            " or continue with model.weights, for coherent probabilities",
            path,
        )
    return model


def stride(config: ModelConfig) -> int:
    """Pixels of the slice per cell of the class map, along each axis."""
    return 2 ** len(config.widths)


def _residual_block(x: Any, width: int, name: str, *, normalized: bool, synchronized: bool) -> Any:
    """Two 3x3 convolutions added to the identity, or to a 1x1 convolution if the width changes.

    Only the sum is normalised; its bias is then that of the normalisation.
    """
    shortcut = x
    if x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, f"{name}_shortcut", use_bias=False)
    x = _convolution(x, width, 3, f"{name}_conv1")
    x = layers.Activation("relu", name=f"{name}_relu1")(x)
    x = _convolution(x, width, 3, f"{name}_conv2", use_bias=not normalized)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    if normalized:
        x = layers.BatchNormalization(
            momentum=0.9, synchronized=synchronized, name=f"{name}_normalization"
        )(x)
    return layers.Activation("relu", name=f"{name}_relu2")(x)


def _convolution(
    x: Any, width: int, kernel: int, name: str, *, strides: int = 1, use_bias: bool = True
) -> Any:
    return layers.Conv2D(
        width,
        kernel,
        strides=strides,
        padding="same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)

"""Answers from a slice and from its mirror image together."""

import keras
from keras import layers, ops

from ich_keras.experiment.schema import EvaluationConfig
from ich_keras.model.network import CLASS_MAPS, LOGITS, PROBABILITIES


def as_answering(model: keras.Model, config: EvaluationConfig) -> keras.Model:
    """The trained network as it is scored, applied and exported."""
    return with_mirror(model) if config.mirror else model


def with_mirror(model: keras.Model) -> keras.Model:
    """The same network with the mean of the class maps of a slice and of its mirror image.

    It averages logits, cell by cell, before pooling, so that probabilities and class maps agree as
    those of the network itself do. A head is nearly symmetric: its mirror image is a head too, and
    a finding that is predicted in only one of both is likely to be noise. Krizhevsky et al.,
    "ImageNet classification with deep convolutional neural networks", 2012, section 4.1, average
    predictions likewise.

    Returns:
        A functional model with the input, the outputs and the layers `class_maps` and `pooling` of
        `build_model`.
    """
    image = keras.Input(model.input.shape[1:], dtype="uint8", name="image")
    to_maps = keras.Model(model.input, model.get_layer(CLASS_MAPS).output, name="to_maps")
    mirrored = ops.flip(to_maps(ops.flip(image, axis=2)), axis=2)
    maps = layers.Average(dtype="float32", name=CLASS_MAPS)([to_maps(image), mirrored])
    logits = type(model.get_layer(LOGITS))(dtype="float32", name=LOGITS)(maps)
    outputs = layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)(logits)
    return keras.Model(image, outputs, name=f"{model.name}_with_mirror")

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

    The mean is that of logits, cell by cell, before pooling: probabilities and class maps agree as
    they do without. A head is nearly symmetric, so both are of one kind, and what only one of them
    shows is likely to be noise. Averages over transformed images are from Krizhevsky et al.,
    "ImageNet classification with deep convolutional neural networks", 2012, section 4.1.
    """
    image = keras.Input(model.input.shape[1:], dtype="uint8", name="image")
    one = keras.Model(model.input, model.get_layer(CLASS_MAPS).output, name="one_image")
    mirrored = ops.flip(one(ops.flip(image, axis=2)), axis=2)
    maps = layers.Average(dtype="float32", name=CLASS_MAPS)([one(image), mirrored])
    logits = type(model.get_layer(LOGITS))(dtype="float32", name=LOGITS)(maps)
    outputs = layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)(logits)
    return keras.Model(image, outputs, name=f"{model.name}_with_mirror")

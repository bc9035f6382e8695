"""The example: what a record of a shard holds, written here and parsed here.

Records are `tf.train.Example` messages. They are written with the protobuf runtime alone, so that
a worker need not import TensorFlow (0.03 s instead of 3 s, 40 MB instead of 600 MB).
"""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.labels import LABELS

if TYPE_CHECKING:
    import tensorflow as tf

ENCODINGS = ("zlib", "raw", "png")
ZLIB_LEVEL = 1  # CT noise hardly compresses further; higher levels only cost time
PNG_CHANNELS = (1, 3, 4)


class SchemaError(InputError):
    """A record that is not an example of this schema."""


@dataclass(frozen=True)
class Example:
    """One slice as it stands in a shard.

    Attributes:
        image: uint8, shape (height, width, channels), windowed HU.
        label: 0 or 1 for each of LABELS, or None where unlabelled.
        slice_id: identifies the slice.
        study_id: identifies its study.
        patient_key: hash of the patient's id.
        position_mm: place along the slice normal.
    """

    image: np.ndarray
    label: tuple[int, ...] | None
    slice_id: str
    study_id: str
    patient_key: str
    position_mm: float


def check_encoding(encoding: str, channels: int) -> None:
    """Refuses an encoding that cannot hold so many channels.

    Raises:
        UsageError: also if the encoding is not one of ENCODINGS.
    """
    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; choose of {', '.join(ENCODINGS)}")
    if encoding == "png" and channels not in PNG_CHANNELS:
        raise UsageError(f"PNG holds 1, 3 or 4 channels, not {channels}; choose --encoding zlib")


def encode_example(example: Example, encoding: str) -> bytes:
    """The record of an example: the same bytes for the same content."""
    height, width, channels = example.image.shape
    message = _EXAMPLE()
    feature = message.features.feature
    feature["image"].bytes_list.value.append(_encode_image(example.image, encoding))
    for key, text in (
        ("slice_id", example.slice_id),
        ("study_id", example.study_id),
        ("patient_key", example.patient_key),
    ):
        feature[key].bytes_list.value.append(text.encode())
    for key, number in (("height", height), ("width", width), ("channels", channels)):
        feature[key].int64_list.value.append(number)
    if example.label is not None:
        feature["label"].int64_list.value.extend(int(value) for value in example.label)
    feature["position_mm"].float_list.value.append(example.position_mm)
    return message.SerializeToString(deterministic=True)


def decode_example(record: bytes, encoding: str) -> Example:
    """The example of a record, without TensorFlow.

    Raises:
        SchemaError: if a feature is missing or does not fit the others.
    """
    message = _EXAMPLE()
    try:
        message.ParseFromString(record)
        feature = message.features.feature
        shape = tuple(feature[key].int64_list.value[0] for key in ("height", "width", "channels"))
        image = _decode_image(feature["image"].bytes_list.value[0], encoding, shape)
        texts = {
            key: feature[key].bytes_list.value[0].decode()
            for key in ("slice_id", "study_id", "patient_key")
        }
        position = feature["position_mm"].float_list.value[0]
        label = tuple(feature["label"].int64_list.value) or None
    except (DecodeError, IndexError, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise SchemaError(f"not an example of this schema: {error}") from error
    if label is not None and (len(label) != len(LABELS) or not set(label) <= {0, 1}):
        raise SchemaError(f"the label is {label}, expected {len(LABELS)} of 0 or 1")
    return Example(image=image, label=label, position_mm=position, **texts)


def parse_example(
    record: "tf.Tensor", encoding: str, channels: int, labelled: bool
) -> "dict[str, tf.Tensor]":
    """The features of a record, in a TensorFlow graph.

    Args:
        record: string, scalar.
        encoding: one of ENCODINGS, as in the manifest.
        channels: of the image.
        labelled: whether there is a label to read.

    Returns:
        `image` uint8 (height, width, channels), `label` int64 (6,) where labelled, `slice_id`,
        `study_id`, `patient_key` string scalars, `position_mm` float32 scalar.
    """
    import tensorflow as tf

    spec = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "height": tf.io.FixedLenFeature((), tf.int64),
        "width": tf.io.FixedLenFeature((), tf.int64),
        "slice_id": tf.io.FixedLenFeature((), tf.string),
        "study_id": tf.io.FixedLenFeature((), tf.string),
        "patient_key": tf.io.FixedLenFeature((), tf.string),
        "position_mm": tf.io.FixedLenFeature((), tf.float32),
    }
    if labelled:
        spec["label"] = tf.io.FixedLenFeature((len(LABELS),), tf.int64)
    parsed = tf.io.parse_single_example(record, spec)
    height, width = parsed.pop("height"), parsed.pop("width")
    if encoding == "png":
        image = tf.io.decode_png(parsed["image"], channels=channels)
    else:
        content = parsed["image"]
        if encoding == "zlib":
            content = tf.io.decode_compressed(content, "ZLIB")
        image = tf.io.decode_raw(content, tf.uint8)
    parsed["image"] = tf.reshape(image, (height, width, channels))
    return parsed


def _encode_image(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "png":
        done, content = cv2.imencode(".png", _swap_colours(image), (cv2.IMWRITE_PNG_COMPRESSION, 1))
        if not done:
            raise SchemaError(f"an image of shape {image.shape} cannot be written as PNG")
        return content.tobytes()
    pixels = np.ascontiguousarray(image).tobytes()
    return zlib.compress(pixels, ZLIB_LEVEL) if encoding == "zlib" else pixels


def _decode_image(content: bytes, encoding: str, shape: tuple[int, ...]) -> np.ndarray:
    if encoding == "png":
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError("the image is not a PNG")
        return _swap_colours(image.reshape(shape))
    if encoding == "zlib":
        content = zlib.decompress(content)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _swap_colours(image: np.ndarray) -> np.ndarray:
    """OpenCV's order of channels and the usual one are each other's reverse."""
    channels = image.shape[-1]
    return image if channels == 1 else image[..., [2, 1, 0, *range(3, channels)]]


def _example_class() -> Any:
    """The message class of tensorflow/core/example/example.proto, in a pool of its own.

    The default pool would refuse it as soon as TensorFlow brings its own.
    """
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def message(parent: Any, name: str, *fields: tuple[str, int, int, int, str | None]) -> Any:
        made = parent.add(name=name)
        for field, number, label, kind, type_name in fields:
            made.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)
        return made

    many, one = types.LABEL_REPEATED, types.LABEL_OPTIONAL
    messages = file.message_type
    message(messages, "BytesList", ("value", 1, many, types.TYPE_BYTES, None))
    message(messages, "FloatList", ("value", 1, many, types.TYPE_FLOAT, None))
    message(messages, "Int64List", ("value", 1, many, types.TYPE_INT64, None))
    feature = message(
        messages,
        "Feature",
        ("bytes_list", 1, one, types.TYPE_MESSAGE, ".tensorflow.BytesList"),
        ("float_list", 2, one, types.TYPE_MESSAGE, ".tensorflow.FloatList"),
        ("int64_list", 3, one, types.TYPE_MESSAGE, ".tensorflow.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    entry_name = ".tensorflow.Features.FeatureEntry"
    features = message(messages, "Features", ("feature", 1, many, types.TYPE_MESSAGE, entry_name))
    entry = message(
        features.nested_type,
        "FeatureEntry",
        ("key", 1, one, types.TYPE_STRING, None),
        ("value", 2, one, types.TYPE_MESSAGE, ".tensorflow.Feature"),
    )
    entry.options.map_entry = True
    message(messages, "Example", ("features", 1, one, types.TYPE_MESSAGE, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_EXAMPLE = _example_class()

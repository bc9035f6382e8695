"""The content of a record: encoding and decoding of examples."""

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError
from isal import isal_zlib

from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.records.example_proto import ExampleMessage

if TYPE_CHECKING:
    import tensorflow as tf

ENCODINGS = ("zlib", "raw", "png")
ZLIB_LEVEL = 2  # ISA-L's highest level whose bytes are the same on every x86-64 processor
PNG_CHANNELS = (1, 3, 4)
SWAPS = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}  # by number of channels
SHAPE = ("height", "width", "channels")
UNREADABLE: tuple = (
    DecodeError,
    OverflowError,
    ValueError,
    isal_zlib.error,
    cv2.error,
    struct.error,
)
TEXTS = ("slice_id", "study_id", "patient_key")


class SchemaError(InputError):
    """A record that is not an example of this schema."""


@dataclass(frozen=True, eq=False)
class Example:
    """A slice as stored in a shard."""

    image: np.ndarray  # uint8, shape (height, width, channels), windowed HU
    label: tuple[int, ...] | None  # 0 or 1 for each of LABELS; None if unlabelled
    slice_id: str  # SOP Instance UID
    study_id: str  # Study Instance UID
    patient_key: str  # hash of the patient's id
    position_mm: float  # position along the slice normal
    # uint8, shape (height, width), bit k set where subtype k is; None if there is none
    mask: np.ndarray | None = None


def check_encoding(encoding: str, channels: int) -> None:
    """Raises UsageError for an unknown encoding, or one that cannot hold so many channels."""
    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; choose from {', '.join(ENCODINGS)}")
    if encoding == "png" and channels not in PNG_CHANNELS:
        raise UsageError(f"PNG holds 1, 3 or 4 channels, not {channels}; choose --encoding zlib")


def encode_example(example: Example, encoding: str) -> bytes:
    """Serialises an example as a `tf.train.Example`; equal examples have equal bytes."""
    height, width, channels = example.image.shape
    message: Any = ExampleMessage()
    feature = message.features.feature
    feature["image"].bytes_list.value.append(_encode_image(example.image, encoding))
    for key, number in (("height", height), ("width", width), ("channels", channels)):
        feature[key].int64_list.value.append(number)
    if example.label is not None:
        feature["label"].int64_list.value.extend(example.label)
    for key in TEXTS:
        feature[key].bytes_list.value.append(getattr(example, key).encode())
    feature["position_mm"].float_list.value.append(example.position_mm)
    if example.mask is not None:
        content = isal_zlib.compress(example.mask.tobytes(), ZLIB_LEVEL)
        feature["mask"].bytes_list.value.append(content)
    return message.SerializeToString(deterministic=True)


def decode_example(record: bytes, encoding: str) -> Example:
    """Parses a record without TensorFlow; SchemaError if it is not of this schema and encoding."""
    message: Any = ExampleMessage()
    try:
        message.ParseFromString(record)
        feature = message.features.feature
        shape = tuple(_one(feature, key, "int64_list") for key in SHAPE)
        image = decode_image(_one(feature, "image", "bytes_list"), encoding, shape)
        texts = {key: _one(feature, key, "bytes_list").decode() for key in TEXTS}
        position = _one(feature, "position_mm", "float_list")
        label = tuple(feature["label"].int64_list.value) if "label" in feature else None
        mask = None
        if "mask" in feature:
            mask = decode_mask(_one(feature, "mask", "bytes_list"), shape[:2])
    except UNREADABLE as error:
        raise SchemaError(f"not a slice encoded as {encoding}: {error}") from error
    if label is not None and (len(label) != len(LABELS) or not set(label) <= {0, 1}):
        raise SchemaError(f"the label is {label}, expected {len(LABELS)} of 0 or 1")
    return Example(image=image, label=label, position_mm=position, mask=mask, **texts)


def parse_examples(
    records: "tf.Tensor", labelled: bool, masks: bool = False
) -> "dict[str, tf.Tensor]":
    """Parses records in a TensorFlow graph, without decoding the images.

    Returns `image`, for `decode_image`, `slice_id`, `study_id`, `patient_key` string (N,),
    `position_mm` float32 (N,), `label` int64 (N, 6) where labelled, and with `masks` `mask`, for
    `decode_mask`, empty where a record has none.
    """
    import tensorflow as tf

    spec = {
        "position_mm": tf.io.FixedLenFeature((), tf.float32),
        **{key: tf.io.FixedLenFeature((), tf.string) for key in ("image", *TEXTS)},
    }
    if labelled:
        spec["label"] = tf.io.FixedLenFeature((len(LABELS),), tf.int64)
    if masks:
        spec["mask"] = tf.io.FixedLenFeature((), tf.string, default_value="")
    return tf.io.parse_example(records, spec)


def decode_image(content: bytes, encoding: str, shape: tuple[int, ...]) -> np.ndarray:
    """Decodes the image of a record; it may be read-only.

    Args:
        content: as in the record.
        encoding: one of ENCODINGS, as in the manifest.
        shape: height, width and channels.

    Raises:
        ValueError, isal_zlib.error, cv2.error: if it is not an image of this shape and encoding.
    """
    if min(shape) < 1:
        raise ValueError(f"the shape {shape}")
    if encoding == "png":
        return _decode_png(content, shape)
    if encoding == "zlib":
        content = _inflated(content, math.prod(shape))
    return np.frombuffer(content, np.uint8).reshape(shape)


def decode_mask(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Decodes the mask of a record, read-only; errors as of `decode_image`."""
    return np.frombuffer(_inflated(content, math.prod(shape)), np.uint8).reshape(shape)


def parse_labels(records: "tf.Tensor") -> "tf.Tensor":
    """Parses labels in a TensorFlow graph, int64 (N, 6), without decoding the images."""
    import tensorflow as tf

    spec = {"label": tf.io.FixedLenFeature((len(LABELS),), tf.int64)}
    return tf.io.parse_example(records, spec)["label"]


def _one(feature: Any, key: str, kind: str) -> Any:
    """The only value of a feature."""
    values = getattr(feature[key], kind).value if key in feature else []
    if len(values) != 1:
        raise ValueError(f"{key} has {len(values)} values, expected 1")
    return values[0]


def _encode_image(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "png":
        done, png = cv2.imencode(".png", _swap_colours(image), (cv2.IMWRITE_PNG_COMPRESSION, 1))
        if not done:
            raise SchemaError(f"an image of shape {image.shape} cannot be written as PNG")
        return png.tobytes()
    content = image.tobytes()
    return isal_zlib.compress(content, ZLIB_LEVEL) if encoding == "zlib" else content


def _decode_png(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    height, width, _ = shape
    if content[16:24] != struct.pack(">II", width, height):  # before it is decompressed
        raise ValueError(f"the image is not {width} x {height} pixels")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise ValueError("the image is not a PNG of 8 bits")
    return _swap_colours(image.reshape(shape))


def _inflated(content: bytes, size: int) -> bytes:
    """Decompresses to exactly `size` bytes, and never to more."""
    inflater = isal_zlib.decompressobj()
    image = inflater.decompress(content, size + 1)
    if len(image) != size or not inflater.eof or inflater.unused_data:
        raise ValueError(f"the image does not decompress to exactly {size} bytes")
    return image


def _swap_colours(image: np.ndarray) -> np.ndarray:
    """Converts between OpenCV's channel order and that of the file."""
    swap = SWAPS.get(image.shape[-1])
    return image if swap is None else cv2.cvtColor(image, swap)

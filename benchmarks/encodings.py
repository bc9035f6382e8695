"""Size, write rate and read rate of the ways to encode a slice.

    python -m benchmarks.encodings FOLDER

Phantom slices of 256x256 pixels in three windows (FOLDER is that of `benchmarks.convert`) are
written by one process, and read and decoded by tf.data on all cores, from the page cache.
"""

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
from isal import isal_zlib

from benchmarks.convert import SIZE
from benchmarks.phantom_copies import make_source
from benchmarks.timing import timed
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.windows import parse_windows, window_slice

try:
    import deflate  # libdeflate; measured, not used
except ImportError:
    deflate = None

Encoder = Callable[[np.ndarray], bytes]
Pair = tuple[Encoder, Callable[[tf.Tensor], tf.Tensor]]


def _raw(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(content, tf.uint8)


def _inflated(content: tf.Tensor) -> tf.Tensor:
    return _raw(tf.io.decode_compressed(content, "ZLIB"))


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()


def _encodings() -> dict[str, Pair]:
    """Name to the encoder of an image, and its decoder in tf.data."""
    encodings: dict[str, Pair] = {"raw": (np.ndarray.tobytes, _raw)}
    for level in (1, 2, 3):
        encoder = partial(_compressed, partial(isal_zlib.compress, level=level))
        encodings[f"zlib by ISA-L, level {level}"] = (encoder, _inflated)
    if deflate is not None:
        encoder = partial(_compressed, lambda content: deflate.zlib_compress(content, 1))
        encodings["zlib by libdeflate, level 1"] = (encoder, _inflated)
    for level in (1, 6):
        encoder = partial(_compressed, partial(zlib.compress, level=level))
        encodings[f"zlib by zlib, level {level}"] = (encoder, _inflated)
    encodings["PNG, level 1"] = (_png, partial(tf.io.decode_png, channels=3))
    return encodings


def _compressed(compress: Callable[[bytes], bytes], image: np.ndarray) -> bytes:
    return compress(image.tobytes())


def _write(images: list[np.ndarray], path: Path, encode: Encoder, compression: str) -> None:
    options = tf.io.TFRecordOptions(compression_type=compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for image in images:
            writer.write(encode(image))


def _read(batches: tf.data.Dataset) -> None:
    for _ in batches:
        pass


def _measure(images: list[np.ndarray], path: Path, pair: Pair, compression: str) -> dict:
    encode, decode = pair
    written, _ = timed(lambda: _write(images, path, encode, compression))
    records = tf.data.TFRecordDataset([str(path)] * 4, compression_type=compression)
    batches = records.map(decode, tf.data.AUTOTUNE).batch(32).prefetch(2)
    read = min(timed(lambda: _read(batches))[0] for _ in range(3))
    return {
        "kB a slice": path.stat().st_size / len(images) / 1000,
        "written, slices/s": len(images) / written,
        "read, slices/s": 4 * len(images) / read,
    }


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--slices", default=600, show_default=True)
def main(folder: Path, slices: int) -> None:
    """Prints the table."""
    folder.mkdir(parents=True, exist_ok=True)
    windows = parse_windows("brain,subdural,bone")
    paths = make_source(folder, 6000)[:slices]
    images = [window_slice(read_slice(Path(x)).hu, SIZE, windows) for x in paths]
    path = folder / "encoding.tfrecord"
    encodings = _encodings()
    rows = {name: _measure(images, path, pair, "") for name, pair in encodings.items()}
    rows["raw, in a TFRecord of ZLIB"] = _measure(images, path, encodings["raw"], "ZLIB")
    click.echo(pd.DataFrame(rows).T.to_string(float_format="%.0f"))


if __name__ == "__main__":
    main()

"""Size, write and read rate of the ways to store a slice.

    python -m benchmarks.encodings FOLDER

Phantom slices of 256x256 pixels in three windows (FOLDER is that of `benchmarks/convert.py`).
Written by one process, read and decoded by tf.data on all cores, from the page cache.
"""

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
from isal import isal_zlib

from benchmarks.convert import SIZE, make_source
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.windows import parse_windows, window_slice

try:
    import deflate  # libdeflate; measured, not used
except ImportError:
    deflate = None

Pair = tuple[Callable[[np.ndarray], bytes], Callable[[tf.Tensor], tf.Tensor]]


def _raw(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(content, tf.uint8)


def _inflated(content: tf.Tensor) -> tf.Tensor:
    return _raw(tf.io.decode_compressed(content, "ZLIB"))


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()


def _ways() -> dict[str, Pair]:
    """Name to encoder of an image and decoder in tf.data."""
    ways: dict[str, Pair] = {"raw": (np.ndarray.tobytes, _raw)}
    for level in (1, 2, 3):
        ways[f"zlib by ISA-L, level {level}"] = (
            lambda x, level=level: isal_zlib.compress(x.tobytes(), level),
            _inflated,
        )
    if deflate is not None:
        ways["zlib by libdeflate, level 1"] = (
            lambda x: deflate.zlib_compress(x.tobytes(), 1),
            _inflated,
        )
    for level in (1, 6):
        ways[f"zlib by zlib, level {level}"] = (
            lambda x, level=level: zlib.compress(x.tobytes(), level),
            _inflated,
        )
    ways["PNG, level 1"] = (_png, lambda x: tf.io.decode_png(x, channels=3))
    return ways


def _measure(images: list[np.ndarray], path: Path, way: Pair, compression: str) -> dict:
    encode, decode = way
    options = tf.io.TFRecordOptions(compression_type=compression)
    start = time.perf_counter()
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for image in images:
            writer.write(encode(image))
    written = time.perf_counter() - start
    records = tf.data.TFRecordDataset([str(path)] * 4, compression_type=compression)
    decoded = records.map(decode, tf.data.AUTOTUNE).batch(32).prefetch(2)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in decoded:
            pass
        seconds.append(time.perf_counter() - start)
    return {
        "kB a slice": path.stat().st_size / len(images) / 1000,
        "written, slices/s": len(images) / written,
        "read, slices/s": 4 * len(images) / min(seconds),
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
    rows = {name: _measure(images, path, way, "") for name, way in _ways().items()}
    rows["raw, in a TFRecord of ZLIB"] = _measure(images, path, _ways()["raw"], "ZLIB")
    click.echo(pd.DataFrame(rows).T.to_string(float_format="%.0f"))


if __name__ == "__main__":
    main()

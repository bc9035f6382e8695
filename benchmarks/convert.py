"""How fast `ich-keras convert` is, compared with the loops of public notebooks.

    python -m benchmarks.convert FOLDER

Converts phantom slices of 512x512 pixels and 16 bits to 256x256 pixels in three windows, from the
page cache. Rates differ between machines, but their ratios hardly do. `convert` is measured as a
whole command: start of the processes, scan, plan, shards, index and manifest. The processes of the
other methods are started and warm before their time begins, and slow methods read fewer slices.
"""

import multiprocessing
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click
import numpy as np
import pandas as pd

from benchmarks.phantom_copies import make_source
from benchmarks.timing import run_ich_keras, timed
from tfrecords_tools.classes import LABELS

SIZE = 256  # pixels
WINDOWS = ((40, 80), (80, 200), (600, 2800))  # centre and width, HU
SINGLE_SLICES, POOLED_SLICES = 300, 1200
ENCODINGS = ("zlib", "raw", "png")


def _read(path: str) -> int:
    return len(Path(path).read_bytes())


def _decode(path: str) -> int:
    from pydicom import dcmread

    return dcmread(path, force=True).pixel_array.nbytes


def _notebook_example(path: str) -> bytes:
    """A tf.train.Example of a slice, as public notebooks write it."""
    import cv2
    import tensorflow as tf
    from pydicom import dcmread

    dataset = dcmread(path)
    hu = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
    channels = []
    for centre, width in WINDOWS:
        low, high = centre - width / 2, centre + width / 2
        channels.append((np.clip(hu, low, high) - low) / (high - low))
    image = cv2.resize(np.dstack(channels), (SIZE, SIZE))
    _, png = cv2.imencode(".png", (image * 255).astype(np.uint8))
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[0] * len(LABELS))),
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[path.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _start(with_tensorflow: bool) -> None:
    import warnings

    import cv2

    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    if with_tensorflow:
        import tensorflow  # noqa: F401


def _write(examples: Iterable[bytes], out: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(out)) as writer:
        for example in examples:
            writer.write(example)


def _convert(source: Path, out: Path, encoding: str, workers: int) -> None:
    options = ("--size", SIZE, "--encoding", encoding, "--workers", workers)
    run_ich_keras("convert", source, "--out", out, *options)


def measure(folder: Path, slices: int, workers: int) -> dict[str, float]:
    """Slices per second, by method."""
    paths = make_source(folder, slices)
    pooled, few = paths[:POOLED_SLICES], paths[:SINGLE_SLICES]
    context = multiprocessing.get_context("spawn")
    seconds = {}
    with context.Pool(workers, _start, (False,)) as pool:
        pool.map(_decode, paths, chunksize=16)  # into the page cache
        for name, task in (("plain reading", _read), ("pydicom decoding", _decode)):
            seconds[name], _ = timed(partial(pool.map, task, paths, chunksize=16))
    for encoding in ENCODINGS:
        shutil.rmtree(folder / encoding, ignore_errors=True)
        call = partial(_convert, folder / "rsna-ich", folder / encoding, encoding, workers)
        seconds[f"convert, {encoding}"], _ = timed(call)
    rates = {name: len(paths) / value for name, value in seconds.items()}
    with context.Pool(workers, _start, (True,)) as pool:
        pool.map(_notebook_example, paths[: 4 * workers], chunksize=1)
        out = folder / "pooled.tfrecord"
        elapsed, _ = timed(lambda: _write(pool.imap(_notebook_example, pooled, chunksize=16), out))
        rates["notebook loop, pooled"] = len(pooled) / elapsed
    _start(True)
    elapsed, _ = timed(partial(_write, map(_notebook_example, few), folder / "single.tfrecord"))
    rates["notebook loop"] = len(few) / elapsed
    return rates


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--slices", default=12600, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="The best of each is reported.")
def main(folder: Path, slices: int, workers: int, repeats: int) -> None:
    """Prints the table of rates."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = pd.DataFrame([measure(folder, slices, workers) for _ in range(repeats)])
    table = pd.DataFrame({"slices/s": runs.max()})
    for reference in ("notebook loop", "notebook loop, pooled", "pydicom decoding"):
        table[f"/ {reference}"] = table["slices/s"] / table.loc[reference, "slices/s"]
    click.echo(table.to_string(float_format="%.2f"))


if __name__ == "__main__":
    main()

"""How fast tensorflow-io's DICOM op is, compared with pydicom and the converter's own reader.

    python -m benchmarks.dicom_op FOLDER

Reads phantom slices of 512x512 pixels and 16 bits (FOLDER is that of `benchmarks.convert`) from the
page cache, with each reader in one thread of this process. Needs the extra s3.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import tensorflow as tf
import tensorflow_io as tfio
from pydicom import dcmread

from benchmarks.phantom_copies import make_source
from benchmarks.timing import timed
from tfrecords_tools.dicom.reader import read_slice

SLICES = 400


def _op(paths: Sequence[str]) -> None:
    def decode(path: tf.Tensor) -> tf.Tensor:
        content = tf.io.read_file(path)
        return tfio.image.decode_dicom_image(content, scale="preserve", dtype=tf.float32)

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    dataset = tf.data.Dataset.from_tensor_slices(list(paths)).map(decode)
    for _ in dataset.with_options(options):
        pass


def _pydicom(paths: Sequence[str]) -> None:
    for path in paths:
        dataset = dcmread(path)
        dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def _converter(paths: Sequence[str]) -> None:
    for path in paths:
        read_slice(Path(path))


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Measures each reader on the same slices."""
    warnings.simplefilter("ignore")  # the identifiers are no UIDs
    paths = make_source(folder, SLICES)[:SLICES]
    readers: dict[str, Callable[[Sequence[str]], None]] = {
        "tensorflow-io's op": _op,
        "pydicom, with rescale": _pydicom,
        "the converter's read_slice": _converter,
    }
    rates = {}
    for name, read in readers.items():
        read(paths[:20])
        seconds, _ = timed(partial(read, paths))
        rates[name] = len(paths) / seconds
    for name, rate in rates.items():
        click.echo(f"{name:27} {rate:7,.0f} slices/s {rate / rates['pydicom, with rescale']:6.2f}")


if __name__ == "__main__":
    main()

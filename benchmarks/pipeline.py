"""How fast batches are prepared, relative to merely reading and decoding the same shards.

    python -m benchmarks.pipeline SHARDS --size 256

Each pipeline is read in turn, several times, from the page cache. The best time counts, since other
load on the machine can only slow it down; under much load, compare core-seconds, which count this
process alone. Memory is measured in a process of its own.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pandas as pd
import tensorflow as tf

from ich_keras.data.batches import evaluation_batches, training_batches
from ich_keras.data.shards import ShardSet, open_shards
from ich_keras.experiment.schema import AugmentationConfig, DataConfig
from tfrecords_tools.classes import LABELS

BATCH_SIZE = 32
SHUFFLE_BUFFER = 4096  # of experiments/include/rsna.yaml
AUGMENTATION = AugmentationConfig(  # of experiments/classification/demo.yaml
    flip=True, rotate_degrees=10.0, shift=0.04, scale=0.08, grey=0.04
)
DECODED = "read and decoded"


def _records(shards: ShardSet) -> tf.data.Dataset:
    paths = [str(shards.folder / x.name) for x in shards.manifest.split_shards("train")]
    return tf.data.TFRecordDataset(paths).repeat()


def _bare(elements: tf.data.Dataset) -> tf.data.Dataset:
    """Hands out one element per batch, so that the speed of Python does not matter."""
    return elements.shard(BATCH_SIZE, 0).prefetch(tf.data.AUTOTUNE)


def _decoded(shards: ShardSet) -> tf.data.Dataset:
    """Decoded by TensorFlow's own ops, one record at a time, without shuffling or batching."""
    spec = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((len(LABELS),), tf.int64),
    }

    def decode(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_single_example(record, spec)
        image = parsed["image"]
        if shards.manifest.format.encoding == "png":
            return tf.io.decode_png(image), parsed["label"]
        if shards.manifest.format.encoding == "zlib":
            image = tf.io.decode_compressed(image, "ZLIB")
        size = shards.stored.size
        image = tf.reshape(tf.io.decode_raw(image, tf.uint8), (size, size, -1))
        return image, parsed["label"]

    return _records(shards).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def _training(shards: ShardSet, **data: Any) -> tf.data.Dataset:
    config = DataConfig(shuffle_buffer=SHUFFLE_BUFFER, **data)
    return training_batches(shards, config, batch_size=BATCH_SIZE, seed=1)


def _pipelines(shards: ShardSet) -> dict[str, tf.data.Dataset]:
    """Datasets by name; each of their elements is a batch of BATCH_SIZE slices."""
    evaluation = evaluation_batches(shards, "train", batch_size=BATCH_SIZE)
    return {
        "read": _bare(_records(shards).map(tf.strings.length)),  # forces the read
        DECODED: _bare(_decoded(shards)),
        "evaluation": evaluation.repeat(),
        "training, not augmented": _training(shards),
        "training, balanced": _training(shards, balance=0.5),
        "training, augmented": _training(shards, augmentation=AUGMENTATION),
    }


def _measure(elements: Iterator, count: int) -> tuple[float, float]:
    """Wall-clock seconds and core-seconds for so many elements.

    As many are read before, since some were prefetched while another pipeline was measured.
    """
    for _ in islice(elements, count):
        pass
    began, spent = time.perf_counter(), time.process_time()
    for _ in islice(elements, count):
        pass
    return time.perf_counter() - began, time.process_time() - spent


def _table(shards: ShardSet, slices: int, repeats: int) -> pd.DataFrame:
    """The best of each pipeline, measured in turn."""
    ways = {name: iter(dataset) for name, dataset in _pipelines(shards).items()}
    rows = []
    for _ in range(repeats):
        for name, elements in ways.items():
            seconds, cores = _measure(elements, slices // BATCH_SIZE)
            rows.append({"way": name, "seconds": seconds, "cores": cores})
    best = pd.DataFrame(rows).groupby("way", sort=False).min()
    return pd.DataFrame(
        {
            "slices/s": slices / best["seconds"],
            "of decoded": best.loc[DECODED, "seconds"] / best["seconds"],
            "slices per core-second": slices / best["cores"],
            "of decoded ": best.loc[DECODED, "cores"] / best["cores"],
        }
    )


def _peak_memory(folder: Path, size: int) -> int:
    """Peak of a process that reads augmented batches through a full shuffle buffer; megabytes."""
    options = ["--size", str(size), "--memory-only"]
    command = [sys.executable, "-m", "benchmarks.pipeline", str(folder), *options]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _print_own_peak_memory(shards: ShardSet) -> None:
    batches = _training(shards, augmentation=AUGMENTATION)
    for _ in islice(batches, 2 * SHUFFLE_BUFFER // BATCH_SIZE):
        pass
    status = Path("/proc/self/status").read_text()  # the peak that getrusage gives is inherited
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", status)
    click.echo(int(peak) // 1000)


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", metavar="SHARDS", type=click.Path(exists=True, path_type=Path))
@click.option("--size", type=int, help="`data.size` in pixels; that of the shards by default.")
@click.option("--slices", default=2048, show_default=True, help="Per pipeline and repeat.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--memory-only", is_flag=True, help="Print the peak memory of this process in MB.")
def main(folder: Path, size: int | None, slices: int, repeats: int, memory_only: bool) -> None:
    """Prints the table."""
    shards = open_shards(folder, DataConfig(size=size))
    if memory_only:
        _print_own_peak_memory(shards)
        return
    click.echo(_table(shards, slices, repeats).to_string(float_format="%.2f"))
    peak = _peak_memory(folder, shards.input.size)
    click.echo(f"peak memory with a shuffle buffer of {SHUFFLE_BUFFER}: {peak} MB")


if __name__ == "__main__":
    main()

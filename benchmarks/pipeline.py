"""How fast batches come, beside the bounds of the same shards in the same run.

    python -m benchmarks.pipeline SHARDS

Each way is read in turn, several times, from the page cache; the best time counts, since whatever
else the machine does only ever takes time away. Where it does much else, compare by core-seconds,
which count this process alone. Memory is measured in a process of its own.
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
    """Of as many as a batch has only one is handed out, so that Python's pace does not count."""
    return elements.shard(BATCH_SIZE, 0).prefetch(tf.data.AUTOTUNE)


def _decoded(shards: ShardSet) -> tf.data.Dataset:
    """By TensorFlow's own ops, a record at a time, with no order, no change and no batches."""
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
        size = shards.input.size
        image = tf.reshape(tf.io.decode_raw(image, tf.uint8), (size, size, -1))
        return image, parsed["label"]

    return _records(shards).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def _training(shards: ShardSet, **data: Any) -> tf.data.Dataset:
    config = DataConfig(shuffle_buffer=SHUFFLE_BUFFER, **data)
    return training_batches(shards, config, batch_size=BATCH_SIZE, seed=1)


def _ways(shards: ShardSet) -> dict[str, tf.data.Dataset]:
    """Name to a dataset of which an element stands for BATCH_SIZE slices."""
    evaluation = evaluation_batches(shards, "train", batch_size=BATCH_SIZE)
    return {
        "read": _bare(_records(shards).map(tf.strings.length)),  # else it would be skipped unread
        DECODED: _bare(_decoded(shards)),
        "evaluation": evaluation.repeat(),
        "training, as it is": _training(shards),
        "training, balanced": _training(shards, balance=0.5),
        "training, augmented": _training(shards, augmentation=AUGMENTATION),
    }


def _measure(elements: Iterator, count: int) -> tuple[float, float]:
    """Seconds for so many elements, by the clock and of all cores.

    As many go before, since some were made ahead while another way was measured.
    """
    for _ in islice(elements, count):
        pass
    began, spent = time.perf_counter(), time.process_time()
    for _ in islice(elements, count):
        pass
    return time.perf_counter() - began, time.process_time() - spent


def _table(shards: ShardSet, slices: int, repeats: int) -> pd.DataFrame:
    """The best of each way, measured in turn."""
    ways = {name: iter(dataset) for name, dataset in _ways(shards).items()}
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


def _peak_memory(folder: Path) -> int:
    """Of a process that reads augmented batches through a full shuffle buffer; megabytes."""
    command = [sys.executable, "-m", "benchmarks.pipeline", str(folder), "--memory-only"]
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
@click.option("--slices", default=2048, show_default=True, help="Of each way and repeat.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--memory-only", is_flag=True, help="Print the peak of this process in MB.")
def main(folder: Path, slices: int, repeats: int, memory_only: bool) -> None:
    """Prints the table."""
    shards = open_shards(folder, DataConfig())
    if memory_only:
        _print_own_peak_memory(shards)
        return
    click.echo(_table(shards, slices, repeats).to_string(float_format="%.2f"))
    click.echo(f"peak memory with a shuffle buffer of {SHUFFLE_BUFFER}: {_peak_memory(folder)} MB")


if __name__ == "__main__":
    main()

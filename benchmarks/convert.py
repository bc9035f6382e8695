"""How fast `ich-keras convert` is, beside the loops that notebooks write.

    python -m benchmarks.convert FOLDER

Phantom slices of 512x512 pixels and 16 bits to 256x256 pixels in three windows, all from the page
cache, all in one run; rates differ between machines, their ratios hardly. Ours is the whole
command: start of the processes, scan, plan, shards, index and manifest. The others' processes are
started and warm before their time begins, and they read fewer slices where they are slow.
"""

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dicom.reader import read_header, read_slice
from tfrecords_tools.dicom.refusal import RefusedSlice
from tfrecords_tools.phantom.rsna_files import synth

SIZE = 256  # pixels
WINDOWS = ((40, 80), (80, 200), (600, 2800))  # centre and width, HU
SINGLE_SLICES, POOLED_SLICES = 300, 1200
OURS = ("zlib", "raw", "png")


def _read(path: str) -> int:
    return len(Path(path).read_bytes())


def _decode(path: str) -> int:
    from pydicom import dcmread

    return dcmread(path, force=True).pixel_array.nbytes


def _notebook_example(path: str) -> bytes:
    """A slice as public notebooks write it."""
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


def _start(slow: bool) -> None:
    import warnings

    import cv2

    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    if slow:
        import tensorflow  # noqa: F401


def _notebook_loop(paths: Sequence[str], out: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(out)) as writer:
        for path in paths:
            writer.write(_notebook_example(path))


def _notebook_pool(pool: Any, paths: Sequence[str], out: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(out)) as writer:
        for example in pool.imap(_notebook_example, paths, chunksize=16):
            writer.write(example)


def _convert(source: Path, out: Path, encoding: str, workers: int) -> None:
    options = {"--out": out, "--size": SIZE, "--encoding": encoding, "--workers": workers}
    flags = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", "ich_keras", "convert", str(source), *flags, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def make_source(folder: Path, slices: int) -> list[str]:
    """A data set of phantom slices, each of a few hundred under many names."""
    source = folder / "rsna-ich"
    if not (folder / "paths.json").is_file():
        shutil.rmtree(source, ignore_errors=True)
        synth(source, patients=30, slices=16, size=512)
        _multiply(source, slices)
        paths = [str(x) for x in sorted((source / "stage_2_train").iterdir()) if _is_slice(x)]
        (folder / "paths.json").write_text(json.dumps(paths))
    paths = json.loads((folder / "paths.json").read_text())
    return list(np.random.default_rng(0).permutation(paths))


def _is_slice(path: Path) -> bool:
    try:
        read_slice(path)
    except RefusedSlice:
        return False
    return True


def _multiply(source: Path, slices: int) -> None:
    """Copies the slices as those of further patients."""
    originals = [x for x in sorted((source / "stage_2_train").iterdir()) if _is_slice(x)]
    headers = {path: read_header(path).slice for path in originals}
    table = (source / "stage_2_train.csv").read_text().splitlines()
    rows = dict(line.split(",") for line in table[1:])
    for number in range(slices // len(originals)):
        for path, header in headers.items():
            content = path.read_bytes()
            for name in (header.slice_id, header.study_id, header.patient_id):
                content = content.replace(name.encode(), _renamed(name, number).encode())
            other = _renamed(header.slice_id, number)
            (path.parent / f"{other}.dcm").write_bytes(content)
            rows |= {f"{other}_{label}": rows[f"{header.slice_id}_{label}"] for label in LABELS}
    lines = [f"{name},{value}\n" for name, value in rows.items()]
    (source / "stage_2_train.csv").write_text("ID,Label\n" + "".join(lines))


def _renamed(name: str, number: int) -> str:
    """Another identifier of the same length."""
    return f"ID_{number:03x}{name[6:]}"


def measure(folder: Path, slices: int, workers: int) -> dict[str, float]:
    """Slices a second of each way."""
    paths = make_source(folder, slices)
    context = multiprocessing.get_context("spawn")
    rates = {}
    with context.Pool(workers, _start, (False,)) as pool:
        pool.map(_decode, paths, chunksize=16)  # into the page cache
        for name, task in (("plain reading", _read), ("pydicom decoding", _decode)):
            rates[name] = len(paths) / _seconds(lambda: pool.map(task, paths, chunksize=16))  # noqa: B023
    for encoding in OURS:
        out = folder / encoding
        shutil.rmtree(out, ignore_errors=True)
        seconds = _seconds(lambda: _convert(folder / "rsna-ich", out, encoding, workers))  # noqa: B023
        rates[f"convert, {encoding}"] = len(paths) / seconds
    with context.Pool(workers, _start, (True,)) as pool:
        pool.map(_notebook_example, paths[: 4 * workers], chunksize=1)
        some = paths[:POOLED_SLICES]
        seconds = _seconds(lambda: _notebook_pool(pool, some, folder / "pooled.tfrecord"))
        rates["notebook loop, pooled"] = len(some) / seconds
    _start(True)
    few = paths[:SINGLE_SLICES]
    seconds = _seconds(lambda: _notebook_loop(few, folder / "single.tfrecord"))
    rates["notebook loop"] = len(few) / seconds
    return rates


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--slices", default=12600, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="The best of each counts.")
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

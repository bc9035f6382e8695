"""Time and memory of the conversion plan of very many slices, from simulated headers.

    python -m benchmarks.plan --slices 1000000

The headers pass through the same code as real ones; only reading them is left out. The labels are
a table, as if they had been read.
"""

import functools
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd
from pydicom.uid import ExplicitVRLittleEndian

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import ShardFormat
from tfrecords_tools.dicom.pixels import PixelFormat
from tfrecords_tools.dicom.reader import SliceFormat
from tfrecords_tools.dicom.rescale import Line, Rescale
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.options import PlanOptions
from tfrecords_tools.planning.plan import make_plan
from tfrecords_tools.planning.scan import scan
from tfrecords_tools.planning.source import Source
from tfrecords_tools.planning.split import parse_split
from tfrecords_tools.windows import parse_windows

SLICES_A_STUDY, STUDIES_A_PATIENT = 34, 1.15  # of the challenge
PREVALENCE = (0.004, 0.048, 0.035, 0.047, 0.063)  # of the five kinds, among its slices


def _path(number: int) -> str:
    return f"stage_2_train/ID_{number:09x}.dcm"


@functools.cache
def _formats() -> tuple[SliceFormat, ...]:
    """One per combination of bits, sign and intercept in the challenge."""
    intercepts = (-1024.0, -1000.0, 0.0, 1.0)
    return tuple(
        SliceFormat(
            PixelFormat(str(ExplicitVRLittleEndian), (512, 512), 16, bits, bits == 16),
            Rescale(Line(1.0, intercept, wrapped=False, certain=True), None),
        )
        for bits in (12, 16)
        for intercept in intercepts
    )


def _row(path: str) -> ScannedFile:
    """A scanned file with simulated header values."""
    number = int(path[-13:-4], 16)
    study = number // SLICES_A_STUDY
    patient = int(study / STUDIES_A_PATIENT)
    names = (f"ID_{number:09x}", f"ID_{study:010x}", f"ID_{study:010x}s", f"ID_{patient:08x}")
    place = 5.0 * (number % SLICES_A_STUDY)
    return ScannedFile(path, 525_000, number, 1_500, number, _formats()[number % 7], *names, place)


def _headers(
    _root: str, chunks: Iterator[Sequence[str]], _hash_pixels: bool
) -> Iterator[list[ScannedFile]]:
    """Simulates the reading of headers."""
    return ([_row(path) for path in chunk] for chunk in chunks)


def _labels(slices: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    positive = (rng.random((slices, len(PREVALENCE))) < PREVALENCE).astype(np.uint8)
    values = np.hstack([positive, positive.max(axis=1, keepdims=True)])
    index = pd.Index([f"ID_{x:09x}" for x in range(slices)], name="slice_id")
    return pd.DataFrame(values, index=index, columns=list(LABELS))


@click.command(help=__doc__.splitlines()[0])
@click.option("--slices", default=1_000_000, show_default=True)
@click.option("--neighbours", default=0, show_default=True)
def main(slices: int, neighbours: int) -> None:
    """Prints seconds and the peak memory of this process."""
    paths = tuple(map(_path, range(slices)))
    labels = _labels(slices)
    windows = parse_windows("brain,subdural,bone")
    fractions = parse_split("0.8,0.1,0.1")
    shard_format = ShardFormat(windows, neighbours, size=256, encoding="zlib")
    options = PlanOptions(shard_format, fractions, seed=0, shard_size=3051)
    start = time.perf_counter()
    found = scan(Source("simulated", paths, Path("simulated.csv")), _headers)
    scanned = time.perf_counter()
    plan = make_plan(found, labels, options)
    planned = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(
        f"{slices:,} slices, {len(plan.shards):,} shards: gathered in {scanned - start:.1f} s,"
        f" planned in {planned - scanned:.1f} s, {peak:,.0f} MB at most"
    )


if __name__ == "__main__":
    main()
